r"""The scalar functions behind every inner product of two modal systems.

    φ_j(w) = Σ_{t≥0} t^j e^{wt}     (discrete time; the sum stops at L - 1 on a finite horizon)
    φ_j(w) = ∫_0^∞ t^j e^{wt} dt    (continuous time; the integral stops at T on a finite horizon)

All are written with ``expm1`` of the exponent, so that they stay accurate for poles close to the
stability boundary.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Time = Literal["discrete", "continuous"]

_SERIES_TERMS = 26
"""Enough for |w| L ≤ 1: the first term left out is below 1/26!."""


def expm1(w: Tensor) -> Tensor:
    """Return e^w - 1 of complex w, from real functions: half the cost of torch's own (measured)."""
    half = w.imag / 2
    sine, excess = torch.sin(half), torch.expm1(w.real)
    along = 2 * (excess + 1) * sine
    return torch.complex(torch.addcmul(excess, along, sine, value=-1), along * torch.cos(half))


def wrap_phase(exponents: Tensor) -> Tensor:
    """Move the imaginary part to [-π, π], where e^w = 1 only at w = 0."""
    turns = torch.round(exponents.imag / (2 * math.pi))
    return torch.complex(exponents.real, exponents.imag - 2 * math.pi * turns)


@dataclass(frozen=True)
class Exponentials:
    """Exponents with what e^{s+z} - 1 is made of, so that no pair of them costs an exponential.

    Attributes
    ----------
    exponents
        s = x + iθ, complex, shape ``(..., n)``.
    parts
        e^x - 1, and e^{x/2} cos θ/2 and e^{x/2} sin θ/2 times the fourth root of two, shape
        ``(..., 3, n)``.
    """

    exponents: Tensor
    parts: Tensor

    @staticmethod
    def of(exponents: Tensor) -> "Exponentials":
        """Work them out, one by one."""
        root = torch.view_as_real(torch.exp(exponents / 2) * 2**0.25).mT
        excess = torch.expm1(exponents.real)[..., None, :]
        return Exponentials(exponents, torch.cat([excess, root], -2))

    def select(self, index: Tensor | slice) -> "Exponentials":
        """Return those of an index into the first axis."""
        return Exponentials(self.exponents[index], self.parts[index])

    def join(self, other: "Exponentials") -> "Exponentials":
        """Append others of the same batch."""
        return Exponentials(
            torch.cat([self.exponents, other.exponents], -1),
            torch.cat([self.parts, other.parts], -1),
        )


def pair_moments(
    first: Exponentials,
    second: Exponentials,
    count: int,
    *,
    time: Time,
    horizon: float | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Return φ_j(s + z) and φ_j(s̄ + z) of every s of the first and z of the second.

    Returns
    -------
    same, mixed
        ``count`` tensors each, ``(..., n, m)``; see :func:`stacked_pair_moments`.
    """
    stacked = stacked_pair_moments(first, second, count, time=time, horizon=horizon)
    return [phi[..., 0, :].mT for phi in stacked], [phi[..., 1, :].mT for phi in stacked]


def stacked_pair_moments(
    first: Exponentials,
    second: Exponentials,
    count: int,
    *,
    time: Time,
    horizon: float | None = None,
) -> list[Tensor]:
    """Return φ_j(s + z) and φ_j(s̄ + z) of every s of the first and z of the second.

    Parameters
    ----------
    first, second
        Of shapes ``(..., n)`` and ``(..., m)``; fastest if the first is the longer one.
    count, time, horizon
        As in :func:`exponential_moments`, whose results these are, in discrete time without a
        horizon at a tenth of the cost (measured).

    Returns
    -------
    list of Tensor
        ``count`` tensors ``(..., m, 2, n)``: φ_j(s + z) and φ_j(s̄ + z) side by side.

    Notes
    -----
    With θ the sum of the phases and x that of the real parts,

        e^w - 1 = (e^x - 1) - 2 (e^{x/2} sin θ/2)² + 2i (e^{x/2} sin θ/2) (e^{x/2} cos θ/2),

    and e^{x/2} sin θ/2, e^{x/2} cos θ/2 are sums of two products.  Their rounding moves a phase by
    10⁻¹⁶, no more than that of the exponents themselves.
    """
    if time == "continuous" or horizon is not None:
        both = torch.stack([first.exponents, first.exponents.conj()], -2)
        sums = both[..., None, :, :] + second.exponents[..., :, None, None]
        return exponential_moments(sums, count, time=time, horizon=horizon)
    # 1 - e^{x+y} = -(e^x - 1) e^y - (e^y - 1).
    excess = second.parts[..., 0, :, None, None]
    less = torch.addcmul(-excess, -1 - excess, first.parts[..., None, :1, :])
    # The factor of two is in the parts.  Not by a fused product and sum, whose one rounding would
    # not be the same for s and z exchanged.
    cosine, sine = first.parts[..., None, 1:2, :], first.parts[..., None, 2:, :]
    cosine_2, sine_2 = second.parts[..., 1:, :].unbind(-2)
    along = torch.stack([sine_2, sine_2, cosine_2, cosine_2], -1)[..., None]
    across = torch.stack([cosine_2, -cosine_2, -sine_2, sine_2], -1)[..., None]
    turned = (along * cosine).add_(across * sine)
    sines, cosines = turned[..., :2, :], turned[..., 2:, :]
    # φ_0 = 1 / (1 - e^w), whose denominator has the real part 1 - e^x + sine².
    real, imaginary = torch.addcmul(less, sines, sines), sines * cosines
    square = torch.addcmul(real * real, imaginary, imaginary).reciprocal_()
    zeroth = torch.complex(real * square, imaginary * square)
    return _powers_of(zeroth, count)


def _powers_of(zeroth: Tensor, count: int) -> list[Tensor]:
    """Return φ_0, φ_1 = φ_0 (φ_0 - 1) and φ_2 = φ_1 (2 φ_0 - 1) in discrete time.

    Where e^w is tiny they lose digits, but none in units of φ_0.
    """
    if count == 1:
        return [zeroth]
    grown = zeroth - 1
    first = zeroth * grown
    return [zeroth, first, first * (grown + zeroth)][:count]


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
        zeroth = -expm1(w).reciprocal()
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
