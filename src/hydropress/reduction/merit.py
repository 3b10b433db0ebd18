"""What a descent must lower: the squared relative error, and a price on the energy of modes."""

import torch
from torch import Tensor

from hydropress.reduction.iterate import Iterate
from hydropress.reduction.objective import Evaluation, Objective
from hydropress.systems.moments import Time, exponential_moments

CANCELLATION_LIMIT = 1e6
"""Modes of more than this multiple of the system's energy are refused.  Such modes only cancel each
other; the error, a difference of their energies, keeps ten digits at this limit."""


def unit_energies(
    iterate: Iterate, energy: Tensor, time: Time, horizon: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return the energy of each mode for |ρ| = 1 over ‖k‖², and its d log / d log decay.

    A pair's energy is averaged over the phase of its oscillation.

    Parameters
    ----------
    energy
        ‖k‖², shape ``(K,)``.

    Returns
    -------
    energies, slopes
        Shape ``(K, m)`` each.
    """
    decay = iterate.log_decay.exp()
    doubled = torch.complex(-2 * decay, torch.zeros_like(decay))
    zeroth, first = (
        phi.real for phi in exponential_moments(doubled, 2, time=time, horizon=horizon)
    )
    # ‖ρ a^t‖² = ρ² φ_0 for a real pole; ‖2 Re(ρ a^t)‖² averages to 2 |ρ|² φ_0 for a pair.
    return iterate.states * zeroth / energy[:, None], -2 * decay * first / zeroth


def mode_energies(
    iterate: Iterate, energy: Tensor, time: Time, horizon: float | None = None
) -> Tensor:
    """Return the energy of each mode over ‖k‖², shape ``(K, m)``; see :func:`unit_energies`."""
    squares = iterate.residues.real**2 + iterate.residues.imag**2
    if horizon is not None:
        return squares * unit_energies(iterate, energy, time, horizon)[0]
    doubled = 2 * iterate.log_decay.exp()
    inverse = -torch.expm1(-doubled) if time == "discrete" else doubled
    return squares * iterate.states / (inverse * energy[:, None])


def merit_of(
    objective: Objective, iterate: Iterate, evaluation: Evaluation, penalty: float, time: Time
) -> Tensor:
    """Return error plus penalty times Σ mode energies, infinite for modes that are too strong."""
    energies = mode_energies(iterate, objective.energy, time, objective.horizon)
    merit = evaluation.error
    if penalty > 0:
        merit = merit + penalty * energies.sum(-1)
    sound = torch.isfinite(merit) & (energies.amax(-1) <= CANCELLATION_LIMIT)
    return torch.where(sound, merit, torch.inf)
