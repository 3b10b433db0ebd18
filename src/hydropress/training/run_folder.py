"""A run and its continuation: the same configuration on the same data."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.evaluation.outputs import RUN, write_run
from hydropress.evaluation.records import read_json

LOG = "training.jsonl"
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


def match_run(folder: Path, description: Mapping[str, Any]) -> None:
    """Write down what a folder's run is, or check that it is the same one.

    Parameters
    ----------
    folder
        Where a run keeps its checkpoint.  One without a description, from an earlier version, is
        taken to match.
    description
        Nested, ready for JSON.

    Raises
    ------
    InvalidArgumentError
        If the folder belongs to another run; the message names what differs.
    """
    path = folder / RUN
    if not path.is_file():
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
