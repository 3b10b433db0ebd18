"""Plain gradient descent on the H² error from BT's solution."""

from dataclasses import replace

import torch

from hydropress.reduction.balancing import Balancing
from hydropress.reduction.descent import descend_gradient
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.problem import Problem
from hydropress.reduction.result import Outcome
from hydropress.systems.modal import SISOSystem


def gradient_method(problem: Problem[SISOSystem]) -> list[Outcome[SISOSystem]]:
    """Follow the gradient of the squared error from BT, with a line search.

    The family of method of [sakamoto2025h2], which minimises the H² error of a diagonal SSM by
    first-order steps from a balanced start.  Deviations: coordinates (log decay, frequency,
    residue), so that iterates stay stable without a projection, and Armijo's rule for the step.
    """
    full = problem.full
    norm = torch.where(problem.norm > 0, problem.norm, torch.ones_like(problem.norm))
    # Steepest is a matter of units: residues and D are measured in those of ‖k‖.
    unit = replace(full, residues=full.residues / norm[:, None], D=full.D / norm)
    objective = replace(problem, full=unit).objective
    balancing = Balancing.of(unit, problem.horizon)
    outcomes: list[Outcome[SISOSystem]] = []
    for order in problem.orders:
        start = Iterate.from_system(balancing.truncate(order))
        found, iterations = descend_gradient(objective, start, problem.descent, time=full.time)
        found = replace(found, residues=found.residues * norm[:, None], D=found.D * norm)
        outcomes.append(
            Outcome(found.to_system(full.D, full.time), iterations, torch.zeros_like(full.D))
        )
    return outcomes
