"""Modal truncation: keep the dominant modes with their residues."""

import torch

from hydropress.reduction.problem import Problem
from hydropress.reduction.result import Outcome
from hydropress.systems.modal import SISOSystem
from hydropress.systems.moments import exponential_moments


def dominant_modes(system: SISOSystem, order: int, horizon: float | None = None) -> SISOSystem:
    """Keep the modes of largest energy as long as they fit into the order.

    Parameters
    ----------
    system
        Bank of batch shape ``(K,)``.
    order
        Number of real states to keep at most.

    Returns
    -------
    SISOSystem
        Poles, residues and D unchanged.

    References
    ----------
    [antoulas2005], section 9.2.
    """
    doubled = torch.complex(2 * system.exponents.real, torch.zeros_like(system.exponents.real))
    (growth,) = exponential_moments(doubled, 1, time=system.time, horizon=horizon)
    energies = system.states * system.residues.abs() ** 2 * growth.real
    ranking = energies.argsort(-1, descending=True)
    states = system.states.gather(-1, ranking)
    kept = torch.zeros_like(states, dtype=torch.bool)
    room = torch.full_like(system.order, order)
    for place in range(states.shape[-1]):
        kept[:, place] = (states[:, place] > 0) & (states[:, place] <= room)
        room = room - states[:, place] * kept[:, place]
    first = torch.argsort((~kept).long(), dim=-1, stable=True)[:, : max(1, int(kept.sum(-1).max()))]
    chosen = ranking.gather(-1, first)
    keep = kept.gather(-1, first)
    residues = system.residues.gather(-1, chosen)
    return SISOSystem(
        system.exponents.gather(-1, chosen),
        torch.where(keep, residues, torch.zeros_like(residues)),
        torch.where(keep, system.states.gather(-1, chosen), 0),
        system.D,
        system.time,
    )


def modal_method(problem: Problem[SISOSystem]) -> list[Outcome[SISOSystem]]:
    """Run :func:`dominant_modes` at every order."""
    return [
        Outcome.direct(dominant_modes(problem.full, order, problem.horizon))
        for order in problem.orders
    ]
