"""Where a command's data come from: the slice in the package, or original files of a task."""

import re
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor

from hydropress.data.fashion_mnist import load_full, load_slice
from hydropress.data.sequences import LabelledSequences
from hydropress.data.tasks import TASKS, Source, default_cache
from hydropress.errors import DataNotFoundError, InvalidArgumentError

D = TypeVar("D", bound=LabelledSequences)

SLICE = "slice"
_TASK = re.compile(rf"({'|'.join(map(re.escape, TASKS))})(?:@([^:]*))?(?::(.*))?", re.DOTALL)
"""A task, its length after '@', its folder after ':'; the name of a task may hold a ':' too."""
HELD_OUT_SAMPLES = 2000
"""How many training sequences to measure a drop of the accuracy on, if there are so many."""
CALIBRATION_SAMPLES = 256
"""How many sequences to calibrate on unless asked otherwise; a few dozen suffice."""


def open_data(source: str | Path, split: Literal["train", "test"]) -> LabelledSequences:
    """Read labelled sequences.

    Parameters
    ----------
    source
        ``slice`` for the images shipped with the package; the folder of the four original
        Fashion-MNIST files; or a task of :data:`~hydropress.data.tasks.TASKS` and, where it needs
        them, its greatest length and its folder: ``listops``, ``text@2048:aclImdb``,
        ``ucr:JapaneseVowels``.
    split
        ``train`` or ``test``.

    Raises
    ------
    DataNotFoundError
        If there is no such folder or a file is missing.
    InvalidArgumentError
        If the length is not a positive whole number.
    """
    if str(source) == SLICE:
        return load_slice(split)
    named = _TASK.fullmatch(str(source))
    if named is not None and not Path(source).is_dir():
        name, length, rest = named.groups()
        if length and (not length.isdecimal() or int(length) < 1):
            raise InvalidArgumentError(
                f"data {str(source)!r}; required: a whole number from 1 up after '@'; correct it"
            )
        place = Source(Path(rest) if rest else None, int(length or 0) or None, default_cache())
        return TASKS[name].load(split, place)
    folder = Path(source)
    if not folder.is_dir():
        raise DataNotFoundError(
            f"data {str(source)!r}; required: {SLICE!r}, a folder of the four original "
            "Fashion-MNIST files, or a task and its folder, TASK:FOLDER, of the tasks "
            f"{', '.join(TASKS)}; check the path"
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
    batch = data[_drawn(data, count, seed)].batch()
    if batch.lengths is None:
        return batch.inputs
    shortest = int(batch.lengths.min())
    return batch.inputs.narrow(batch.lengths.ndim, 0, shortest).contiguous()


def held_out_sequences(
    data: D, seed: int, *, calibration: LabelledSequences | None = None, samples: int = 0
) -> D:
    """Draw labelled sequences at random that are none of those calibrated on.

    Parameters
    ----------
    data
        Training sequences.
    seed
        Determines the choice, and that of the calibration sequences.
    calibration, samples
        What :func:`calibration_sequences` draws from, and how many; none if there are none.

    Returns
    -------
    LabelledSequences
        2,000, or as many as there are; none equals one of the calibration sequences, from
        whichever source they are.
    """
    seen: set[bytes] = set()
    if calibration is not None:
        drawn = _drawn(calibration, samples, seed).tolist()
        seen = {_content(calibration, place) for place in drawn}
    order = _shuffled(data, seed).tolist()
    unseen = (place for place in order if _content(data, place) not in seen)
    fresh = list(islice(unseen, HELD_OUT_SAMPLES))
    if not fresh:
        raise InvalidArgumentError(
            f"no sequence of {len(data):,} is left beside {samples} calibration sequences; "
            "required: some to measure the accuracy on; calibrate on fewer samples"
        )
    return data[torch.tensor(fresh)]


def _content(data: LabelledSequences, place: int) -> bytes:
    """Return a sequence, without padding."""
    return data[place : place + 1].batch().inputs.numpy().tobytes()


def _drawn(data: LabelledSequences, count: int, seed: int) -> Tensor:
    """Return which sequences to calibrate on."""
    order = _shuffled(data, seed)
    if data.lengths is not None:
        longest = data.lengths.argsort(descending=True, stable=True)[: max(count, len(data) // 4)]
        order = order[torch.isin(order, longest)]
    return order[:count]


def _shuffled(data: LabelledSequences, seed: int) -> Tensor:
    return torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
