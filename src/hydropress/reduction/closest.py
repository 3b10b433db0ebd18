"""The last choice: between what a search found, BT and IRKA, by errors in which nothing cancels.

The error that a search lowers is a difference of energies: of a squared relative error below 10⁻⁶
fewer than ten digits are left, and the search ends as far from the optimum as these can tell.
IRKA compares no errors: its fixed points are right to more digits.
"""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.reduction.balancing import Balancing
from hydropress.reduction.irka import has_fixed_point, irka_solutions
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.merit import mode_energies
from hydropress.reduction.metric import relative_error, response_error
from hydropress.reduction.problem import Problem
from hydropress.systems.assembly import where
from hydropress.systems.modal import SISOSystem

SMALL = 1e-6
"""Squared relative error of which the closed form may have lost more than nine digits."""


def closest(
    problem: Problem[SISOSystem], found: SISOSystem, rivals: list[SISOSystem]
) -> SISOSystem:
    """Return what was found, or in its place the best of the rivals that is better.

    Best is the least squared relative error in the problem's metric plus the price of energy, if
    there is one.  Rivals with a mode that decays less, or has more energy, than the descent's
    settings, the full system's own modes and the first rival's allow do not take part.

    Parameters
    ----------
    found
        Bank of batch shape ``(K,)``.
    rivals
        Banks of the same batch shape, BT's the first.

    Returns
    -------
    SISOSystem
        Batch shape ``(K,)``.
    """
    if not rivals:
        return found
    best, least = found, _merit(problem, found)
    limit = torch.maximum(
        _energies(problem, problem.full).amax(1), _energies(problem, rivals[0]).amax(1)
    ).clamp_min(problem.descent.mode_energy_limit)
    for rival in rivals:
        decay = torch.where(rival.states > 0, rival.decay, torch.inf).amin(1)
        allowed = _energies(problem, rival).amax(1) <= limit * (1 + 1e-12)
        allowed &= decay >= problem.descent.decay_floor * (1 - 1e-12)
        merit = _merit(problem, rival)
        better = allowed & (merit < least)
        if bool(better.any()):
            best, least = where(better, rival, best), torch.where(better, merit, least)
    return best


def _energies(problem: Problem[SISOSystem], system: SISOSystem) -> Tensor:
    iterate = Iterate.from_system(system)
    return mode_energies(iterate, problem.energy, system.time, problem.horizon)


def _merit(problem: Problem[SISOSystem], system: SISOSystem) -> Tensor:
    difference = response_error(problem.full, system, problem.horizon)
    price = problem.descent.energy_penalty * _energies(problem, system).sum(1)
    return relative_error(problem, system, difference) ** 2 + price


def closest_of_small_errors(
    problem: Problem[SISOSystem], found: SISOSystem, squared_error: Tensor, order: int
) -> SISOSystem:
    """Return the systems; where the error is small, the best of them, BT's and IRKA's from both.

    A system that is not minimal is reduced exactly by BT.

    Parameters
    ----------
    squared_error
        Of what was found, relative, shape ``(K,)``.
    """
    index = torch.nonzero(squared_error < SMALL)[:, 0]
    if len(index) == 0 or problem.weight is not None or problem.fits_feedthrough:
        return found
    part = replace(problem, full=problem.full[index])
    rivals = [Balancing.of(part.full, part.horizon).truncate(order)]
    if has_fixed_point(part.full, part.horizon):
        starts = [rivals[0], found[index]]
        rivals += [
            irka_solutions(part.full, order, start, horizon=part.horizon)[0] for start in starts
        ]
    best = closest(part, found[index], rivals)
    spread = torch.zeros(len(squared_error), dtype=torch.int64, device=index.device)
    spread[index] = torch.arange(len(index), device=index.device)
    chosen = torch.zeros(len(squared_error), dtype=torch.bool, device=index.device)
    chosen[index] = True
    return where(chosen, best[spread], found)
