"""Time series of the UCR and UEA archives: those that come with the library ``aeon``.

``aeon`` is imported where it is used.  Its bounds on the versions of other libraries, Numba's for
one, may not be ours: give it an environment of its own if they disagree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hydropress.data.sequences import SampledSequences
from hydropress.errors import (
    FileFormatError,
    InvalidArgumentError,
    MissingLibraryError,
    UnknownNameError,
)


@dataclass(frozen=True)
class Problem:
    """A classification problem of the archives.

    Attributes
    ----------
    loader
        Who loads it in ``aeon.datasets``.
    num_classes, num_channels
        Of its series.
    """

    loader: str
    num_classes: int
    num_channels: int = 1


SERIES = {
    "ACSF1": Problem("load_acsf1", 10),
    "ArrowHead": Problem("load_arrow_head", 3),
    "BasicMotions": Problem("load_basic_motions", 4, 6),
    "GunPoint": Problem("load_gunpoint", 2),
    "ItalyPowerDemand": Problem("load_italy_power_demand", 2),
    "JapaneseVowels": Problem("load_japanese_vowels", 9, 12),
    "OSULeaf": Problem("load_osuleaf", 6),
    "PickupGestureWiimoteZ": Problem("load_pickup_gesture_wiimoteZ", 10),
    "UnitTest": Problem("load_unit_test", 2),
}
"""The problems that come with ``aeon``, by their names in the archive."""

Series = list[NDArray[np.float64]]


def load_series(name: str, split: str) -> SampledSequences:
    """Read the series of one problem, every channel standardised.

    Parameters
    ----------
    name
        One of :data:`SERIES`, as the archive spells it.
    split
        ``train`` or ``test``, as the archive has them.

    Returns
    -------
    SampledSequences
        Mean and deviation of each channel are those of all training samples; a constant channel
        becomes 0.  Classes are numbered in the sorted order of their names in the training split.
        Shorter series end in zeros, and have their lengths given.

    Raises
    ------
    UnknownNameError
        If there is no such problem; the message lists those there are.
    MissingLibraryError
        If ``aeon`` is not installed, or is too old or too new for this problem.
    FileFormatError
        If series and labels do not fit together, values are missing, or a class of the test split
        is not in the training split.
    """
    if name not in SERIES:
        raise UnknownNameError(f"series {name!r}; required: one of {', '.join(SERIES)}")
    if split not in ("train", "test"):
        raise InvalidArgumentError(f"split {split!r}; required: train or test; choose one of them")
    loader = _loader(name)
    train, train_labels = _load(loader, name, "train")
    mean, deviation = _statistics(train)
    series, labels = (
        (train, train_labels) if split == "train" else _load(loader, name, "test", len(mean))
    )
    classes = np.unique(train_labels)
    unknown = sorted(set(labels.tolist()) - set(classes.tolist()))
    if unknown:
        raise FileFormatError(
            f"{name}: classes {unknown} in the test split only; required: those of the training "
            "split; load the problem afresh"
        )
    lengths = torch.tensor([one.shape[1] for one in series])
    samples = torch.zeros(len(series), int(lengths.max()), len(mean))
    for place, one in enumerate(series):
        standardised = (one - mean) / deviation
        samples[place, : one.shape[1]] = torch.from_numpy(standardised.T.astype(np.float32))
    return SampledSequences(
        samples,
        None if bool((lengths == lengths[0]).all()) else lengths,
        torch.from_numpy(np.searchsorted(classes, labels).astype(np.int64)),
    )


def _loader(name: str) -> Callable[..., Any]:
    remedy = "run 'pip install hydropress[ucr]'"
    loader = SERIES[name].loader
    try:
        return getattr(import_module("aeon.datasets"), loader)
    except ImportError as error:
        raise MissingLibraryError(
            f"aeon is not installed ({error}); required for series of the UCR archive; {remedy}"
        ) from error
    except AttributeError as error:
        raise MissingLibraryError(
            f"this version of aeon has no {loader}; required for {name!r}: versions 1.3 to "
            f"1.6 have it; {remedy}, or choose another problem"
        ) from error


def _load(
    loader: Callable[..., Any], name: str, split: str, channels: int | None = None
) -> tuple[Series, NDArray[Any]]:
    """Return series of shape ``(channels, length)`` each, and their classes."""
    loaded: tuple[Sequence[Any], Any] = loader(split=split)
    series: Series = [np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in loaded[0]]
    labels = np.asarray(loaded[1])
    if len(series) == 0 or labels.shape != (len(series),):
        raise FileFormatError(
            f"{name}, {split}: {len(series)} series with labels of shape {labels.shape}; required: "
            "one label for each of one or more series; load the problem afresh"
        )
    expected = len(series[0]) if channels is None else channels
    for number, one in enumerate(series):
        if one.ndim != 2 or len(one) != expected or one.shape[1] == 0:
            raise FileFormatError(
                f"{name}, {split}: series {number} has shape {one.shape}; required: "
                f"({expected} channels, length); load the problem afresh"
            )
        if not np.isfinite(one).all():
            raise FileFormatError(
                f"{name}, {split}: series {number} lacks values; required: finite numbers; fill "
                "them in, or choose another problem"
            )
    return series, labels


def _statistics(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation of each channel over all samples, ``(channels, 1)``."""
    samples = np.concatenate(series, axis=1)
    constant = np.ptp(samples, axis=1, keepdims=True) == 0
    return samples.mean(1, keepdims=True), np.where(constant, 1, samples.std(1, keepdims=True))
