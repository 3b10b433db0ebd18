"""The verbs of floor 1: reduce systems to one order, or to all of them."""

from dataclasses import fields, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.aire import aire_method
from hydropress.reduction.balanced import balanced_method
from hydropress.reduction.certify import certify
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.gradient import gradient_method
from hydropress.reduction.h2 import h2_method
from hydropress.reduction.irka import irka_method
from hydropress.reduction.last import last_method
from hydropress.reduction.metric import relative_error, stationarity
from hydropress.reduction.modal import modal_method
from hydropress.reduction.order_zero import without_states
from hydropress.reduction.problem import (
    InputCovariance,
    Problem,
    S,
    SpectralWeight,
    Weight,
    check_problem,
)
from hydropress.reduction.registry import get_method, register_method
from hydropress.reduction.result import Certificate, Outcome, Reduction, ReductionPath
from hydropress.systems.assembly import where
from hydropress.systems.modal import MIMOSystem, SISOSystem
from hydropress.systems.norms import h2_error

CONVERGED = 1e-6
"""Stationarity below which a result counts as an optimum."""

register_method("h2", h2_method)
register_method("balanced", balanced_method)
register_method("modal", modal_method)
register_method("gradient", gradient_method)
register_method("irka", irka_method)
register_method("last", last_method)
register_method("aire", aire_method)


def reduce_path(
    system: S,
    max_order: int | None = None,
    method: str = "h2",
    *,
    orders: tuple[int, ...] | None = None,
    horizon: float | None = None,
    weight: Weight | None = None,
    fit_feedthrough: bool = False,
    descent: DescentConfig | None = None,
) -> ReductionPath[S]:
    """Reduce systems to every even order up to a largest one, in one run.

    Parameters
    ----------
    system
        Bank of any batch shape ``(...)``, scalar or MIMO.  A layer that reads its input in both
        directions with one set of poles is one MIMO system whose outputs are those of the two
        directions one above the other: their errors add.
    max_order
        Largest order; the path is 2, 4, … and ``max_order`` itself.
    method
        Name of a registered method.
    orders
        The orders themselves, from 0 on, instead of ``max_order``.
    horizon
        Count only the first ``horizon`` samples (or time units) of the error.
    weight
        Spectrum of the input, which weighs the error; for several inputs their cross-spectrum or
        covariance (every method is then applied to the system as white inputs see it); discrete
        time.
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
    factor = None
    if isinstance(weight, InputCovariance):
        factor = torch.linalg.cholesky(weight.values.to(torch.float64))
        flat, weight = _through(flat, factor), None
    elif isinstance(weight, SpectralWeight) and isinstance(system, SISOSystem):
        values = weight.values.expand(*batch, -1).reshape(len(flat.D), -1)
        weight = replace(weight, values=values)
    settings = DescentConfig() if descent is None else descent
    positive = tuple(order for order in orders if order > 0)
    problem = Problem(flat, positive, horizon, weight, fit_feedthrough, settings)
    outcomes: list[Outcome[S]] = [without_states(problem)] * (len(orders) - len(positive))
    if positive:
        outcomes += run(problem)
    reductions: list[Reduction[S]] = []
    for order, found in zip(orders, outcomes, strict=True):
        kept: S = where(flat.order <= order, flat, found.system)
        outcome = replace(found, system=kept)
        residual = stationarity(problem, outcome.system)
        difference = h2_error(flat, outcome.system, horizon=horizon)
        result, amplification = kept, difference
        if factor is not None:
            result = _through(kept, torch.linalg.inv(factor))
            if not fit_feedthrough:
                result = replace(result, D=system.reshape(-1).D)  # type: ignore[type-var]
            amplification = h2_error(system.reshape(-1), result, horizon=horizon)
        reductions.append(
            Reduction(
                result.reshape(*batch),
                method,
                order,
                relative_error(problem, outcome.system, difference).reshape(batch),
                (residual <= CONVERGED).reshape(batch),
                outcome.iterations.reshape(batch),
                partial(_shaped, problem, outcome, order, residual, amplification, batch),
            )
        )
    return ReductionPath(tuple(reductions))


def reduce(
    system: S,
    order: int,
    method: str = "h2",
    *,
    horizon: float | None = None,
    weight: Weight | None = None,
    fit_feedthrough: bool = False,
    descent: DescentConfig | None = None,
) -> Reduction[S]:
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


def _through(system: S, factor: Tensor) -> S:
    """Return G L: the system behind a mixing of its inputs."""
    assert isinstance(system, MIMOSystem)
    mixed = replace(system, B=system.B @ factor.to(system.B), D=system.D @ factor)
    return cast(S, mixed)


def _shaped(
    problem: Problem[S],
    outcome: Outcome[S],
    order: int,
    residual: Tensor,
    amplification: Tensor,
    batch: torch.Size,
) -> Certificate:
    """Return the certificate in the batch shape of the caller's systems."""
    made = certify(problem, outcome, order, residual, amplification)
    return Certificate(*(getattr(made, field.name).reshape(batch) for field in fields(made)))
