"""Starts of one more mode: what an order below has found, and the best candidates for it."""

import torch

from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.iterate import Iterate, stack_iterates
from hydropress.reduction.multistart import Contenders
from hydropress.reduction.objective import Objective
from hydropress.reduction.problem import Problem
from hydropress.reduction.residues import refit_residues
from hydropress.reduction.search import Candidates, best_couples, best_pairs, best_real
from hydropress.systems.modal import SISOSystem
from hydropress.systems.moments import Time


def grown(
    objective: Objective,
    base: Contenders,
    candidates: Candidates,
    added: tuple[int, int],
    config: DescentConfig,
    time: Time,
) -> Contenders:
    """Return each contender with the best candidates added, residues refitted.

    Parameters
    ----------
    base
        Contenders of some order.
    added
        How many pairs and how many couples of real poles are tried; (0, 0) for one real pole.
    """
    part, tried = objective.select(base.systems), candidates.select(base.systems)
    iterate, two = base.found.iterate, torch.full_like(base.systems, 2)[:, None]
    one = torch.ones_like(two)
    at_pairs, at_reals = tried.moments(part, iterate)
    pairs, couples = added
    if pairs + couples == 0:
        starts = [iterate.append(best_real(tried, at_reals), one)]
    else:
        starts = [iterate.append(pair[:, None], two) for pair in best_pairs(tried, at_pairs, pairs)]
        starts += [
            iterate.append(couple, one.expand(-1, 2))
            for couple in best_couples(tried, at_reals)[:couples]
        ]
    systems = base.systems.repeat(len(starts))
    fitted = refit_residues(
        objective.select(systems), stack_iterates(starts), penalty=config.energy_penalty, time=time
    )
    return Contenders.of(systems, fitted)


def with_best_real(problem: Problem[SISOSystem], candidates: Candidates, base: Iterate) -> Iterate:
    """Return K iterates with one more real pole, the best of the candidates in the metric.

    Residues are refitted after it, and before: those of another metric's optimum would hide what
    the pole has to stand for.
    """
    objective, config, time = problem.objective, problem.descent, problem.full.time
    systems = torch.arange(objective.num_systems, device=objective.energy.device)
    base = refit_residues(objective, base, penalty=config.energy_penalty, time=time)
    start = Contenders.of(systems, base)
    return grown(objective, start, candidates, (0, 0), config, time).found.iterate
