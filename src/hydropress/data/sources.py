"""Where a command's data come from: the slice in the package, or a folder of original files."""

from pathlib import Path

import torch
from torch import Tensor

from hydropress.data.fashion_mnist import Split, load_full, load_slice
from hydropress.data.images import ImageSequences
from hydropress.errors import DataNotFoundError, InvalidArgumentError

SLICE = "slice"
CALIBRATION_SAMPLES = 256
"""How many sequences to calibrate on unless asked otherwise; a few dozen suffice."""


def open_images(source: str | Path, split: Split) -> ImageSequences:
    """Read labelled images.

    Parameters
    ----------
    source
        ``slice`` for the images shipped with the package, otherwise the folder of the four
        original Fashion-MNIST files.
    split
        ``train`` or ``test``.

    Raises
    ------
    DataNotFoundError
        If there is no such folder or a file is missing.
    """
    if str(source) == SLICE:
        return load_slice(split)
    folder = Path(source)
    if not folder.is_dir():
        raise DataNotFoundError(
            f"data {str(source)!r}; required: {SLICE!r} or a folder of the four original "
            "Fashion-MNIST files; check the path"
        )
    return load_full(split, folder)


def calibration_sequences(data: ImageSequences, count: int, seed: int) -> Tensor:
    """Draw sequences at random, without repetition.

    Parameters
    ----------
    data
        Training images; their labels are not used.
    count
        How many to draw.
    seed
        Determines the choice.

    Returns
    -------
    Tensor
        float32, shape ``(count, L, 1)``.
    """
    if not 1 <= count <= len(data):
        raise InvalidArgumentError(
            f"{count} calibration sequences; required: from 1 to {len(data)}, as many as the data "
            "hold"
        )
    generator = torch.Generator().manual_seed(seed)
    return data[torch.randperm(len(data), generator=generator)[:count]].sequences()
