"""Steepest descent on poles, residues and feedthrough, batched, never uphill."""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.reduction.derivatives import derivatives, free_unknowns
from hydropress.reduction.descent import DescentConfig, moved, within_limits
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.merit import merit_of
from hydropress.reduction.objective import Objective
from hydropress.systems.moments import Time

GRADIENT_STEPS = 500


def descend_gradient(
    objective: Objective, start: Iterate, config: DescentConfig, *, time: Time
) -> tuple[Iterate, Tensor]:
    """Minimise by steepest descent with Armijo's rule; never uphill.

    Returns
    -------
    iterate, iterations
        The second int64 of shape ``(K,)``.
    """
    current = replace(start, log_decay=within_limits(start.log_decay, start.states, config, time))
    evaluation = objective.evaluate(current)
    merit = merit_of(objective, current, evaluation, config.energy_penalty, time)
    length = torch.full_like(merit, 1e-2)
    iterations = torch.zeros_like(merit, dtype=torch.int64)
    for _ in range(GRADIENT_STEPS if config.max_iterations is None else config.max_iterations):
        gradient, _, _ = derivatives(objective, current, evaluation, config.energy_penalty, time)
        gradient = torch.where(free_unknowns(current, objective.fits_feedthrough), gradient, 0.0)
        square = (gradient**2).sum(-1)
        moving = (length * square > 1e-16) & torch.isfinite(merit)
        if not bool(moving.any()):
            break
        trial = moved(current, -length[:, None] * gradient, config, time)
        trial_evaluation = objective.evaluate(trial)
        trial_merit = merit_of(objective, trial, trial_evaluation, config.energy_penalty, time)
        # The merit is the squared error, twice what was differentiated.
        better = moving & (trial_merit <= merit - length * square)
        current = trial.where(better, current)
        evaluation = trial_evaluation.where(better, evaluation)
        merit = torch.where(better, trial_merit, merit)
        length = torch.where(better, length * 1.5, torch.where(moving, length / 3, length))
        iterations += moving
    return current, iterations
