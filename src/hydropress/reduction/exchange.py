"""Exchange of modes: one is taken out of a contender, and the best candidates are put in."""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.grown import grown
from hydropress.reduction.iterate import Iterate, stack_iterates
from hydropress.reduction.multistart import Contenders, Width
from hydropress.reduction.objective import ClosedFormObjective, Objective
from hydropress.reduction.pursuit import pursued
from hydropress.reduction.residues import refit_residues
from hydropress.reduction.search import Candidates
from hydropress.systems.moments import Time

ADDED = 2, 1
"""Pairs and couples put in for what is taken out."""
PROMISING = 1.1
"""Merit of contenders whose modes are exchanged, over that of the best."""
STEPS, ROUGH = 60, 1e-4
"""Steps at most, and stationarity, by which it is known which optima are the best."""


def exchanged(
    objective: Objective,
    contenders: Contenders,
    candidates: Candidates,
    config: DescentConfig,
    time: Time,
) -> Contenders:
    """Return starts that differ from contenders of an even order in one pair or couple."""
    smaller, rows = _with_one_less(contenders.found.iterate)
    if len(rows) == 0:
        return contenders.select(rows)
    systems = contenders.systems[rows]
    fitted = refit_residues(
        objective.select(systems), smaller, penalty=config.energy_penalty, time=time
    )
    return grown(objective, Contenders.of(systems, fitted), candidates, ADDED, config, time)


def widened(
    objective: ClosedFormObjective,
    contenders: Contenders,
    candidates: Candidates,
    order: int,
    width: Width,
    config: DescentConfig,
    time: Time,
) -> Contenders:
    """Return the contenders near their optima, and beside them what other starts lead to.

    The starts are those of a pursuit, and the best of all with one mode exchanged.  Early steps do
    not tell which of them will win (measured): they go on until they do.
    """
    steps = STEPS if config.max_iterations is None else min(STEPS, config.max_iterations)
    rough = replace(config, tolerance=max(config.tolerance, ROUGH))
    pool = contenders.descend(objective, steps, rough, time)
    drawn = pursued(objective, candidates, order, width.pursued, config, time)
    pool = pool.join(drawn.challenge(pool, objective, steps, rough, time))
    best = pool.leaders(PROMISING, width.exchanged)
    other = exchanged(objective, best, candidates, config, time)
    pool = pool.join(other.challenge(pool, objective, steps, rough, time))
    return pool.leaders(width.close, width.most_close)


def _with_one_less(iterate: Iterate) -> tuple[Iterate, Tensor]:
    """Return iterates of two states less, and the row that each is of.

    Every pair is taken out once, and every two real poles.
    """
    slots = iterate.states.shape[1]
    smaller: list[Iterate] = []
    rows: list[Tensor] = []
    for first in range(slots):
        for second in range(first, slots):
            if first == second:
                has = iterate.states[:, first] == 2
            else:
                has = (iterate.states[:, first] == 1) & (iterate.states[:, second] == 1)
            index = torch.nonzero(has)[:, 0]
            if len(index):
                smaller.append(iterate.select(index).without([first, second]))
                rows.append(index)
    if not rows:
        return iterate.select(slice(0)), torch.zeros(0, dtype=torch.int64, device=iterate.D.device)
    return stack_iterates(smaller).compact(), torch.cat(rows)
