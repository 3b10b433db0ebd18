r"""What no system of a given order can do better than."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from hydropress.systems.gramians import EXACT_INPUTS, hankel_singular_values
from hydropress.systems.modal import MIMOSystem, ModalSystem

DAMPINGS = (0.1, 0.3, 1.0, 3.0)
"""γ tried, in multiples of each system's median decay; the largest bound counts."""


def lower_bound(system: ModalSystem, order: int) -> Tensor:
    r"""Return a lower bound on ‖k - k_r‖ over all systems k_r of an order, infinite horizon.

    For every γ > 0 and every k_r of order r,

        ‖k - k_r‖² ≥ Σ_{i>r} σ_i(γ)² / max_t w(t),     w(t) = (t + 1) e^{-2γt},  or t e^{-2γt},

    with σ_i(γ) the Hankel singular values of the damped system k(t) e^{-γt}.

    Proof.  Let e = k - k_r and let H, H_r be the Hankel operators of the damped systems, with
    entries k[i + j] e^{-γ(i+j)} (matrices, for several inputs and outputs).  H_r has rank r at
    most, since damping moves poles and adds none, so ‖H - H_r‖_F² ≥ Σ_{i>r} σ_i(γ)² (Eckart, Young,
    Mirsky).  The sample e[t] e^{-γt} stands on the t + 1 places of an antidiagonal, so
    ‖H - H_r‖_F² = Σ_t (t + 1) e^{-2γt} ‖e[t]‖² ≤ max_t w(t) · ‖e‖².  In continuous time the
    antidiagonal has length t.  ∎

    Parameters
    ----------
    system
        Stable, of any batch shape ``(...)``.
    order
        r.

    Returns
    -------
    Tensor
        float64, shape ``(...)``; the best over a few γ.
    """
    # The median of the decays of the entries in use.
    decay = torch.where(system.states > 0, -system.exponents.real, torch.nan)
    middle = decay.nanmedian(-1).values.nan_to_num(1.0)
    bounds: list[Tensor] = []
    for multiple in DAMPINGS:
        gamma = multiple * middle
        damped = system.exponents - gamma[..., None]
        values = hankel_singular_values(_with_exponents(system, damped))
        certain = values - _rounding(system) * values[..., :1]
        tail = certain[..., order:].clamp_min(0).square().sum(-1)
        bounds.append((tail / _largest_weight(gamma, system.time)).sqrt())
    return torch.stack(bounds).amax(0)


def _with_exponents(system: ModalSystem, exponents: Tensor) -> ModalSystem:
    return replace(system, exponents=exponents)  # type: ignore[type-var]


def _rounding(system: ModalSystem) -> float:
    """Return which share of the largest Hankel singular value may be rounding in any."""
    if isinstance(system, MIMOSystem) and max(system.D.shape[-2:]) > EXACT_INPUTS:
        return 1e-7
    return 1e-12


def _largest_weight(gamma: Tensor, time: str) -> Tensor:
    """Return max over t of (t + 1) e^{-2γt}, t = 0, 1, …, or of t e^{-2γt}, t ≥ 0."""
    if time == "continuous":
        return 1 / (2 * math.e * gamma)
    # (t + 1) e^{-2γt} peaks at t = 1/(2γ) - 1: over the reals is at least over the integers.
    peak = (1 / (2 * gamma) - 1).clamp_min(0)
    return (peak + 1) * torch.exp(-2 * gamma * peak)
