"""A run and its continuation: the same configuration on the same data."""

import hashlib
import json
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor

from hydropress.atomic import is_left_of
from hydropress.errors import InvalidArgumentError
from hydropress.evaluation.outputs import CHECKPOINT, LOCK, RUN, write_run
from hydropress.evaluation.records import read_json

LOG, BEST = "training.jsonl", "best.safetensors"
IRRELEVANT = ("training.checkpoint_every", "training.workers", "recipe.name")
"""Entries that may differ between a run and its continuation: they change no number."""


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Return the SHA-256 of the contents of some tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        content = tensor.detach().cpu().contiguous()
        digest.update(f"{content.dtype}{tuple(content.shape)}".encode())
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        key: entry
        for name, part in value.items()
        for key, entry in _flat(part, f"{prefix}.{name}" if prefix else name).items()
    }


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Keep other processes from training in a folder; whatever ends this one ends that, too.

    Raises
    ------
    InvalidArgumentError
        If another process trains there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        if _lock(file):
            for entry in folder.iterdir():
                if any(is_left_of(name, entry) for name in (RUN, LOG, CHECKPOINT, BEST)):
                    entry.unlink()
        yield


def _lock(file: Any) -> bool:
    """Lock a file until it is closed; False where there are no locks."""
    try:
        system = import_module("fcntl")
        system.flock(file, system.LOCK_EX | system.LOCK_NB)
    except BlockingIOError as error:
        folder = str(Path(file.name).parent)
        raise InvalidArgumentError(
            f"another process trains in {folder!r}; required: one at a time; wait for it or "
            "choose another output folder"
        ) from error
    except (ImportError, OSError):
        return False
    return True


def match_run(folder: Path, description: Mapping[str, Any], *, write: bool = True) -> None:
    """Write down what a folder's run is, or check that it is the same one.

    Parameters
    ----------
    folder
        Where a run keeps its checkpoint.  One without a description, from an earlier version, is
        taken to match.
    description
        Nested, ready for JSON.
    write
        Whether this process is the one that writes.

    Raises
    ------
    InvalidArgumentError
        If the folder belongs to another run; the message names what differs.
    """
    path = folder / RUN
    if not path.is_file():
        if write:
            write_run(folder, description)
        return
    there, here = _flat(read_json(path)), _flat(json.loads(json.dumps(dict(description))))
    differing = [
        f"{name} {_shown(there, name)} there, {_shown(here, name)} here"
        for name in dict.fromkeys([*there, *here])
        if name not in IRRELEVANT and there.get(name) != here.get(name)
    ]
    if differing:
        raise InvalidArgumentError(
            f"{str(folder)!r} holds another run ({'; '.join(differing[:3])}); required: the same "
            "configuration to continue it; restore it or choose another output folder"
        )


def _shown(entries: dict[str, Any], name: str) -> str:
    value = entries.get(name, "absent")
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 40 else str(value)
