"""``hydropress bench lra``: all runs of an experiment, here or spread over machines."""

import json
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from hydropress.bench.lra.config import Run, SweepConfig
from hydropress.bench.lra.originals import Data, Original, read_original, train_original
from hydropress.bench.lra.single import perform
from hydropress.errors import FileFormatError, MissingLibraryError
from hydropress.evaluation.outputs import RUN, check_folder, write_run
from hydropress.evaluation.records import read_json, write_json
from hydropress.models.checkpoint import write_atomically
from hydropress.training.loop import Progress

COMMAND = "bench lra"
RESULTS = "results.jsonl"

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
            except (ValueError, KeyError, TypeError) as error:
                raise FileFormatError(
                    f"{path}, line {number}: not a run ({error}); required: what this command "
                    "wrote; delete the line, and the run is made again"
                ) from error
    return rows


def run_of(row: dict[str, Any]) -> Run:
    """Return which run a line is of."""
    return Run(row["seed"], row["method"], row["order"], row["budget"])


class Sweep:
    """An experiment in its folder.

    Parameters
    ----------
    config
        What it consists of.
    folder
        Receives ``results.jsonl``, all runs in order, and a folder named by the configuration's
        digest: ``rows/``, one file a run, and what is needed to go on after a kill.  Of a folder
        that holds nothing but an earlier ``results.jsonl`` the runs in it are not repeated.
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
        self._known = {run_of(row).name: row for row in known}
        self.config, self.folder, self._data_folder = config, folder, data_folder
        # What another configuration has made must not be taken for this one's.
        self._work = folder / config.digest()
        self._originals = folder / "originals" if originals is None else originals
        self._data: Data | None = None
        self._original: tuple[int, Original] | None = None
        write_run(folder, {"command": COMMAND, "config": config.of_a_run()})

    @property
    def data(self) -> Data:
        """The task's data, read when they are needed."""
        if self._data is None:
            self._data = Data.of(self.config, self._data_folder)
        return self._data

    def missing(self) -> list[Run]:
        """Return the runs that have no line yet, or one of another configuration."""
        return [run for run in self.config.runs() if self._row(run) is None]

    def _path(self, run: Run) -> Path:
        return self._work / "rows" / f"{run.name}.json"

    def _row(self, run: Run) -> dict[str, Any] | None:
        path = self._path(run)
        row = read_json(path) if path.is_file() else self._known.get(run.name)
        return row if row is not None and row.get("config") == self.config.digest() else None

    def rows(self) -> list[dict[str, Any]]:
        """Return the lines that there are, in the order of the runs."""
        rows = (self._row(run) for run in self.config.runs())
        return [row for row in rows if row is not None]

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
            found = read_original(self.config, seed, folder, self.data.test)
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
            self._path(run).parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path(run), row)
            if collect:
                self.collect()

    def submit(
        self, runs: list[Run], jobs: int, parameters: dict[str, Any], cluster: str | None = None
    ) -> list[Any]:
        """Hand runs to submitit, spread over so many jobs, and return these.

        Originals that are missing are trained before, one job each.

        Parameters
        ----------
        parameters
            For submitit's executor, such as ``timeout_min``, ``cpus_per_task``.
        cluster
            ``slurm`` or ``local``; None for what there is.

        Raises
        ------
        MissingLibraryError
            If it is not installed.
        """
        try:
            submitit: Any = import_module("submitit")
        except ImportError as error:
            raise MissingLibraryError(
                f"{error}; required to spread runs over machines; install hydropress[cluster]"
            ) from error
        executor = submitit.AutoExecutor(self.folder / "jobs", cluster=cluster)
        executor.update_parameters(**parameters)
        seeds = sorted({run.seed for run in runs})
        for job in [executor.submit(self.original, seed, _silent) for seed in seeds]:
            job.result()
        parts = [runs[place::jobs] for place in range(min(jobs, len(runs)))]
        return [executor.submit(self.perform, part, _silent, collect=False) for part in parts]


def _ignore(done: int, total: int, loss: float) -> None:
    """Take a report and do nothing."""


def _silent(title: str) -> Progress:
    return _ignore
