"""From a continuous-time mode to its discrete-time exponent and input gain.

Discrete-time poles are kept as exponents s = log a throughout the package: layers trained on
long sequences have |1 - a| of 5e-4 and less, which 1 - a itself cannot represent well.
"""

import torch
from torch import Tensor


def _expm1_ratio(z: Tensor) -> Tensor:
    """Return (e^z - 1) / z with its limit 1 at z = 0."""
    tiny = z.abs() < 1e-12
    safe = torch.where(tiny, torch.ones_like(z), z)
    return torch.where(tiny, 1 + z / 2, torch.expm1(safe) / safe)


def discretize_zoh(poles: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Discretise x' = λx + u with the input held constant over each step.

    Parameters
    ----------
    poles
        Continuous-time poles λ in 1 / time unit, shape ``(..., N)``, complex or real.
    step
        Step size Δ in time units per sample, broadcastable to ``poles``.

    Returns
    -------
    exponents
        log of the discrete poles, λΔ, shape ``(..., N)``.
    gain
        Input gain (e^{λΔ} - 1) / λ, with its limit Δ at λ = 0, shape ``(..., N)``.
    """
    exponents = poles * step
    return exponents, step * _expm1_ratio(exponents)


def discretize_bilinear(poles: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Discretise x' = λx + u by the bilinear (Tustin) rule.

    Parameters
    ----------
    poles, step
        As in :func:`discretize_zoh`.

    Returns
    -------
    exponents
        log((1 + λΔ/2) / (1 - λΔ/2)), shape ``(..., N)``; of real poles, λΔ > -2 only.
    gain
        Input gain Δ / (1 - λΔ/2), shape ``(..., N)``.
    """
    half = poles * step / 2
    # A difference of two logarithms would lose the digits of a small decay.
    return 2 * torch.atanh(half), step / (1 - half)
