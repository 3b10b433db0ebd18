"""Image: CIFAR-10 in grey, read pixel by pixel, 1,024 steps.

The benchmark has no validation split of its own; here, as is usual for SSMs, a tenth of the
training images is held out.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hydropress.data.images import ImageSequences
from hydropress.data.lra.cifar10 import Bytes, StoredImages, find_cifar10
from hydropress.data.lra.files import cached_files
from hydropress.data.lra.splits import Split, part, stored_split

# Of the grey training images, as published S4 models are trained with.
MEAN, DEVIATION = 122.6 / 255, 61.0 / 255
LOSSY = "CIFAR-10 in JPEG files, which are slightly lossy"
"""The note of images in such files."""
VALIDATION = 5000
"""How many training images are held out."""

# 0.299, 0.587 and 0.114 (ITU-R 601) in units of 2^-16, as Pillow has them: the same grey values.
_RED, _GREEN, _BLUE, _BITS = 19595, 38470, 7471, 16


def load_image(
    split: Split,
    folder: Path,
    *,
    cache: Path | None = None,
    validation: int = VALIDATION,
    seed: int = 0,
) -> ImageSequences:
    """Read grey images of 32 x 32 pixels, labels 0 to 9.

    The grey value is 0.299 R + 0.587 G + 0.114 B, rounded as Pillow does.

    Parameters
    ----------
    split
        ``val`` is held out of the training images, ``train`` is the rest.
    folder
        ``cifar-10-batches-bin`` or ``cifar-10-batches-py``, or a folder that holds one of them; a
        ``DatasetDict`` of columns ``img`` and ``label`` that the library ``datasets`` wrote with
        ``save_to_disk``; or images as ``cifar10/{train,test}/<class>/<nnnn>.jpg``.  JPEG is
        slightly lossy, and the ``note`` of the data says so: repeat it beside any number.  The
        images are there in another order, so that other ones are held out.
    cache
        Folder for a file of the grey images, read instead while the files are the same, as
        :func:`~hydropress.data.lra.files.files_digest` tells.  None: nothing is kept.
    validation
        How many training images to hold out, as many of each class; with 0 all are for training.
    seed
        Determines which are held out.

    Raises
    ------
    DataNotFoundError
        If there are no images; the message says what to download.
    FileFormatError
        If a file is damaged, or a Python batch is more than plain values: none is run.
    MissingLibraryError
        If the images are JPEG or PNG files and Pillow is not installed, or if ``datasets`` wrote
        them and is not.
    """
    source = stored_split(split)
    stored = find_cifar10(folder, source)
    tensors = cached_files(
        cache,
        f"image_{source}",
        stored.files,
        {"layout": stored.layout, "version": 2},
        lambda: _tensors(stored),
    )
    note = LOSSY if stored.layout == "jpeg" else ""
    data = ImageSequences(tensors["images"], tensors["labels"], MEAN, DEVIATION, note)
    return data[part(split, data.labels, validation, seed)]


def grey(images: Bytes) -> Bytes:
    """Return the luma of images, uint8, from shape ``(..., 3, h, w)`` to ``(..., h, w)``."""
    red, green, blue = (images[..., channel, :, :].astype(np.uint32) for channel in range(3))
    half = 1 << (_BITS - 1)
    return ((_RED * red + _GREEN * green + _BLUE * blue + half) >> _BITS).astype(np.uint8)


def _tensors(stored: StoredImages) -> dict[str, Tensor]:
    images: list[Bytes] = []
    labels: list[Bytes] = []
    for some, their_labels in stored.read():
        images.append(grey(some))
        labels.append(their_labels)
    return {
        "images": torch.from_numpy(np.concatenate(images)),
        "labels": torch.from_numpy(np.concatenate(labels).astype(np.int64)),
    }
