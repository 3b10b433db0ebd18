"""On what a training runs, and where its figures are written besides its own log."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast, get_args

from hydropress.errors import InvalidArgumentError, MissingLibraryError

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Logger = Literal["csv", "tensorboard"]


@dataclass(frozen=True)
class Hardware:
    """Processes, devices and precision.

    Attributes
    ----------
    accelerator
        ``auto``, ``cpu``, ``gpu`` or another name that Lightning knows.
    devices
        Processes on each machine, one for each device; a batch is shared out among all.
    nodes
        Machines; each runs the same command under a launcher that Lightning knows (SLURM,
        torchrun).
    precision
        The SSMs' transforms run in float32 whatever it is.
    loggers
        Further logs, in the run's folder.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Precision = "32-true"
    loggers: tuple[Logger, ...] = ()

    def __post_init__(self) -> None:
        for name in ("devices", "nodes"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name}={getattr(self, name)}; required: at least 1")
        for name, value, kind in (
            ("precision", (self.precision,), Precision),
            ("loggers", self.loggers, Logger),
        ):
            unknown = [one for one in value if one not in get_args(kind)]
            if unknown:
                raise InvalidArgumentError(
                    f"{name}={unknown[0]!r}; required: any of {', '.join(get_args(kind))}"
                )

    @classmethod
    def chosen(
        cls,
        accelerator: str,
        devices: int,
        nodes: int,
        precision: str,
        loggers: Sequence[str] = (),
    ) -> "Hardware":
        """Return what a command line asks for; names are checked."""
        return cls(accelerator, devices, nodes, cast(Precision, precision), tuple(loggers))  # type: ignore[arg-type]

    @property
    def processes(self) -> int:
        """Of all machines together."""
        return self.devices * self.nodes

    def make_loggers(self, folder: Path | None) -> list[Any]:
        """Return Lightning's loggers, writing to a folder; none without one."""
        if folder is None:
            return []
        loggers = lightning().pytorch.loggers
        try:
            kinds = {"csv": loggers.CSVLogger, "tensorboard": loggers.TensorBoardLogger}
            return [kinds[name](folder, name="logs", version=name) for name in self.loggers]
        except ModuleNotFoundError as error:
            raise MissingLibraryError(
                f"{error}; required for logs in TensorBoard's format; install "
                "hydropress[tensorboard]"
            ) from error


def is_first_process() -> bool:
    """Return whether this is the first of the processes that train together, which alone writes."""
    names = ("RANK", "NODE_RANK", "SLURM_PROCID", "LOCAL_RANK")
    ranks = [os.environ.get(name, "0") for name in names]
    return all(rank == "0" for rank in ranks)


def lightning() -> Any:
    """Import Lightning.

    Raises
    ------
    MissingLibraryError
        If it is not installed.
    """
    try:
        for part in ("callbacks", "loggers"):
            import_module(f"lightning.pytorch.{part}")
        return import_module("lightning")
    except ImportError as error:
        raise MissingLibraryError(
            f"{error}; required for training; install hydropress[training]"
        ) from error
