"""Steepest descent for MIMO systems, on poles and input directions; never uphill."""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.reduction.tangential import TangentialObjective
from hydropress.reduction.tangential_descent import (
    Directions,
    TangentialDescent,
    derivatives,
    log_decay_range,
)
from hydropress.systems.moments import Time

FIRST_LENGTH = 1e-2


def descend_tangential_gradient(
    objective: TangentialObjective,
    start: Directions,
    *,
    max_iterations: int,
    decay_floor: float,
    time: Time,
) -> TangentialDescent:
    """Minimise the squared relative error along its gradient with Armijo's rule.

    Unknowns are log decays, frequencies, and input directions of unit norm at the start; the output
    directions are the best for them.  Arguments and result are those of
    :func:`~hydropress.reduction.tangential_descent.descend_tangential`.
    """
    low, high = log_decay_range(decay_floor, time)
    sizes = torch.linalg.vector_norm(start.B, dim=1, keepdim=True).clamp_min(1e-300)
    current = replace(start, log_decay=start.log_decay.clamp(low, high), B=start.B / sizes)
    fit = objective.fit(*current.all_modes())
    length, iterations = FIRST_LENGTH, 0
    for _ in range(max_iterations):
        slopes = derivatives(current, fit)
        square = sum(float(slope.square().sum()) for slope in slopes)
        if not length * square > 1e-16:
            break
        iterations += 1
        trial = _moved(current, slopes, -length)
        trial = replace(trial, log_decay=trial.log_decay.clamp(low, high))
        tried = objective.fit(*trial.all_modes())
        if float(tried.error) <= float(fit.error) - length * square / 2:
            current, fit, length = trial, tried, 1.5 * length
        else:
            length /= 3
    return TangentialDescent(current, fit, iterations)


def _moved(
    directions: Directions, slopes: tuple[Tensor, Tensor, Tensor, Tensor], length: float
) -> Directions:
    by_decay, by_frequency, by_real, by_imaginary = slopes
    pairs = directions.num_pairs
    frequency, real, imaginary = (
        part.clone() for part in (directions.frequency, directions.B.real, directions.B.imag)
    )
    frequency[:pairs] += length * by_frequency
    real += length * by_real
    imaginary[:pairs] += length * by_imaginary
    log_decay = directions.log_decay + length * by_decay
    return Directions(log_decay, frequency, torch.complex(real, imaginary), pairs)
