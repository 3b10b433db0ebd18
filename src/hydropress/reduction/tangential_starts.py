"""Where the descents of a MIMO reduction start: BT, truncations, and IRKA's projections."""

import torch

from hydropress.reduction.balanced import balanced_system
from hydropress.reduction.free_feedthrough import with_best_feedthrough
from hydropress.reduction.irka import has_fixed_point, irka_solutions
from hydropress.reduction.problem import Problem
from hydropress.reduction.scores import mode_energies
from hydropress.reduction.truncation import keep_modes
from hydropress.systems.assembly import stack
from hydropress.systems.modal import MIMOSystem

PROJECTIONS = 10
"""Few projections lead from almost anywhere to some basin, often one that no descent finds."""


def starts_of(problem: Problem[MIMOSystem], order: int) -> list[MIMOSystem]:
    """Return BT's solutions, the dominant modes and, at orders that are wanted, IRKA's solutions.

    IRKA's are those of the method of that name, so that ``h2`` is no worse.
    """
    full = problem.full
    dominant = keep_modes(full, mode_energies(full, horizon=problem.horizon), order)
    starts = [balanced_system(problem, order), with_best_feedthrough(problem, dominant)]
    if order in problem.orders and has_fixed_point(full, problem.horizon):
        found, _ = irka_solutions(full, order, starts[0], horizon=problem.horizon)
        starts.append(with_best_feedthrough(problem, found))
    if problem.fits_feedthrough and problem.horizon is None:
        starts.append(problem.balancing.residualize(order))
    return starts


def project_all(
    full: MIMOSystem, order: int, starts: list[MIMOSystem], horizon: float | None
) -> list[MIMOSystem]:
    """Return what the starts, single systems, are projected to by IRKA's first iterations."""
    if not has_fixed_point(full, horizon):
        return []
    bank = stack(starts)
    rows = torch.zeros(len(starts), dtype=torch.int64, device=full.D.device)
    bank_of_full = full.reshape(1)[rows]
    projected, _ = irka_solutions(bank_of_full, order, bank, PROJECTIONS, horizon=horizon)
    return [projected[row] for row in range(len(starts))]
