"""Sequential Fashion-MNIST: 28 x 28 grey images read pixel by pixel, 784 steps.

Fashion-MNIST is by Zalando SE (Xiao, Rasul and Vollgraf, 2017), under the MIT licence.  A slice of
it is shipped with the package; the full set is read from the four original files, for example
those that Debian's package ``dataset-fashion-mnist`` installs.
"""

import gzip
import zipfile
import zlib
from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from hydropress.data.images import ImageSequences
from hydropress.errors import DataNotFoundError, FileFormatError

# Mean and standard deviation of the 60,000 training images.
MEAN, DEVIATION = 0.2860, 0.3530
DEFAULT_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SLICE_FILE = "fashion_mnist_slice.npz"

Split = Literal["train", "test"]


def _read_idx(path: Path, num_axes: int) -> np.ndarray:
    """Read one gzipped IDX file of bytes."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(f"{path}: not a gzip file ({error}); reinstall the data") from error
    size = 4 + 4 * num_axes
    header = np.frombuffer(content[:size] if len(content) >= size else b"", dtype=">u4")
    if len(header) == 0 or header[0] != 0x0800 + num_axes:
        raise FileFormatError(
            f"{path}: not an IDX file of bytes with {num_axes} axes; reinstall the data"
        )
    shape = tuple(int(size) for size in header[1:])
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_axes)
    if values.size != int(np.prod(shape)):
        raise FileFormatError(
            f"{path}: {values.size} values where the header declares {shape}; reinstall the data"
        )
    return values.reshape(shape)


def load_full(split: Split, folder: Path = DEFAULT_FOLDER) -> ImageSequences:
    """Read the 60,000 training or 10,000 test images.

    Raises
    ------
    DataNotFoundError
        If a file is missing; the message says what to install.
    """
    prefix = "train" if split == "train" else "t10k"
    paths = [
        folder / f"{prefix}-images-idx3-ubyte.gz",
        folder / f"{prefix}-labels-idx1-ubyte.gz",
    ]
    for path in paths:
        if not path.is_file():
            raise DataNotFoundError(
                f"{path} not found; required: the four original Fashion-MNIST files; install "
                "Debian's package dataset-fashion-mnist, or download them from "
                "https://github.com/zalandoresearch/fashion-mnist and pass their folder"
            )
    images, labels = _read_idx(paths[0], 3), _read_idx(paths[1], 1)
    return _as_sequences(images, labels, str(paths[0]))


def load_slice(split: Split, path: Path | None = None) -> ImageSequences:
    """Read the shipped slice: 4,096 training images or the first 2,000 test images.

    Parameters
    ----------
    split
        ``train`` or ``test``.
    path
        Another file of the same layout: uint8 arrays ``train_images``, ``train_labels``,
        ``test_images``, ``test_labels``.
    """
    resource = files("hydropress.data").joinpath(SLICE_FILE)
    with ExitStack() as stack:
        source = path if path is not None else stack.enter_context(as_file(resource))
        try:
            arrays = stack.enter_context(np.load(source, allow_pickle=False))
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        except FileNotFoundError as error:
            raise DataNotFoundError(
                f"{source} not found; required: the slice of Fashion-MNIST that belongs to the "
                "package; reinstall it, or run benchmarks/make_slice.py"
            ) from error
        except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
            raise FileFormatError(
                f"{source}: not a slice of images ({error}); reinstall the package, or run "
                "benchmarks/make_slice.py"
            ) from error
    return _as_sequences(images, labels, str(source))


def _as_sequences(images: np.ndarray, labels: np.ndarray, source: str) -> ImageSequences:
    if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise FileFormatError(
            f"{source}: {images.dtype} images of shape {images.shape} with labels of shape "
            f"{labels.shape}; required: uint8 (n, height, width) with n labels; reinstall the data"
        )
    return ImageSequences(
        torch.from_numpy(np.array(images)),
        torch.from_numpy(labels.astype(np.int64)),
        MEAN,
        DEVIATION,
    )
