r"""All models of order two at once: what the best of them leaves, proven by branch and bound.

In continuous time a model of order two is its denominator s² + 2ζωs + ω² and, on top of it, what is
best: the projection of k on a plane.  With u = log ω and v = log ζ the principal angles of two such
planes are

    cos θ = 1 / cosh((b ± d) / 2),   d = |Δu|,   cosh b = cosh Δv + (sinh² d) / (2 ζ ζ'),

whether the poles are a pair (ζ < 1), equal, or two real ones (ζ > 1): of the basis of Kautz, the
products ⟨ψ_i, ψ'_j⟩ are rational in ω, ω', ζ and ζ', and so are det = cos θ_1 cos θ_2 and the sum
of their squares, cos² θ_1 + cos² θ_2.  A system at an angle φ to a plane is at an angle of φ - θ at
least to a plane that is θ away, θ the larger one.  Over a box around a centre, θ is largest in a
corner of smallest v: cosh b is convex in v', and both terms grow with d.

The half plane of all models is covered by boxes, coarse ones first.  Those that hold no angle below
the best one found, less some slack, are left out, the others halved, until none is left: then the
smallest angle is known to within the slack, and no local optimum can hide.  Where poles are so slow
or so fast that little of k is left for them, or ζ so small, sums of absolute values do instead of
angles.  All this is exact up to rounding, which the slack exceeds by far.

Discrete time is mapped on continuous time by s = (a - 1) / (a + 1), an isometry of H².

References
----------
[bjorck1973] for principal angles, [kautz1954] for the basis, [land1960] for branch and bound.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hydropress.reduction.compiled.order_two import bound_all
from hydropress.systems.modal import SISOSystem
from hydropress.systems.moments import Time

MOST_BOXES = 300_000
"""Looked at for one system: 30 ms.  What is left then still counts in the bound."""
ROUNDING = 1e-7
"""Radians: an angle near zero is what a cosine near one says."""
FASTEST = 30.0
"""Largest decay per sample: the pole is e^{-30}."""


@dataclass(frozen=True)
class OrderTwo:
    """What is known of the best models of order two of K systems.

    Attributes
    ----------
    bound
        No model of order two or less has a smaller relative error, float64, ``(K,)``.
    error
        Relative error of the best model seen, ``(K,)``.
    exponents, states
        Its modes, complex128 and int64, ``(K, 2)``; the second slot of a pair is empty.
    """

    bound: Tensor
    error: Tensor
    exponents: Tensor
    states: Tensor


def search_order_two(full: SISOSystem, energy: Tensor, slack: float) -> OrderTwo:
    """Search all models of order two, infinite horizon, D given.

    Parameters
    ----------
    full
        Stable bank of batch shape ``(K,)``.
    energy
        ‖k‖², one where that is zero, float64, ``(K,)``.
    slack
        Share of the angle (for small errors, of the error) that the proof leaves open.
    """
    weights = full.residues * full.states
    modes = full.exponents
    if full.time == "discrete":
        weights = weights * math.sqrt(2) / (1 + torch.exp(modes))
        modes = torch.tanh(modes / 2)
    results = np.empty((len(energy), 4))
    bound_all(
        modes.cpu().contiguous().numpy(),
        weights.cpu().contiguous().numpy(),
        energy.cpu().contiguous().numpy(),
        slack,
        ROUNDING,
        MOST_BOXES,
        results,
    )
    bound, angle, u, v = torch.from_numpy(results).to(energy.device).unbind(1)
    return OrderTwo(bound.sin(), angle.sin(), *_modes_of(u, v, full.time))


def _modes_of(u: Tensor, v: Tensor, time: Time) -> tuple[Tensor, Tensor]:
    """Return exponents and states of models, ``(K, 2)``, from their coordinates ``(K,)``."""
    half = torch.acosh(v.clamp_min(0).exp())
    sine, zero = torch.sqrt(-torch.expm1(2 * v.clamp_max(0))), torch.zeros_like(u)
    rates = torch.exp(torch.stack([u + half, u - half], 1))
    if time == "continuous":
        pair = torch.complex(-torch.exp(u + v), u.exp() * sine)
        reals = torch.complex(-rates, torch.zeros_like(rates))
    else:
        decay = torch.atanh(v.exp() / torch.cosh(u)).clamp_max(FASTEST)
        pair = torch.complex(-decay, torch.atan2(u.exp() * sine, -torch.expm1(2 * u) / 2))
        decays = 2 * torch.atanh(torch.minimum(rates, 1 / rates)).clamp_max(FASTEST / 2)
        reals = torch.complex(-decays, torch.where(rates > 1, math.pi, 0.0).to(decays))
    is_pair = (v < 0)[:, None]
    idle = torch.complex(zero - 1, zero)
    states = torch.where(is_pair, torch.tensor([2, 0], device=u.device), 1)
    return torch.where(is_pair, torch.stack([pair, idle], 1), reals), states
