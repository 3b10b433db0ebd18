"""The verbs of floor 1: reduce systems to one order, or to all of them."""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.aire import aire_method
from hydropress.reduction.balanced import balanced_method
from hydropress.reduction.descent import DescentConfig, mode_energies, stationarity_of
from hydropress.reduction.gradient import gradient_method
from hydropress.reduction.h2 import h2_method
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.last import last_method
from hydropress.reduction.modal import modal_method
from hydropress.reduction.problem import Problem, SpectralWeight, check_problem
from hydropress.reduction.registry import get_method, register_method
from hydropress.reduction.result import Certificate, Reduction, ReductionPath
from hydropress.systems.modal import SISOSystem
from hydropress.systems.norms import h2_error

CONVERGED = 1e-6
"""Stationarity below which a result counts as an optimum."""

register_method("h2", h2_method)
register_method("balanced", balanced_method)
register_method("modal", modal_method)
register_method("gradient", gradient_method)
register_method("last", last_method)
register_method("aire", aire_method)


def _relative_error(problem: Problem, system: SISOSystem, difference: Tensor) -> Tensor:
    """Return the error in the problem's metric by a route that does not cancel.

    Parameters
    ----------
    difference
        ‖k - k_r‖, which is that error over ‖k‖ unless there is a weight or D is free.
    """
    full, horizon = problem.full, problem.horizon
    if problem.weight is None:
        if problem.fits_feedthrough and horizon != 1:
            # D adds to the first sample; those that follow have the residues ρa.
            later = h2_error(
                _delayed(full), _delayed(system), horizon=None if horizon is None else horizon - 1
            )
            error = torch.hypot(later, _first_sample(full) - _first_sample(system))
        elif problem.fits_feedthrough:
            error = (_first_sample(full) - _first_sample(system)).abs()
        else:
            error = difference
        return torch.where(error > 0, error / problem.norm, error)
    iterate = Iterate.from_system(system)
    iterate = replace(iterate, D=system.D - problem.full.D)
    return problem.objective.evaluate(iterate).error.clamp_min(0).sqrt()


def _balanced_error(problem: Problem, order: int) -> Tensor:
    if problem.balancing is None:
        return torch.full_like(problem.full.D, torch.nan)
    balanced = _keep_small(problem.full, problem.balancing.truncate(order), order)
    difference = h2_error(problem.full, balanced, horizon=problem.horizon)
    return _relative_error(problem, balanced, difference)


def _first_sample(system: SISOSystem) -> Tensor:
    return (system.residues * system.states).real.sum(-1) + system.D


def _delayed(system: SISOSystem) -> SISOSystem:
    """Return the systems whose kernel is k[t + 1]."""
    return replace(system, residues=system.residues * system.poles)


def _keep_small(full: SISOSystem, reduced: SISOSystem, order: int) -> SISOSystem:
    """Put systems back that were small enough from the start."""
    small = full.order <= order
    if not bool(small.any()):
        return reduced
    column = small[:, None]
    states = torch.cat([full.states * column, reduced.states * ~column], -1)
    used = max(1, int((states > 0).sum(-1).max()))
    first = torch.argsort((states == 0).long(), dim=-1, stable=True)[:, :used]
    residues = torch.cat([full.residues * column, reduced.residues * ~column], -1)
    return SISOSystem(
        torch.cat([full.exponents, reduced.exponents], -1).gather(-1, first),
        residues.gather(-1, first),
        states.gather(-1, first),
        torch.where(small, full.D, reduced.D),
        full.time,
    )


def reduce_path(
    system: SISOSystem,
    max_order: int | None = None,
    method: str = "h2",
    *,
    orders: tuple[int, ...] | None = None,
    horizon: float | None = None,
    weight: SpectralWeight | None = None,
    fit_feedthrough: bool = False,
    descent: DescentConfig | None = None,
) -> ReductionPath:
    """Reduce systems to every even order up to a largest one, in one run.

    Parameters
    ----------
    system
        Bank of any batch shape ``(...)``.
    max_order
        Largest order; the path is 2, 4, … and ``max_order`` itself.
    method
        Name of a registered method.
    orders
        The orders themselves, instead of ``max_order``.
    horizon
        Count only the first ``horizon`` samples (or time units) of the error.
    weight
        Spectral weight on the error; discrete time.
    fit_feedthrough
        Let D change with the poles and residues; discrete time.
    descent
        Settings of the iterative methods.

    Returns
    -------
    ReductionPath
        One :class:`~hydropress.reduction.result.Reduction` an order, each stable, real and of that
        order or less; systems that are small enough already stay as they are.

    Raises
    ------
    UnstableSystemError
        If a pole does not decay and no horizon is given.
    UnknownNameError
        If no such method is registered.
    InvalidArgumentError
        For anything else that cannot be.

    Notes
    -----
    An iteration that ends before it is stationary does not raise: banks hold thousands of systems,
    and one of them would hide the rest.  ``converged`` and ``status`` say which did not.
    """
    if (max_order is None) == (orders is None):
        raise InvalidArgumentError(
            f"max_order={max_order}, orders={orders}; required: exactly one of them"
        )
    if orders is None:
        assert max_order is not None
        orders = tuple(sorted({*range(2, max_order + 1, 2), max_order}))
    orders = tuple(sorted(orders))
    run = get_method(method)
    check_problem(system, orders, horizon, weight, fit_feedthrough)
    batch = system.batch_shape
    flat = system.reshape(-1)
    if weight is not None:
        values = weight.values.expand(*batch, -1).reshape(len(flat.D), -1)
        weight = replace(weight, values=values)
    settings = DescentConfig() if descent is None else descent
    problem = Problem(flat, orders, horizon, weight, fit_feedthrough, settings)
    outcomes = [
        replace(outcome, system=_keep_small(flat, outcome.system, order))
        for order, outcome in zip(orders, run(problem), strict=True)
    ]
    reductions: list[Reduction] = []
    for order, outcome in zip(orders, outcomes, strict=True):
        iterate = Iterate.from_system(outcome.system)
        iterate = replace(iterate, D=outcome.system.D - flat.D)
        stationarity = stationarity_of(problem.objective, iterate, time=flat.time)
        energies, _ = mode_energies(iterate, problem.objective.energy, flat.time, horizon)
        difference = h2_error(flat, outcome.system, horizon=horizon)
        certificate = Certificate(
            stationarity.reshape(batch),
            _balanced_error(problem, order).reshape(batch),
            difference.reshape(batch),
            energies.amax(-1).reshape(batch),
            outcome.spread.reshape(batch),
        )
        reductions.append(
            Reduction(
                outcome.system.reshape(*batch),
                method,
                order,
                _relative_error(problem, outcome.system, difference).reshape(batch),
                (stationarity <= CONVERGED).reshape(batch),
                outcome.iterations.reshape(batch),
                certificate,
            )
        )
    return ReductionPath(tuple(reductions))


def reduce(
    system: SISOSystem,
    order: int,
    method: str = "h2",
    *,
    horizon: float | None = None,
    weight: SpectralWeight | None = None,
    fit_feedthrough: bool = False,
    descent: DescentConfig | None = None,
) -> Reduction:
    """Reduce systems to one order; see :func:`reduce_path`."""
    path = reduce_path(
        system,
        method=method,
        orders=(order,),
        horizon=horizon,
        weight=weight,
        fit_feedthrough=fit_feedthrough,
        descent=descent,
    )
    return path[order]
