"""The certificate of a reduction, worked out when it is asked for."""

import torch
from torch import Tensor

from hydropress.reduction.balanced import balanced_system
from hydropress.reduction.bounds import lower_bound, spectral_lower_bound
from hydropress.reduction.free_feedthrough import with_best_feedthrough
from hydropress.reduction.irka import ITERATIONS, has_fixed_point, irka_solutions
from hydropress.reduction.metric import (
    delayed,
    largest_mode_energy,
    relative_error,
    response_error,
)
from hydropress.reduction.order_zero import without_states
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Certificate, Outcome
from hydropress.reduction.weights import SpectralWeight
from hydropress.systems.assembly import where
from hydropress.systems.modal import MIMOSystem


def certify(
    problem: Problem[S],
    outcome: Outcome[S],
    order: int,
    stationarity: Tensor,
    amplification: Tensor,
    irka_iterations: int = ITERATIONS,
) -> Certificate:
    """Return the certificate of K reduced systems, ‖h - h_r‖ given."""
    balanced = balanced_systems(problem, order)
    balanced_error = _error_of(problem, balanced)
    irka_error = _irka_error(problem, balanced, order, irka_iterations)
    # Of modes that cancel each other rounding can lift the bound above an error that is attained.
    bound = _least_error(problem, outcome.system, order).clamp_max(1)
    for error in (
        relative_error(problem, outcome.system, amplification),
        balanced_error,
        irka_error,
    ):
        bound = torch.where(error < bound, error, bound)
    return Certificate(
        stationarity,
        balanced_error,
        irka_error,
        bound,
        amplification,
        largest_mode_energy(problem, outcome.system),
        outcome.spread,
    )


def balanced_systems(problem: Problem[S], order: int) -> S:
    """Return BT's systems; those of a lower order as they are."""
    if order == 0:
        return without_states(problem).system
    balanced = balanced_system(problem, order)
    return where(problem.full.order <= order, problem.full, balanced)


def _error_of(problem: Problem[S], system: S) -> Tensor:
    difference = response_error(problem.full, system, problem.horizon)
    return relative_error(problem, system, difference)


def _irka_error(problem: Problem[S], balanced: S, order: int, iterations: int) -> Tensor:
    if order == 0:
        return _error_of(problem, balanced)
    if not has_fixed_point(problem.full, problem.horizon):
        return torch.full_like(problem.energy, torch.nan)
    start = problem.balancing.truncate(order)
    found, _ = irka_solutions(problem.full, order, start, iterations, horizon=problem.horizon)
    found = with_best_feedthrough(problem, found)
    return _error_of(problem, where(problem.full.order <= order, problem.full, found))


def _least_error(problem: Problem[S], system: S, order: int) -> Tensor:
    full = problem.full
    changed = (full.D != system.D).reshape(len(full.D), -1).any(-1) | problem.fits_feedthrough
    # Another D may take the first sample off the error: the bound is that of the rest.
    changed &= full.time == "discrete"
    if problem.weight is not None:
        bounds = [_spectral_bound(problem, order, free) for free in (False, True)]
        return torch.where(changed, bounds[1], bounds[0])
    bound = lower_bound(full, order, problem.horizon)
    if bool(changed.any()):
        later = torch.zeros_like(bound)
        if problem.horizon != 1:
            left = None if problem.horizon is None else problem.horizon - 1
            later = lower_bound(delayed(full), order, left)
        bound = torch.where(changed, later, bound)
    return bound / problem.energy.sqrt()


def _spectral_bound(problem: Problem[S], order: int, free: bool) -> Tensor:
    full, weight = problem.full, problem.weight
    assert isinstance(weight, SpectralWeight)
    points = torch.exp(1j * weight.frequencies.to(torch.float64))
    response = full.transfer_function(points)
    if isinstance(full, MIMOSystem):
        values = weight.values.to(torch.complex128)
        response = response - full.D[:, None]
        total = ((response @ values) * response.conj()).real.sum((-3, -2, -1))
        least = torch.linalg.eigvalsh(values)[:, 0].clamp_min(0)
    else:
        least = weight.values.to(torch.float64)
        total = (least * (response - full.D[:, None]).abs().square()).sum(-1)
    bound = spectral_lower_bound(full, order, weight.frequencies, least, free=free)
    return bound / torch.where(total > 0, total, 1.0).sqrt()
