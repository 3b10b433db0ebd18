"""``hydropress bench lra`` and the flags of recovery, as a user types them."""

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hydropress.cli.app import app
from hydropress.models.checkpoint import save
from tiny import tiny_model, write_idx_folder

RECIPE = """
model: {channels: 4, num_layers: 2, state_size: 8}
training: {epochs: 2, batch_size: 16, micro_batch: 16}
"""
SWEEP = ("bench", "lra", "--recipe", "tiny.yaml", "--data", "data", "--out", "out", "--orders", "2")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # Calibration looks at 256 sequences.
    write_idx_folder(tmp_path / "data", train=272, test=20)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    return tmp_path


def run(*arguments: str, code: int = 0):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_one_command_one_line_a_run_one_report(place):
    few = ("--methods", "modal,hippo", "--orders", "2", "--seeds", "1", "--budgets", "0.1,0.2")
    result = json.loads(run(*SWEEP, *few, "--json").stdout)
    lines = (place / "out" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result["rows"]
    assert [(row["method"], row["budget"]) for row in result["rows"]] == [
        ("modal", 0.1),
        ("hippo", 0.1),
        ("modal", 0.2),
        ("hippo", 0.2),
    ]
    report = Path(result["report"]).read_text()
    assert report.startswith("<!DOCTYPE html>")
    assert "Modal" in report
    # The report is drawn again from the lines alone.
    Path(result["report"]).unlink()
    run("report", "out")
    assert Path(result["report"]).read_text() == report
    # Again: nothing is left to do, and the other words say the same.
    shown = run(*SWEEP, *few).stdout
    assert "4 runs" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--orders", "two"), "numbers, separated by commas"),
        (("--budgets", "2"), "budget 2"),
        (("--methods", "h3"), "h3"),
        (("--recovery", "pray"), "pray"),
        (("--launcher", "rocket"), "'here' or 'submitit'"),
        (("--recipe", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(place, options, message):
    result = run(*SWEEP, *options, code=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (place / "out").exists()


def test_without_submitit_the_extra_is_named(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    few = ("--methods", "modal", "--orders", "2", "--seeds", "1", "--launcher", "submitit")
    assert "hydropress[cluster]" in run(*SWEEP, *few, code=2).stderr


@pytest.mark.parametrize("flag", ["--distill", "--match"])
def test_recovery_looks_at_the_original(place, flag):
    save(tiny_model(1), place / "original")
    save(tiny_model(2), place / "start")
    command = ("finetune", "start", "--data", "data", "--steps", "2", "--json")
    run(*command, "--out", "plain")
    run(*command, "--out", "other", flag, "original")
    plain, other = (
        (place / out / "model" / "model.safetensors").read_bytes() for out in ("plain", "other")
    )
    assert plain != other
    both = run(*command, "--out", "out", "--distill", "original", "--match", "original", code=2)
    assert "at most one" in both.stderr


def test_precision_and_logs(place):
    command = ("train", "tiny.yaml", "--data", "data", "--accelerator", "cpu")
    run(*command, "--out", "mixed", "--precision", "bf16-mixed", "--log", "csv")
    header = (place / "mixed" / "logs" / "csv" / "metrics.csv").read_text().splitlines()[0]
    assert "loss" in header
    assert (
        "required: any of 32-true"
        in run(*command, "--out", "out", "--precision", "8-bit", code=2).stderr
    )
    assert "csv, tensorboard" in run(*command, "--out", "out", "--log", "paper", code=2).stderr
