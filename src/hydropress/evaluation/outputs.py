"""Output folders: whose they are, and writes that belong together."""

import json
import signal
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydropress.atomic import is_left_of, write_atomically
from hydropress.errors import InvalidArgumentError
from hydropress.evaluation.records import read_json

RUN = "run.json"
CHECKPOINT = "checkpoint.safetensors"
LOCK = ".lock"
"""Held by the process that trains in the folder."""


def can_handle_signals() -> bool:
    """Python runs signal handlers in the main thread only, and only there may they be set."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def uninterrupted() -> Generator[None]:
    """Let a block finish before an interrupt acts; use it around writes that belong together."""
    if not can_handle_signals():
        yield
        return
    received: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if received:
        signal.raise_signal(signal.SIGINT)


def write_run(folder: Path, description: Mapping[str, Any]) -> None:
    """Write down what a folder belongs to; it is created if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RUN, json.dumps(dict(description), indent=2) + "\n")


def check_folder(folder: Path, command: str) -> None:
    """Refuse an output folder that holds anything but this command's own earlier output.

    Parameters
    ----------
    folder
        May be missing or empty; nothing is created.
    command
        Name of the command that wants to write.

    Raises
    ------
    InvalidArgumentError
        If the folder holds something else; the message says what.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InvalidArgumentError(
            f"output {str(folder)!r} is a file; required: a folder; choose another name"
        )
    # A kill before run.json was written leaves this and nothing else.
    if all(entry.name == LOCK or is_left_of(RUN, entry) for entry in folder.iterdir()):
        return
    if (folder / RUN).is_file():
        owner = read_json(folder / RUN).get("command")
        if owner == command:
            return
        found = f"holds the output of `hydropress {owner}`"
    elif command == "train" and (folder / CHECKPOINT).is_file():
        return
    else:
        found = f"is not empty and was not written by `hydropress {command}`"
    raise InvalidArgumentError(
        f"output {str(folder)!r} {found}; required: a new or empty folder, or an earlier output of "
        "the same command; choose another folder or empty this one"
    )


def check_source(folder: Path, source: Path) -> None:
    """Refuse to write over what is read.

    Parameters
    ----------
    folder
        Of the output.
    source
        A model's directory or a file.

    Raises
    ------
    InvalidArgumentError
        If the source is the folder, or a file in it.
    """
    if folder.resolve() == (source.parent if source.is_file() else source).resolve():
        raise InvalidArgumentError(
            f"output {str(folder)!r} holds the input; required: another folder, since the result "
            "would take the input's place; choose another name"
        )
