"""The folder of a run: one process at a time writes to it, and the first alone."""

import json
import subprocess
import sys

import pytest

from hydropress.errors import InvalidArgumentError
from hydropress.training.checkpoints import keep_log_until
from hydropress.training.config import TrainingConfig
from hydropress.training.loop import fit
from hydropress.training.run_folder import match_run
from tiny import tiny_images, tiny_model

DATA = tiny_images(32)
CONFIG = TrainingConfig(epochs=1, batch_size=16, micro_batch=16)
HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(600)
"""


def test_two_at_once_are_refused_and_a_killed_one_is_none(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            with pytest.raises(InvalidArgumentError, match="another process trains in"):
                fit(tiny_model(), DATA, CONFIG, folder=tmp_path)
            assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]
        finally:
            other.kill()
    assert len(fit(tiny_model(), DATA, CONFIG, folder=tmp_path)) == 1


def test_a_run_is_over_when_it_fails(tmp_path):
    def fail(*_: float) -> None:
        raise OSError

    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011
            fit(tiny_model(), DATA, CONFIG, folder=tmp_path, progress=fail)


def test_what_a_kill_left_half_written_goes(tmp_path):
    left = [f"{name}.4711.0a1b2c3d.tmp" for name in ("checkpoint.safetensors", "training.jsonl")]
    for name in (*left, "mine.tmp"):
        (tmp_path / name).touch()
    fit(tiny_model(), DATA, CONFIG, folder=tmp_path)
    names = {"run.json", "training.jsonl", "checkpoint.safetensors", ".lock", "mine.tmp"}
    assert {entry.name for entry in tmp_path.iterdir()} == names


def test_a_process_that_does_not_write_only_compares(tmp_path):
    match_run(tmp_path / "run", {"a": 1}, write=False)
    assert not (tmp_path / "run").exists()
    match_run(tmp_path / "run", {"a": 1})
    match_run(tmp_path / "run", {"a": 1}, write=False)
    with pytest.raises(InvalidArgumentError, match="a 1 there, 2 here"):
        match_run(tmp_path / "run", {"a": 2}, write=False)


@pytest.mark.parametrize("write", [True, False])
def test_the_log_is_cut_by_the_one_that_writes(tmp_path, write):
    log = [{"step": step, "seconds": 2.0 * step} for step in (2, 4, 6)]
    path = tmp_path / "training.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in log))
    assert keep_log_until(tmp_path, 4, write=write) == log[:2]
    assert len(path.read_text().splitlines()) == (2 if write else 3)
