"""Runs handed to a launcher: who does what, and what is left when a job fails."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.lra.test_sweep import SWEEP, ignore
from hydropress.bench.lra import sweep as module
from hydropress.bench.lra.config import Run
from hydropress.bench.lra.sweep import RESULTS, Sweep
from hydropress.errors import InvalidArgumentError, JobError
from tiny import write_idx_folder


@dataclass
class Job:
    """A job that has been done, or has failed."""

    error: Exception | None

    def exception(self) -> Exception | None:
        return self.error


@dataclass
class Executor:
    """Does what it is handed at once."""

    folder: Path
    cluster: str | None = None
    handed: list[list[Run]] = field(default_factory=list)

    def update_parameters(self, **_: Any) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Job:
        if isinstance(arguments[0], list):
            self.handed.append(arguments[0])
        try:
            function(*arguments, **options)
        except Exception as error:  # noqa: BLE001
            return Job(RuntimeError(f"Traceback of the job\n{error}\n"))
        return Job(None)


@pytest.fixture
def executors(monkeypatch) -> list[Executor]:
    made: list[Executor] = []

    def make(*arguments: Any, **options: Any) -> Executor:
        made.append(Executor(*arguments, **options))
        return made[-1]

    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=make))
    return made


CONFIG = replace(SWEEP, methods=("modal", "hippo"), orders=(4, 2), budgets=(0.25, 0.5))


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    data = write_idx_folder(tmp_path / "data", train=64, test=30)
    return Sweep(CONFIG, tmp_path / "out", data)


def test_jobs_do_what_one_process_does(sweep, tmp_path, executors):
    sweep.wait(sweep.submit(sweep.missing(), 3, {}))
    alone = Sweep(CONFIG, tmp_path / "alone", tmp_path / "data", sweep.folder / "originals")
    alone.perform(alone.missing(), ignore)
    assert (sweep.folder / RESULTS).read_text() == (alone.folder / RESULTS).read_text()
    (executor,) = executors
    assert len(executor.handed) == 3
    # What one model is reduced for is done by one job.
    starts = [{run.start for run in runs} for runs in executor.handed]
    assert sum(map(len, starts)) == len(set.union(*starts)) == 4


def test_a_job_that_fails_is_named_and_the_others_are_kept(sweep, executors, monkeypatch):
    def fail_at(run: Run, *arguments: Any, **options: Any) -> dict[str, Any]:
        if run.start == "seed0-hippo-order2":
            raise ValueError("no space left")
        return perform(run, *arguments, **options)

    perform = module.perform
    monkeypatch.setattr(module, "perform", fail_at)
    with pytest.raises(JobError, match="1 of 4 jobs failed, .* no space left;"):
        sweep.wait(sweep.submit(sweep.missing(), 4, {}))
    assert len((sweep.folder / RESULTS).read_text().splitlines()) == 6
    monkeypatch.undo()
    assert {run.start for run in sweep.missing()} == {"seed0-hippo-order2"}


def test_without_a_job_nothing_is_begun(sweep, executors):
    with pytest.raises(InvalidArgumentError, match="0 jobs"):
        sweep.submit(sweep.missing(), 0, {})
    assert not (sweep.folder / "originals").exists()
