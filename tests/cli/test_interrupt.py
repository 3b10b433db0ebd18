"""Ctrl-C in a real process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

import hydropress
from hydropress.models.checkpoint import save
from tiny import tiny_model, write_idx_folder

RECIPE = """
model: {channels: 4, num_layers: 2, state_size: 8}
training: {epochs: 3000, batch_size: 16, micro_batch: 16, checkpoint_every: 7}
"""
SOURCE = Path(hydropress.__file__).parents[1]
PATIENCE = 120


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "hydropress", *arguments],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(condition, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def place(tmp_path) -> Path:
    write_idx_folder(tmp_path / "data", train=48, test=4)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    return tmp_path


def test_training_stops_cleanly_and_goes_on(place):
    command = ("train", "tiny.yaml", "--out", "run", "--data", "data", "--json")
    checkpoint = place / "run" / "checkpoint.safetensors"
    reached = []
    for _ in range(2):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        process = start(*command, folder=place)
        wait_for(
            lambda before=before: checkpoint.exists() and checkpoint.stat().st_mtime_ns > before,
            process,
        )
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert output == ""
        assert "stopping after this step" in errors
        assert "same command again to continue" in errors
        assert "Traceback" not in errors
        assert not list(place.rglob("*.tmp"))
        reached.append(int(load_file(checkpoint)["step"]))
    assert reached[1] > reached[0] > 0
    assert not (place / "run" / "model").exists()


def test_compress_leaves_nothing(place):
    # Large enough to take longer than the way to the signal, which has to come after the start.
    save(tiny_model(channels=256, state_size=64), place / "model")
    command = ("compress", "model", "--order", "16", "--calibration", "none", "--out", "out")
    for delay in (3, 6, 12):
        process = start(*command, folder=place)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
        if process.returncode != -signal.SIGINT:  # else it came before the program ran
            break
    assert process.returncode == 130
    assert output == ""
    assert "nothing was left half-written" in errors
    assert "Traceback" not in errors
    assert not (place / "out").exists()
