"""Tensors of a file in the format of flax.serialization, read without JAX or Flax.

The file is MessagePack: nested maps whose leaves are extension types.  An array (type 1) and a
NumPy scalar (3) are MessagePack again, of shape, type and bytes; a complex number (2) is its real
and imaginary parts.  Arrays of more than 2^30 bytes are maps of their shape and flat pieces.
"""

import math
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hydropress.errors import MissingLibraryError
from hydropress.models.description import brief
from hydropress.models.tensor_trees import DTYPES, choose, unreadable

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_PIECES = "__msgpack_chunked_array__"
# The reader makes room for a list before it sees its items, at each level again.
_LONGEST_LIST = 64


def read_flax(path: Path) -> dict[str, Tensor]:
    """Read the model in a ``.msgpack`` file.

    Parameters
    ----------
    path
        A file of ``flax.serialization.to_bytes`` or ``msgpack_serialize``.

    Returns
    -------
    dict
        Tensors of the shapes and types of the arrays, named by their path in the tree.

    Raises
    ------
    FileFormatError
        If the file is damaged, or an array's declared size is not that of its bytes.
    MissingLibraryError
        If msgpack is not installed.
    """
    try:
        unpackb = import_module("msgpack").unpackb
    except ImportError as error:
        raise MissingLibraryError(
            f"msgpack is not installed ({error}); required for checkpoints of Flax; run "
            "'pip install hydropress[flax]'"
        ) from error

    def extension(code: int, payload: bytes) -> Any:
        parts = unpackb(payload, raw=True, max_array_len=_LONGEST_LIST)
        if code in (_ARRAY, _SCALAR):
            return _array(parts)
        if code == _COMPLEX and isinstance(parts, list) and [*map(type, parts)] == [float] * 2:
            return torch.tensor(complex(*parts), dtype=torch.complex128)
        raise ValueError(f"the extension type {code} is none of Flax's")

    try:
        tree = unpackb(
            path.read_bytes(),
            ext_hook=extension,
            object_hook=_joined,
            max_array_len=_LONGEST_LIST,
        )
        return choose(tree, Tensor)
    except (ValueError, TypeError, RuntimeError) as error:
        raise unreadable(
            path,
            f"cannot be read as a checkpoint of Flax ({brief(error)})",
            "MessagePack of nested maps of arrays, of the sizes that they declare",
            "write flax.serialization.to_bytes(variables) to the file again, or take another copy",
        ) from error


def _array(parts: Any) -> Tensor:
    if not isinstance(parts, list) or [*map(type, parts)] != [list, bytes, bytes]:
        raise ValueError("an array is no triple of shape, type and bytes")
    shape, name, content = parts
    _check_shape(shape)
    dtype = DTYPES.get(name.decode("ascii", "replace"))
    if dtype is None:
        raise ValueError(f"an array has the type {name!r}, none of {', '.join(DTYPES)}")
    needed = math.prod(shape) * dtype.itemsize
    if needed != len(content):
        raise ValueError(
            f"an array of shape {shape} declares {needed:,} bytes, with {len(content):,} present"
        )
    if not content:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(content), dtype=dtype).reshape(shape)


def _check_shape(shape: list[Any]) -> None:
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"an array has the shape {shape}")


def _joined(branch: dict[Any, Any]) -> Any:
    """Return a map as it is, or the array that it holds in pieces."""
    if _PIECES not in branch:
        return branch
    sizes, pieces = branch.get("shape"), branch.get("chunks")
    if not isinstance(sizes, dict) or not isinstance(pieces, dict) or not pieces:
        raise ValueError("an array in pieces lacks its shape or its pieces")
    try:
        shape = [sizes[str(axis)] for axis in range(len(sizes))]
        parts = [pieces[str(number)] for number in range(len(pieces))]
    except KeyError as error:
        raise ValueError(f"an array in pieces lacks the number {error}") from error
    _check_shape(shape)
    if not all(type(part) is Tensor and part.ndim == 1 for part in parts):
        raise ValueError("a piece of an array is no list of numbers")
    present = sum(len(part) for part in parts)
    if len({part.dtype for part in parts}) != 1 or present != math.prod(shape):
        raise ValueError(f"an array of shape {shape} comes in {present:,} numbers, or mixed types")
    return torch.cat(parts).reshape(shape)
