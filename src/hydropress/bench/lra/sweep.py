"""``hydropress bench lra``: all runs of an experiment, here or spread over machines."""

import json
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from hydropress.atomic import write_atomically
from hydropress.bench.lra.config import METHODS, Run, SweepConfig
from hydropress.bench.lra.originals import Data, Original, read_original, train_original
from hydropress.bench.lra.single import perform
from hydropress.errors import (
    FileFormatError,
    InvalidArgumentError,
    JobError,
    MissingLibraryError,
)
from hydropress.evaluation.outputs import RUN, check_folder, write_run
from hydropress.evaluation.records import read_json, write_json
from hydropress.training.loop import Progress

COMMAND = "bench lra"
RESULTS = "results.jsonl"
ROWS, CONFIG, JOBS = "rows", "config.json", "jobs"

Step = Callable[[str], Progress]
"""From the title of a piece of work to what is told how far it is."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of results; none if there is none.

    Raises
    ------
    FileFormatError
        If a line is not one of an experiment.
    """
    rows: list[dict[str, Any]] = []
    if path.is_file():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                rows.append(json.loads(line))
                run_of(rows[-1])
                if not re.fullmatch(r"[0-9a-f]+", rows[-1]["config"]):
                    raise ValueError(f"config {rows[-1]['config']!r}")
            except (ValueError, KeyError, TypeError) as error:
                raise FileFormatError(
                    f"{path}, line {number}: not a run ({error}); required: what this command "
                    "wrote; delete the line, and the run is made again"
                ) from error
    return rows


def run_of(row: dict[str, Any]) -> Run:
    """Return which run a line is of."""
    return Run(row["seed"], row["method"], row["order"], row["budget"])


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what lines are sorted by: as they are made, seed by seed, small budgets first."""
    method = row["method"]
    known = METHODS.index(method) if method in METHODS else len(METHODS)
    return row["seed"], row["budget"], known, method, -row["order"]


class Sweep:
    """An experiment in its folder.

    Parameters
    ----------
    config
        What it consists of.
    folder
        Receives ``results.jsonl``, all runs of the configuration in order, those of earlier sweeps
        too, and a folder named by its digest: ``config.json``, ``rows/``, one file a run, and what
        is needed to go on after a kill.  Of a folder that holds nothing but an earlier
        ``results.jsonl`` the runs in it are not repeated.
    data_folder
        Of the task's data; None for its own.
    originals
        Folder of trained originals, ``seed0``, ``seed1``, …; those missing are trained there.
    """

    def __init__(
        self,
        config: SweepConfig,
        folder: Path,
        data_folder: Path | None = None,
        originals: Path | None = None,
    ) -> None:
        known = read_lines(folder / RESULTS)
        if known and not (folder / RUN).exists():
            write_run(folder, {"command": COMMAND})
        check_folder(folder, COMMAND)
        for row in known:
            path = _row_path(folder / row["config"], run_of(row))
            if not path.is_file():
                _write_row(path, row)
        self.config, self.folder, self._data_folder = config, folder, data_folder
        # What another configuration has made must not be taken for this one's.
        self._work = folder / config.digest()
        self._originals = folder / "originals" if originals is None else originals
        self._data: Data | None = None
        self._original: tuple[int, Original] | None = None
        write_run(folder, {"command": COMMAND, "config": config.of_a_run()})
        self._work.mkdir(exist_ok=True)
        write_json(self._work / CONFIG, config.of_a_run())

    @property
    def data(self) -> Data:
        """The task's data, read when they are needed.

        Raises
        ------
        FileFormatError
            If runs of the folder were made on others.
        """
        if self._data is None:
            data = Data.of(self.config, self._data_folder)
            for row in self.rows():
                if row.get("data", data.digest) != data.digest:
                    raise FileFormatError(
                        f"{self.folder}: the run {run_of(row).name} was made on other data than "
                        f"those of {self._data_folder or self.config.recipe.data}; required: the "
                        "same for all runs; choose another output folder"
                    )
            self._data = data
        return self._data

    def missing(self) -> list[Run]:
        """Return the runs that have no line of this configuration yet."""
        return [run for run in self.config.runs() if not _row_path(self._work, run).is_file()]

    def rows(self) -> list[dict[str, Any]]:
        """Return the lines that there are of this configuration, by seed, budget and method."""
        return sorted(map(read_json, (self._work / ROWS).glob("*.json")), key=_place)

    def collect(self) -> list[dict[str, Any]]:
        """Write ``results.jsonl`` from the rows, and return them."""
        rows = self.rows()
        write_atomically(self.folder / RESULTS, "".join(json.dumps(row) + "\n" for row in rows))
        return rows

    def original(self, seed: int, step: Step) -> Original:
        """Return the original of a seed, trained if it has to be."""
        if self._original is None or self._original[0] != seed:
            folder = self._originals / f"seed{seed}"
            train_original(
                self.config, seed, folder, self._data_folder, progress=step(f"train, seed {seed}")
            )
            found = read_original(self.config, seed, folder, self.data)
            self._original = seed, found
        return self._original[1]

    def perform(self, runs: Iterable[Run], step: Step, *, collect: bool = True) -> None:
        """Perform runs one after the other in this process.

        Parameters
        ----------
        collect
            Whether to write ``results.jsonl`` after each; of several processes one may.
        """
        for run in runs:
            original = self.original(run.seed, step)
            row = perform(
                run, self.config, original, self.data, self._work, progress=step(run.name)
            )
            _write_row(_row_path(self._work, run), row)
            if collect:
                self.collect()

    def submit(
        self, runs: list[Run], jobs: int, parameters: dict[str, Any], cluster: str | None = None
    ) -> list[Any]:
        """Hand runs to submitit, spread over so many jobs, and return these.

        Originals that are missing are trained before, one job each.  Runs that recover the same
        reduced model by several budgets are of one job.

        Parameters
        ----------
        parameters
            For submitit's executor, such as ``timeout_min``, ``cpus_per_task``.
        cluster
            ``slurm`` or ``local``; None for what there is.

        Raises
        ------
        InvalidArgumentError
            If there shall be no job.
        MissingLibraryError
            If it is not installed.
        """
        if jobs < 1:
            raise InvalidArgumentError(f"{jobs} jobs; required: at least one")
        try:
            submitit: Any = import_module("submitit")
        except ImportError as error:
            raise MissingLibraryError(
                f"{error}; required to spread runs over machines; install hydropress[cluster]"
            ) from error
        executor = submitit.AutoExecutor(self.folder / JOBS, cluster=cluster)
        executor.update_parameters(**parameters)
        seeds = sorted({run.seed for run in runs})
        self.wait([executor.submit(self.original, seed, _silent) for seed in seeds])
        starts = list(dict.fromkeys(run.start for run in runs))
        parts = [
            [run for run in runs if run.start in starts[place::jobs]]
            for place in range(min(jobs, len(starts)))
        ]
        return [executor.submit(self.perform, part, _silent, collect=False) for part in parts]

    def wait(self, jobs: Iterable[Any]) -> None:
        """Wait for all jobs, and write ``results.jsonl`` from what they have done.

        Raises
        ------
        JobError
            If any has failed; the others' runs are kept.
        """
        found = [job.exception() for job in jobs]
        errors = [error for error in found if error is not None]
        self.collect()
        if errors:
            raise JobError(
                f"{len(errors)} of {len(found)} jobs failed, the first with: "
                f"{_last_line(errors[0])}; their output is in {self.folder / JOBS}; run the same "
                "command again to continue"
            )


def _last_line(error: BaseException) -> str:
    """Return the end of a job's message, which is a traceback."""
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def _row_path(work: Path, run: Run) -> Path:
    return work / ROWS / f"{run.name}.json"


def _write_row(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, row)


def _ignore(done: int, total: int, loss: float) -> None:
    """Take a report and do nothing."""


def _silent(title: str) -> Progress:
    return _ignore
