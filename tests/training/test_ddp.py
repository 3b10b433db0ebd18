"""Two processes train as one with twice the batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

import hydropress
from tiny import write_idx_folder

RECIPE = """
model: {channels: 4, num_layers: 2, state_size: 8, dropout: 0}
training: {epochs: 3, batch_size: 16, micro_batch: 4, learning_rate: 0.02}
"""
SOURCE = Path(hydropress.__file__).parents[1]


def train(folder: Path, out: str, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    command = ("train", "tiny.yaml", "--out", out, "--data", "data", "--accelerator", "cpu")
    return subprocess.run(
        [sys.executable, "-m", "hydropress", *command, *options],
        cwd=folder,
        env=environment,
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def place(tmp_path) -> Path:
    write_idx_folder(tmp_path / "data", train=48, test=20)
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    return tmp_path


def test_two_processes_have_the_losses_of_one_with_twice_the_batch(place):
    assert train(place, "one").returncode == 0
    done = train(place, "two", "--devices", "2", "--json")
    assert done.returncode == 0, done.stderr
    # One answer, from the first process.
    assert json.loads(done.stdout)["steps"] == 9
    logs = [
        [json.loads(line) for line in (place / out / "training.jsonl").read_text().splitlines()]
        for out in ("one", "two")
    ]
    assert [line["step"] for line in logs[1]] == [line["step"] for line in logs[0]] == [3, 6, 9]
    for alone, together in zip(*logs, strict=True):
        assert together["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        assert together["test_accuracy"] == alone["test_accuracy"]
    weights = [load_file(place / out / "model" / "model.safetensors") for out in ("one", "two")]
    for name, value in weights[0].items():
        assert float((weights[1][name] - value).abs().max()) < 1e-4, name


def test_a_batch_that_cannot_be_shared_is_refused(place):
    done = train(place, "out", "--devices", "3")
    assert done.returncode == 2
    assert "batch_size=16 on 3 processes" in done.stderr
    assert not (place / "out" / "model").exists()
