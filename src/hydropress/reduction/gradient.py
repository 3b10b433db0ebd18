"""Plain gradient descent on the H² error from BT's solution."""

import torch

from hydropress.reduction.balanced import balanced_truncations
from hydropress.reduction.descent import descend_gradient
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.problem import Problem
from hydropress.reduction.result import Outcome


def gradient_method(problem: Problem) -> list[Outcome]:
    """Follow the gradient of the squared error from BT, with a line search.

    The family of method of [sakamoto2025h2], which minimises the H² error of a diagonal SSM by
    first-order steps from a balanced start.  Deviations: coordinates (log decay, frequency,
    residue), so that iterates stay stable without a projection, and Armijo's rule for the step.
    """
    full, objective = problem.full, problem.objective()
    systems, _ = balanced_truncations(full, problem.orders)
    outcomes: list[Outcome] = []
    for system in systems:
        start = Iterate.from_system(system)
        iterate, iterations = descend_gradient(objective, start, problem.descent, time=full.time)
        outcomes.append(
            Outcome(iterate.to_system(full.D, full.time), iterations, torch.zeros_like(full.D))
        )
    return outcomes
