"""Plain gradient descent on the H² error from BT's solution."""

from dataclasses import replace
from typing import cast

import torch

from hydropress.reduction.balancing import Balancing
from hydropress.reduction.free_feedthrough import with_best_feedthrough
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.metric import tangential_objective
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome
from hydropress.reduction.steepest import GRADIENT_STEPS, descend_gradient
from hydropress.reduction.tangential_descent import Directions
from hydropress.reduction.tangential_gradient import descend_tangential_gradient
from hydropress.systems.assembly import stack
from hydropress.systems.modal import MIMOSystem, SISOSystem


def gradient_method(problem: Problem[S]) -> list[Outcome[S]]:
    """Follow the gradient of the squared error from BT, with a line search.

    The family of method of [sakamoto2025h2], which minimises the H² error of a diagonal SSM by
    first-order steps from a balanced start.  Deviations: coordinates (log decay, frequency,
    residue), so that iterates stay stable without a projection, and Armijo's rule for the step.  Of
    a MIMO system the output directions are eliminated, as the best for the rest.
    """
    if isinstance(problem.full, SISOSystem):
        return cast(list[Outcome[S]], _scalar_gradient(cast(Problem[SISOSystem], problem)))
    return cast(list[Outcome[S]], _mimo_gradient(cast(Problem[MIMOSystem], problem)))


def _scalar_gradient(problem: Problem[SISOSystem]) -> list[Outcome[SISOSystem]]:
    full = problem.full
    norm = torch.where(problem.norm > 0, problem.norm, torch.ones_like(problem.norm))
    # Steepest is a matter of units: residues and D are measured in those of ‖k‖.
    unit = replace(full, residues=full.residues / norm[:, None], D=full.D / norm)
    posed = replace(problem, full=unit)
    objective = posed.objective
    balancing = Balancing.of(unit, problem.horizon)
    outcomes: list[Outcome[SISOSystem]] = []
    for order in problem.orders:
        balanced = with_best_feedthrough(posed, balancing.truncate(order))
        start = replace(Iterate.from_system(balanced), D=balanced.D - unit.D)
        found, iterations = descend_gradient(objective, start, problem.descent, time=full.time)
        found = replace(found, residues=found.residues * norm[:, None], D=found.D * norm)
        outcomes.append(
            Outcome(found.to_system(full.D, full.time), iterations, torch.zeros_like(full.D))
        )
    return outcomes


def _mimo_gradient(problem: Problem[MIMOSystem]) -> list[Outcome[MIMOSystem]]:
    full, config = problem.full, problem.descent
    limit = GRADIENT_STEPS if config.max_iterations is None else config.max_iterations
    objectives = [tangential_objective(problem, row) for row in range(len(full.D))]
    outcomes: list[Outcome[MIMOSystem]] = []
    for order in problem.orders:
        starts = problem.balancing.truncate(order)
        found = [
            descend_tangential_gradient(
                objective,
                Directions.of(starts[row]),
                max_iterations=limit,
                decay_floor=config.decay_floor,
                time=full.time,
            )
            for row, objective in enumerate(objectives)
        ]
        systems = [one.directions.to_system(one.fit.C, full[row]) for row, one in enumerate(found)]
        iterations = torch.tensor([one.iterations for one in found], device=full.D.device)
        outcomes.append(Outcome(stack(systems), iterations, problem.norm.new_zeros(len(found))))
    return outcomes
