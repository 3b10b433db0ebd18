"""Files of the Python version of CIFAR-10, which are pickles, read without running any.

A pickle is a program.  Of the names it may call for, those of an array get stand-ins that only keep
what is stored, and any other ends the reading; the array is put together here.
"""

import pickle
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hydropress.errors import FileFormatError

VALUES = 3 * 32 * 32
"""Bytes of an image: 32 x 32 of red, then of green, then of blue."""


class _Stored:
    """Stands in for an array, or for the type of its entries."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


# What an array is written with by NumPy before version 2 and by later ones.
_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Stored,
    ("numpy._core.multiarray", "_reconstruct"): _Stored,
    ("numpy", "dtype"): _Stored,
    ("numpy", "ndarray"): "ndarray",
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it calls for {module_name}.{global_name}")
        return _STAND_INS[module_name, global_name]


def read_python_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read one file, such as ``data_batch_1``.

    Returns
    -------
    tuple
        Images, uint8, shape ``(n, 3, 32, 32)``, and labels from 0 to 9, uint8, shape ``(n,)``.

    Raises
    ------
    FileFormatError
        If it holds anything else than texts, numbers, lists, dictionaries and plain arrays, which
        is refused before it is run, or not a batch of images.
    """
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="bytes").load()
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        MemoryError,
        TypeError,
        ValueError,
    ) as error:
        raise _refusal(path, f"not a file of plain values ({error})") from error
    if not isinstance(content, dict):
        raise _refusal(path, f"a {type(content).__name__}")
    entries = cast("dict[object, object]", content)
    images = _images(entries.get(b"data", entries.get("data")))
    labels = _labels(entries.get(b"labels", entries.get("labels")))
    if images is None or labels is None or len(images) != len(labels):
        shapes = [None if array is None else array.shape for array in (images, labels)]
        raise _refusal(path, f"data and labels of shapes {shapes[0]} and {shapes[1]}")
    return images, labels


def _images(value: object) -> NDArray[np.uint8] | None:
    """Return the array that is stored; None if it is none of bytes, row by row."""
    match value:
        case _Stored(state=(int(), (int(rows), 3072), _Stored() as entry, 0, bytes(content))):
            plain = entry.arguments[:1] in (("u1",), (b"u1",)) and rows * VALUES == len(content)
            array = np.frombuffer(content, dtype=np.uint8) if plain and rows else None
            return None if array is None else array.reshape(rows, 3, 32, 32)
        case _:
            return None


def _labels(value: object) -> NDArray[np.uint8] | None:
    if not isinstance(value, list):
        return None
    labels = cast("list[object]", value)
    if not all(isinstance(label, int) and 0 <= label < 10 for label in labels):
        return None
    return np.array(labels, dtype=np.uint8)


def _refusal(path: Path, received: str) -> FileFormatError:
    return FileFormatError(
        f"{path}: {received}; required: a dictionary with data, uint8 of shape (n, {VALUES}), and "
        "n labels from 0 to 9, as in cifar-10-python.tar.gz; unpack that archive again, and do not "
        "open this file otherwise if you do not trust it"
    )
