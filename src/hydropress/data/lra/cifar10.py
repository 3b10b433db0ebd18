"""CIFAR-10 (Krizhevsky, 2009): 60,000 images of ten classes in colour, in four layouts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hydropress.data.lra.files import find_folder, optional_library, require_files
from hydropress.data.lra.python_batches import VALUES, read_python_batch
from hydropress.data.lra.saved import AGAIN, SAVED, saved_columns, saved_files
from hydropress.errors import DataNotFoundError, FileFormatError

Bytes = NDArray[np.uint8]

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
"""Names of the classes 0 to 9."""

_BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}
SOURCE = (
    "CIFAR-10; download cifar-10-binary.tar.gz or cifar-10-python.tar.gz from "
    "https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and pass the folder that holds "
    "cifar-10-batches-bin or cifar-10-batches-py, or one that the library datasets wrote with "
    "save_to_disk of its data set cifar10, or that of images as "
    "cifar10/{train,test}/<class>/<nnnn>.jpg, slightly lossy"
)
"""What to download, and where to put it."""


@dataclass(frozen=True)
class StoredImages:
    """Files of one split, in order.

    Attributes
    ----------
    layout
        ``binary``, ``python``, ``datasets`` or ``jpeg``.
    files
        All of them.
    read
        Reads them part by part: images, uint8, shape ``(n, 3, 32, 32)``, and labels, uint8, shape
        ``(n,)``.
    """

    layout: str
    files: list[Path]
    read: Callable[[], Iterator[tuple[Bytes, Bytes]]]


def find_cifar10(folder: Path, source: Literal["train", "test"]) -> StoredImages:
    """Return the files of a split in the first layout that is there.

    Raises
    ------
    DataNotFoundError
        If there is none, or part of the files is missing; the message says what to download.
    """
    for layout, below, suffix, read in (
        ("binary", "cifar-10-batches-bin", ".bin", read_binary_batch),
        ("python", "cifar-10-batches-py", "", read_python_batch),
    ):
        names = [f"{name}{suffix}" for name in _BATCHES[source]]
        found = find_folder(folder, [below], names)
        if found is not None:
            files = require_files([found / name for name in names], SOURCE)
            return StoredImages(layout, files, partial(map, read, files))
    if (folder / SAVED).is_file():
        files = saved_files(folder, source)
        return StoredImages("datasets", files, partial(_saved, folder, source))
    found = find_folder(folder, ["cifar10"], [f"{source}/{name}" for name in CLASSES])
    if found is None:
        raise DataNotFoundError(f"{folder} holds no images of CIFAR-10; required: {SOURCE}")
    files: list[Path] = []
    for name in CLASSES:
        images = sorted((found / source / name).glob("*.jpg"), key=lambda path: path.name)
        if not images:
            raise DataNotFoundError(f"{found / source / name} holds no images; required: {SOURCE}")
        files += images
    return StoredImages("jpeg", files, partial(map, read_jpeg, files))


def read_binary_batch(path: Path) -> tuple[Bytes, Bytes]:
    """Read one file of the binary version: records of a label and 3,072 values."""
    content = np.fromfile(path, dtype=np.uint8)
    remedy = "unpack cifar-10-binary.tar.gz again"
    if len(content) == 0 or len(content) % (1 + VALUES):
        raise FileFormatError(
            f"{path}: {len(content)} bytes; required: one or more records of {1 + VALUES} each; "
            f"{remedy}"
        )
    records = content.reshape(-1, 1 + VALUES)
    labels = records[:, 0]
    wrong = np.flatnonzero(labels >= len(CLASSES))
    if len(wrong):
        raise FileFormatError(
            f"{path}: label {labels[wrong[0]]} in record {wrong[0] + 1}; required: from 0 to 9; "
            f"{remedy}"
        )
    return records[:, 1:].reshape(-1, 3, 32, 32), labels


def read_jpeg(path: Path) -> tuple[Bytes, Bytes]:
    """Read one JPEG file, of the class that its folder names; Pillow decodes it."""
    library = optional_library("PIL.Image", "Pillow", "to read images in JPEG files")
    try:
        with library.open(path, formats=["JPEG"]) as image:
            size = image.size
            pixels = np.asarray(image.convert("RGB")) if size == (32, 32) else None
    except (OSError, SyntaxError, ValueError) as error:
        raise FileFormatError(
            f"{path}: not a JPEG image ({error}); required: one of 32 x 32 pixels; unpack the "
            "archive again"
        ) from error
    if pixels is None:
        raise FileFormatError(
            f"{path}: an image of {size[0]} x {size[1]} pixels; required: 32 x 32; unpack the "
            "archive again"
        )
    label = np.array([CLASSES.index(path.parent.name)], dtype=np.uint8)
    return pixels.transpose(2, 0, 1)[None], label


def _saved(folder: Path, source: Literal["train", "test"]) -> Iterator[tuple[Bytes, Bytes]]:
    """Read what the library ``datasets`` wrote; Pillow decodes the images, PNG files."""
    optional_library("PIL.Image", "Pillow", "to decode images")
    rows = zip(*saved_columns(folder, source, ("img", "label")), strict=True)
    for row, (image, label) in enumerate(rows):
        size = getattr(image, "size", None)
        if size != (32, 32) or label not in range(len(CLASSES)):
            raise FileFormatError(
                f"{folder}: in row {row} of {source} a {type(image).__name__} of size {size} and "
                f"label {label!r}; required: an image of 32 x 32 pixels, labelled 0 to 9; {AGAIN}"
            )
        pixels = np.asarray(image.convert("RGB"))
        yield pixels.transpose(2, 0, 1)[None], np.array([label], dtype=np.uint8)
