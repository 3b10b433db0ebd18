"""What the doors of the record check in whatever a user hands them."""

from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.moments import Time

REAL_TOLERANCE = 1e-9
"""A pole counts as real if |Im| is at most this share of its distance to the origin (discrete) or
of its modulus (continuous): well above rounding, well below any frequency of a trained SSM."""


DEADBEAT = -60.0
"""Exponent that stands for a pole at 0, which has no logarithm: e^{-60} is nothing beside 1, and
a difference of exponents is still the logarithm of a number."""


def is_real(poles: Tensor) -> Tensor:
    """Say which poles lie on the real axis, up to rounding."""
    return poles.imag.abs() <= REAL_TOLERANCE * poles.abs()


def check_time(time: Any) -> None:
    """Raise unless it is one of the two words."""
    if time not in get_args(Time):
        raise InvalidArgumentError(f"time={time!r}; required: 'discrete' or 'continuous'")


def check_delay(delay: Any, time: Time) -> None:
    """Raise unless it is 0, or 1 in discrete time."""
    if isinstance(delay, bool) or delay not in (0, 1):
        raise InvalidArgumentError(f"delay={delay!r}; required: 0 or 1")
    if delay and time == "continuous":
        raise InvalidArgumentError(
            "delay=1 in continuous time; required: 0; only samples can be one late"
        )


def finite_numbers(name: str, values: Any, device: torch.device | None = None) -> Tensor:
    """Return numbers of any kind as complex128; Python's keep all their digits."""
    if isinstance(values, np.ndarray):
        values = np.require(values, requirements="W")  # of others torch warns
    try:
        tensor = torch.as_tensor(values, dtype=torch.complex128, device=device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"{name} is a {type(values).__name__} ({error}); required: an array or tensor of "
            "numbers; convert it first"
        ) from error
    if not bool(torch.isfinite(torch.view_as_real(tensor)).all()):
        raise InvalidArgumentError(f"{name} contains NaN or infinity; required: finite numbers")
    return tensor


def finite_reals(name: str, values: Any, device: torch.device | None = None) -> Tensor:
    """Return real numbers of any kind as float64."""
    tensor = finite_numbers(name, values, device)
    if bool((tensor.imag != 0).any()):
        raise InvalidArgumentError(f"{name} is complex; required: real numbers, of a real system")
    return tensor.real


def check_poles(poles: Tensor) -> Tensor:
    """Return the poles, real ones exactly so; raise if one cannot stand for itself or its pair."""
    real = is_real(poles)
    lower = (poles.imag < 0) & ~real
    if bool(lower.any()):
        raise InvalidArgumentError(
            f"pole {poles[lower][0].item():.6g} has a negative imaginary part; required: one entry "
            "per conjugate pair, its member with Im > 0; drop the other member"
        )
    return torch.where(real, torch.complex(poles.real, torch.zeros_like(poles.real)), poles)
