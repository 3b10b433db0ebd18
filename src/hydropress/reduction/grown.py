"""Starts of one more state: an optimum of the order below and the best real pole for it."""

import torch

from hydropress.reduction.iterate import Iterate
from hydropress.reduction.problem import Problem
from hydropress.reduction.residues import refit_residues
from hydropress.reduction.search import Candidates, best_real
from hydropress.systems.modal import SISOSystem


def with_best_real(problem: Problem[SISOSystem], candidates: Candidates, base: Iterate) -> Iterate:
    """Return K iterates with one more real pole, the best of the candidates in the metric.

    Residues are refitted after it, and before: those of another metric's optimum would hide what
    the pole has to stand for.
    """
    objective, time = problem.objective, problem.full.time
    penalty = problem.descent.energy_penalty
    base = refit_residues(objective, base, penalty=penalty, time=time)
    pole = best_real(objective, base, candidates)
    more = base.append(pole, torch.ones_like(pole, dtype=torch.int64))
    return refit_residues(objective, more, penalty=penalty, time=time)
