r"""The scalar functions behind every inner product of two modal systems.

    φ_j(w) = Σ_{t≥0} t^j e^{wt}     (discrete time; the sum stops at L - 1 on a finite horizon)
    φ_j(w) = ∫_0^∞ t^j e^{wt} dt    (continuous time; the integral stops at T on a finite horizon)

All are written with ``expm1`` of the exponent, so that they stay accurate for poles close to the
stability boundary.
"""

import math
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Time = Literal["discrete", "continuous"]

_SERIES_TERMS = 26
"""Enough for |w| L ≤ 1: the first term left out is below 1/26!."""


def wrap_phase(exponents: Tensor) -> Tensor:
    """Move the imaginary part to [-π, π], where e^w = 1 only at w = 0."""
    turns = torch.round(exponents.imag / (2 * math.pi))
    return torch.complex(exponents.real, exponents.imag - 2 * math.pi * turns)


@lru_cache(maxsize=16)
def _power_means(time: Time, horizon: float) -> tuple[float, ...]:
    """Return Σ_t (t/L)^p, or ∫ (t/T)^p dt, for p from 0."""
    powers = range(_SERIES_TERMS + 3)
    if time == "continuous":
        return tuple(horizon / (power + 1) for power in powers)
    share = torch.arange(int(horizon), dtype=torch.float64) / horizon
    return tuple(float((share**power).sum()) for power in powers)


def _infinite_moments(w: Tensor, count: int, time: Time) -> list[Tensor]:
    if time == "continuous":
        inverse = -1 / w
        moments = [inverse, inverse * inverse, 2 * inverse**3]
    else:
        zeroth = -torch.expm1(w).reciprocal()
        if count == 1:
            return [zeroth]
        growth = torch.exp(w)
        first = growth * zeroth * zeroth
        moments = [zeroth, first, first * (1 + growth) * zeroth]
    return moments[:count]


def _series_moments(w: Tensor, count: int, time: Time, horizon: float) -> list[Tensor]:
    """Sum the Taylor series of φ_j around w = 0, for |w| times the horizon at most one."""
    means = _power_means(time, horizon)
    scaled = w * horizon
    moments: list[Tensor] = []
    for j in range(count):
        total = torch.zeros_like(w)
        for k in reversed(range(_SERIES_TERMS)):
            total = total * scaled + means[j + k] / math.factorial(k)
        moments.append(total * horizon**j)
    return moments


def exponential_moments(
    w: Tensor, count: int, *, time: Time, horizon: float | None = None
) -> list[Tensor]:
    """Return φ_0, …, φ_{count-1} at the sum ``w`` of two exponents.

    Parameters
    ----------
    w
        Complex, any shape; Re w < 0 unless a horizon is given.
    count
        1, 2 or 3.
    time
        ``discrete`` or ``continuous``.
    horizon
        L samples or T time units; ``None`` for infinite.

    Returns
    -------
    list of Tensor
        ``count`` tensors of the shape of ``w``.

    Notes
    -----
    On a finite horizon the tail φ_j(w; from L on) is subtracted, and for |w| L < 1, where that
    would cancel, the Taylor series around 0 is summed: w = 0 is legal.
    """
    if time == "discrete":
        w = wrap_phase(w)
    if horizon is None:
        return _infinite_moments(w, count, time)
    near = w.abs() * horizon < 1
    infinite = _infinite_moments(torch.where(near, torch.full_like(w, -1.0), w), count, time)
    decay = torch.exp(w * horizon)
    tails = [decay * infinite[0]]
    if count > 1:
        tails.append(decay * (infinite[1] + horizon * infinite[0]))
    if count > 2:
        tails.append(decay * (infinite[2] + 2 * horizon * infinite[1] + horizon**2 * infinite[0]))
    moments = [total - tail for total, tail in zip(infinite, tails, strict=True)]
    if not bool(near.any()):
        return moments
    series = _series_moments(torch.where(near, w, torch.zeros_like(w)), count, time, horizon)
    return [torch.where(near, s, m) for s, m in zip(series, moments, strict=True)]
