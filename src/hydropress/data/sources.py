"""Where a command's data come from: the slice in the package, or a folder of original files."""

from pathlib import Path

import torch
from torch import Tensor

from hydropress.data.fashion_mnist import Split, load_full, load_slice
from hydropress.data.images import ImageSequences
from hydropress.data.sequences import LabelledSequences
from hydropress.errors import DataNotFoundError, InvalidArgumentError

SLICE = "slice"
HELD_OUT_SAMPLES = 2000
"""How many training images to measure a drop of the accuracy on, if there are so many."""
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


def calibration_sequences(data: LabelledSequences, count: int, seed: int) -> Tensor:
    """Draw sequences at random, without repetition.

    Parameters
    ----------
    data
        Training sequences; their labels are not used.
    count
        How many to draw.
    seed
        Determines the choice.

    Returns
    -------
    Tensor
        As a model takes them, ``(count, L, inputs)`` or tokens ``(count, L)``.  Of sequences of
        several lengths the longest quarter is drawn from, and all are cut to the shortest drawn:
        what comes after an end would count as data.
    """
    if not 1 <= count <= len(data):
        raise InvalidArgumentError(
            f"{count} calibration sequences; required: from 1 to {len(data)}, as many as the data "
            "hold"
        )
    order = _shuffled(data, seed)
    if data.lengths is not None:
        longest = data.lengths.argsort(descending=True, stable=True)[: max(count, len(data) // 4)]
        order = order[torch.isin(order, longest)]
    batch = data[order[:count]].batch()
    if batch.lengths is None:
        return batch.inputs
    shortest = int(batch.lengths.min())
    return batch.inputs.narrow(batch.lengths.ndim, 0, shortest).contiguous()


def held_out_images(
    data: ImageSequences, seed: int, *, calibration: ImageSequences | None = None, samples: int = 0
) -> ImageSequences:
    """Draw labelled images at random that are none of those calibrated on.

    Parameters
    ----------
    data
        Training images.
    seed
        Determines the choice, and that of the calibration sequences.
    calibration, samples
        What :func:`calibration_sequences` draws from, and how many; none if there are none.

    Returns
    -------
    ImageSequences
        2,000, or as many as there are; no image equals one of the calibration sequences, from
        whichever source they are.
    """
    seen: set[bytes] = set()
    if calibration is not None:
        drawn = calibration.images[_shuffled(calibration, seed)[:samples]]
        seen = {image.numpy().tobytes() for image in drawn}
    order = _shuffled(data, seed)
    fresh = [place for place in order.tolist() if data.images[place].numpy().tobytes() not in seen][
        :HELD_OUT_SAMPLES
    ]
    if not fresh:
        raise InvalidArgumentError(
            f"no image of {len(data):,} is left beside {samples} calibration sequences; required: "
            "some to measure the accuracy on; calibrate on fewer samples"
        )
    return data[torch.tensor(fresh)]


def _shuffled(data: LabelledSequences, seed: int) -> Tensor:
    return torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
