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
# The second process measures falling accuracies, and is interrupted after seven steps.
DISAGREEING = """
import os
from pathlib import Path
from hydropress.training.config import TrainingConfig
from hydropress.training.hardware import Hardware
from hydropress.training.loop import fit
from tiny import tiny_images, tiny_model

second, steps = os.environ.get("LOCAL_RANK") == "1", []
config = TrainingConfig(epochs=6, batch_size=16, micro_batch=8, patience=1)
try:
    fit(
        tiny_model(normalization="batch"),
        tiny_images(32),
        config,
        hardware=Hardware("cpu", devices=2),
        folder=Path("out"),
        on_epoch=lambda epoch: {"accuracy": (10 - epoch if second else epoch) / 10},
        stop=lambda: steps.append(None) or (second and len(steps) == 7),
    )
except KeyboardInterrupt:
    print(f"stopped after {len(steps)}")
"""
SOURCE = Path(hydropress.__file__).parents[1]


def train(folder: Path, out: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = ("train", "tiny.yaml", "--out", out, "--data", "data", "--accelerator", "cpu")
    return run(folder, "-m", "hydropress", *command, *options)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(SOURCE), str(Path(__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
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


def test_all_go_on_as_the_first_measures_and_stop_as_any_is_asked(tmp_path):
    (tmp_path / "disagreeing.py").write_text(DISAGREEING)
    done = run(tmp_path, "disagreeing.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["stopped after 7"] * 2
    log = [json.loads(line) for line in (tmp_path / "out" / "training.jsonl").open()]
    assert [(line["step"], line["accuracy"]) for line in log] == [(2, 0.1), (4, 0.2), (6, 0.3)]
    assert int(load_file(tmp_path / "out" / "checkpoint.safetensors")["step"]) == 7
    # What its losses depend on is said once.
    assert done.stderr.count("batch normalisation on 2 processes") == 1
