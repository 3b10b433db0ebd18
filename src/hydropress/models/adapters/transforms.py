"""How positive numbers are kept as parameters that may have any value."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from hydropress.errors import InvalidArgumentError

Transform = Literal["none", "exp", "relu", "sigmoid", "softplus"]

RELU_FLOOR = 1e-4
"""Added to the rectified parameter in the S4 repository."""
SMALLEST = 1e-30
"""What stands for zero where a transform never reaches it."""


def positive(transform: str, parameter: Tensor) -> Tensor:
    """Return the number that a parameter stands for."""
    match transform:
        case "none":
            return parameter
        case "exp":
            return torch.exp(parameter)
        case "relu":
            return functional.relu(parameter) + RELU_FLOOR
        case "sigmoid":
            return torch.sigmoid(parameter)
        case "softplus":
            return functional.softplus(parameter)
        case _:
            raise InvalidArgumentError(
                f"transform {transform!r}; required: one of {', '.join(get_args(Transform))}; give "
                "the layer's own setting"
            )


def parameter_of(transform: str, number: Tensor, what: str) -> Tensor:
    """Return the parameter that stands for a number of at least 0.

    Parameters
    ----------
    what
        Whose numbers they are, for the message.

    Raises
    ------
    InvalidArgumentError
        If the transform does not reach it.
    """
    match transform:
        case "none":
            return number
        case "exp":
            return torch.log(number.clamp_min(SMALLEST))
        case "relu":
            _require(bool((number >= RELU_FLOOR).all()), transform, what, f"at least {RELU_FLOOR}")
            return number - RELU_FLOOR
        case "sigmoid":
            _require(bool((number < 1).all()), transform, what, "below 1")
            small = number.clamp_min(SMALLEST)
            return torch.log(small) - torch.log1p(-small)
        case "softplus":
            small = number.clamp_min(SMALLEST)
            return small + torch.log(-torch.expm1(-small))
        case _:
            raise InvalidArgumentError(
                f"transform {transform!r}; required: one of {', '.join(get_args(Transform))}; give "
                "the layer's own setting"
            )


def _require(holds: bool, transform: str, what: str, range_: str) -> None:
    if not holds:
        raise InvalidArgumentError(
            f"{what} that the layer's transform {transform!r} cannot express; required: numbers "
            f"{range_}; replace the layer's module instead, or reduce to another order"
        )
