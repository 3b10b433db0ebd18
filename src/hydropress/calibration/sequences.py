"""Calibration data, as they are given."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hydropress.errors import InvalidArgumentError

Calibration = Tensor | NDArray[Any]
"""Sequences as a model takes them, one after the other along the first axis."""

MINIMUM_CALIBRATION = 8
LONG = 4096
"""Numbers in a sequence beyond which fewer sequences pass through a model together."""


def in_batches(sequences: Tensor, most: int) -> tuple[Tensor, ...]:
    """Split sequences into batches of so many, or of fewer if they are long: at least one each."""
    numbers = sequences[0].numel()
    return sequences.split(max(1, min(most, most * LONG // max(1, numbers))))


def as_sequences(calibration: Any, dtype: torch.dtype) -> Tensor:
    """Return calibration data as a tensor.

    Parameters
    ----------
    calibration
        Tensor or NumPy array.
    dtype
        Of the model, to which floating-point numbers are brought.

    Raises
    ------
    InvalidArgumentError
        If it is of another kind or shape, too little, or not finite.
    """
    if isinstance(calibration, np.ndarray) and calibration.dtype.kind in "fiu":
        values = torch.from_numpy(np.require(calibration, requirements=["C", "W"]))
        calibration = values if values.is_floating_point() else values.long()
    if not isinstance(calibration, Tensor):
        what = type(calibration).__name__
        if isinstance(calibration, np.ndarray):
            what = f"array of {calibration.dtype}"
        raise InvalidArgumentError(
            f"calibration of type {what}; required: one tensor or NumPy array of sequences, "
            "without labels; put them together with torch.stack or torch.cat"
        )
    if calibration.is_complex():
        raise InvalidArgumentError(
            f"calibration of {calibration.dtype}, complex; required: real samples or integer "
            "tokens, as the model takes them"
        )
    axes = (3, 4) if calibration.is_floating_point() else (2, 3)
    shape = tuple(calibration.shape)
    if len(shape) not in axes or shape[0] < MINIMUM_CALIBRATION or 0 in shape:
        raise InvalidArgumentError(
            f"calibration of shape {shape}; required: (n, length, inputs), or tokens (n, length), "
            f"of pairs (n, 2, length, inputs) or (n, 2, length), with n at least "
            f"{MINIMUM_CALIBRATION}; a few dozen sequences suffice"
        )
    if not bool(torch.isfinite(calibration).all()):
        raise InvalidArgumentError("calibration contains NaN or infinity; required: finite data")
    return calibration.to(dtype) if calibration.is_floating_point() else calibration
