"""Data sets that take long to read: kept as one file of tensors, checked when it is read again."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from hydropress.atomic import replacing
from hydropress.errors import FileFormatError

_DESCRIPTION, _CHECKSUM = "description", "sha256"


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        content = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {content.dtype} {tuple(content.shape)} ".encode())
        digest.update(content.numpy().tobytes())
    return digest.hexdigest()


def cached_tensors(
    path: Path | None, description: Mapping[str, Any], build: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Return tensors from a file, or build them and write the file.

    Parameters
    ----------
    path
        The file, ending in ``.safetensors``; its folder is created.  None: nothing is kept.
    description
        All that determines the tensors, ready for JSON: a file of another description is built
        anew.
    build
        Called if there is no such file.  An interruption leaves no file, or the one before;
        processes may do the same at the same time.

    Raises
    ------
    FileFormatError
        If the file is damaged: not tensors, or not those that were written.
    """
    wanted = json.dumps(dict(description), sort_keys=True)
    if path is not None and path.is_file():
        kept = _read(path, wanted)
        if kept is not None:
            return kept
    tensors = build()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {_DESCRIPTION: wanted, _CHECKSUM: checksum(tensors)}
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        with replacing(path) as temporary:
            temporary.write_bytes(serialize(contiguous, metadata=metadata))
    return tensors


def _read(path: Path, wanted: str) -> dict[str, Tensor] | None:
    """Return the tensors of a file, None if it has another description."""
    remedy = "delete it, and it is made again"
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get(_DESCRIPTION) != wanted:
                return None
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise FileFormatError(f"{path}: not a file of tensors ({error}); {remedy}") from error
    if metadata.get(_CHECKSUM) != checksum(tensors):
        raise FileFormatError(
            f"{path}: contents that differ from those written; required: an intact file; {remedy}"
        )
    return tensors
