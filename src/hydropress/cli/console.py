"""What all commands share at the terminal: errors, interrupts, progress, results."""

import functools
import json
import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from hydropress.errors import HydropressError

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

START_OVER = "nothing was left half-written; run the same command again to start over"
CONTINUE = "run the same command again to continue from the last checkpoint"
INTERRUPTED, WRONG_INPUT = 130, 2  # 128 + SIGINT, as shells have it; as for unknown options
NARROWEST = 100


def say(message: str) -> None:
    """Write one line to stderr."""
    typer.echo("hydropress: " + " ".join(message.split()), err=True)


def guarded(resume: str = START_OVER) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn errors that a user can cause into one line, and Ctrl-C into a way to go on."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*arguments: Any, **options: Any) -> None:
            try:
                command(*arguments, **options)
            except KeyboardInterrupt:
                say(f"interrupted; {resume}")
                raise typer.Exit(INTERRUPTED) from None
            except HydropressError as error:
                say(str(error))
                raise typer.Exit(WRONG_INPUT) from None
            except OSError as error:
                name = "" if error.filename is None else f"{error.filename}: "
                say(
                    f"{name}{error.strerror or error}; required: files and folders that can be "
                    "read and written; check the path, its permissions and the space left"
                )
                raise typer.Exit(WRONG_INPUT) from None

        return run

    return decorate


def emit(result: Any) -> None:
    """Print a result as JSON on stdout."""
    typer.echo(json.dumps(result, indent=2))


def show(*items: "Table | str") -> None:
    """Print tables and lines on stdout; wide enough for a table where the width is unknown."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, NARROWEST))
    for item in items:
        console.print(item)


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as text; a dash if it was not measured."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


class Bar:
    """Progress bar with time left on stderr, if that is a terminal.

    Use as a context manager and pass :meth:`update` (or :meth:`loss`) as a progress callback.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._progress: Progress | None = None
        self._task: Any = None

    def __enter__(self) -> "Bar":
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._progress:
            self._progress.stop()

    def update(self, done: float, total: float, what: str | None = None) -> None:
        """Show how far it is."""
        if self._progress is None:
            return
        description = what or self._what
        if self._task is None:
            # A resumed run starts in the middle: what was done before must not count as speed.
            self._task = self._progress.add_task(description, total=total, completed=int(done))
        self._progress.update(
            self._task, completed=int(done), total=int(total), description=description
        )

    def titled(self, what: str) -> Callable[[int, int, float], None]:
        """Start to show another piece of work, and return what is told how far it is."""
        if self._progress is not None and self._task is not None:
            self._progress.remove_task(self._task)
        self._what, self._task = what, None
        return self.loss

    def loss(self, step: int, total: int, loss: float) -> None:
        """Show how far training is."""
        self.update(step, total, f"{self._what}, step {step:,} of {total:,}, loss {loss:.3f}")
