"""``hydropress bench reduce``, with every part but tiny."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hydropress
from hydropress.bench import run as run_module
from hydropress.bench.config import ReduceConfig
from hydropress.bench.parts import PARTS
from hydropress.cli.app import app
from tiny import quick_allocation, quick_peak, tiny_benchmark

SOURCE = Path(hydropress.__file__).parents[1]
PATIENCE = 120


def run(*arguments: str, code: int = 0):
    result = CliRunner().invoke(app, ["bench", "reduce", *arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(ReduceConfig, "quick", staticmethod(lambda seed=0: tiny_benchmark()))
    monkeypatch.setattr(run_module, "peak_of_process", quick_peak)
    monkeypatch.setattr(run_module, "compare_allocations", quick_allocation)


def test_help_names_the_options():
    shown = run("--help").stdout
    for option in ("--out", "--quick", "--seed", "--json", "--threads", "--every-channel"):
        assert option in shown
    assert "reduce" in CliRunner().invoke(app, ["bench", "--help"]).stdout


def test_one_command_one_record_one_report(tiny, tmp_path):
    out = tmp_path / "out"
    result = json.loads(run("--quick", "--json", "--out", str(out)).stdout)
    record = json.loads((out / "bench.json").read_text())
    assert result["checks"] == record["checks"]
    assert result["claims"] == record["claims"]
    assert Path(result["report"]).read_text().startswith("<!DOCTYPE html>")
    assert record["command"].startswith("hydropress bench reduce --out")
    assert "--quick" in record["command"]
    shown = run("--quick", "--out", str(out)).stdout
    assert "never-worse" in shown
    assert "report.html" in shown


def test_contradictory_options_are_refused(tmp_path):
    result = run("--quick", "--every-channel", "--out", str(tmp_path), code=2)
    assert "leave one out" in result.stderr
    assert not any(tmp_path.iterdir())


def test_an_interrupt_keeps_finished_parts(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "hydropress", "bench", "reduce", "--quick", "--out", "out"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    parts, deadline = tmp_path / "out" / PARTS, time.monotonic() + PATIENCE
    while not list(parts.glob("*.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert output == ""
    assert "run the same command again to continue" in errors
    assert "Traceback" not in errors
    kept = list(parts.iterdir())
    assert kept
    for path in kept:
        assert json.loads(path.read_text())["result"]
    assert not (tmp_path / "out" / "bench.json").exists()
