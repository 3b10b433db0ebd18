"""The certificate of a reduction, worked out when it is asked for."""

import torch
from torch import Tensor

from hydropress.reduction.bounds import lower_bound
from hydropress.reduction.irka import irka_solutions
from hydropress.reduction.metric import delayed, largest_mode_energy, relative_error
from hydropress.reduction.order_zero import without_states
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Certificate, Outcome
from hydropress.systems.assembly import where
from hydropress.systems.modal import ModalSystem
from hydropress.systems.norms import h2_error


def certify(
    problem: Problem[S],
    outcome: Outcome[S],
    order: int,
    stationarity: Tensor,
    amplification: Tensor,
) -> Certificate:
    """Return the certificate of K reduced systems, ‖k - k_r‖ given."""
    balanced = balanced_systems(problem, order)
    return Certificate(
        stationarity,
        _error_of(problem, balanced),
        _irka_error(problem, balanced, order),
        _least_error(problem, order),
        amplification,
        largest_mode_energy(problem, outcome.system),
        outcome.spread,
    )


def balanced_systems(problem: Problem[S], order: int) -> S:
    """Return BT's systems; those of a lower order as they are."""
    if order == 0:
        return without_states(problem).system
    balanced = problem.balanced(order)
    return where(problem.full.order <= order, problem.full, balanced)


def _error_of(problem: Problem[S], system: S) -> Tensor:
    difference = h2_error(problem.full, system, horizon=problem.horizon)
    return relative_error(problem, system, difference)


def _irka_error(problem: Problem[S], balanced: S, order: int) -> Tensor:
    if order == 0:
        return _error_of(problem, balanced)
    if not bool((problem.full.decay > 0).all()):
        return torch.full_like(problem.energy, torch.nan)
    found, _ = irka_solutions(problem.full, order, problem.balancing.truncate(order))
    return _error_of(problem, where(problem.full.order <= order, problem.full, found))


def _least_error(problem: Problem[S], order: int) -> Tensor:
    if problem.weight is not None or problem.horizon is not None:
        return torch.full_like(problem.energy, torch.nan)
    # A free D takes the first sample off the error: the bound is that of the rest.
    full: ModalSystem = delayed(problem.full) if problem.fits_feedthrough else problem.full
    return lower_bound(full, order) / problem.energy.sqrt()
