"""Nested dictionaries of tensors, as checkpoints hold them: which part is the model, made flat.

The trees may be of tensors or of outlines of tensors, so that a file can be judged before a tensor
is made.  A tree may refer to one dictionary many times over, and names may be long: what is walked
and what is written down is bounded.
"""

from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from hydropress.errors import FileFormatError

T = TypeVar("T")

#: The types that a model's tensors may have, by the name that NumPy and PyTorch give them.
DTYPES: dict[str, torch.dtype] = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.complex64,
        torch.complex128,
    )
}

_MOST_NODES = 100_000
_DEEPEST = 32
_LONGEST_NAME = 1000

# Under these names a model is found whatever else there is ...
_ALWAYS = ("state_dict", "model_state_dict")
# ... and under these if there is more than tensors around it: they may be submodules too.
_BESIDE_OTHERS = ("model", "module")
_FLAX_COLLECTIONS = ("params", "batch_stats")


def unreadable(path: Path, received: str, required: str, remedy: str) -> FileFormatError:
    """Return the error that says what a file holds, what is required and what to do."""
    return FileFormatError(f"{path} {received}; required: {required}; {remedy}")


def choose(tree: Any, leaf: type[T]) -> dict[str, T]:
    """Find the model in a checkpoint's tree, and name its tensors by their path, with dots.

    Parameters
    ----------
    tree
        What the file holds.
    leaf
        The type of what is a tensor.

    Returns
    -------
    dict
        What is under ``state_dict`` or ``model_state_dict``; else all of it, if all are tensors;
        else what is under ``model`` or ``module``, or Flax's ``params`` and ``batch_stats``.

    Raises
    ------
    ValueError
        If there is something else in it than tensors, or no tensor; says what, to be put after
        the path.
    """
    if not isinstance(tree, dict):
        raise ValueError(f"holds {_named(tree)} and no dictionary of tensors")
    whole = cast("dict[Any, Any]", tree)
    for key in _ALWAYS:
        if isinstance(whole.get(key), dict):
            return _flatten(whole[key], leaf)
    try:
        return _flatten(whole, leaf)
    except ValueError:
        for key in _BESIDE_OTHERS:
            if isinstance(whole.get(key), dict):
                return _flatten(whole[key], leaf)
        if isinstance(whole.get("params"), dict):
            return _flatten({key: whole[key] for key in _FLAX_COLLECTIONS if key in whole}, leaf)
        raise


def _flatten(tree: dict[Any, Any], leaf: type[T]) -> dict[str, T]:
    flat: dict[str, T] = {}
    pending: list[tuple[str, Any, int]] = [("", tree, 0)]
    seen = 0
    while pending:
        name, value, depth = pending.pop()
        seen += 1
        if isinstance(value, leaf):
            if name in flat:
                raise ValueError(f"holds {name!r} twice")
            flat[name] = value
            continue
        if not isinstance(value, dict):
            raise ValueError(f"holds {name!r}, {_named(value)} and no tensor")
        branch = cast("dict[Any, Any]", value)
        if depth >= _DEEPEST or seen + len(pending) + len(branch) > _MOST_NODES:
            raise ValueError(f"nests over {_DEEPEST} deep, or holds over {_MOST_NODES:,} tensors")
        for key in reversed(branch):
            if type(key) is not str or len(name) + len(key) >= _LONGEST_NAME:
                raise ValueError(f"has the key {str(key)[:60]!r}, no text of decent length")
            pending.append((f"{name}.{key}" if name else key, branch[key], depth + 1))
    if not flat:
        raise ValueError("holds no tensor")
    return flat


def _named(value: Any) -> str:
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiouAEIO' else 'a'} {kind}"
