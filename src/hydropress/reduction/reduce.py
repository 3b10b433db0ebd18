"""The verbs of floor 1: reduce systems to one order, or to all of them."""

import math
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Generic, cast

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.aire import aire_method, aire_scores
from hydropress.reduction.balanced import balanced_method, singular_perturbation_method
from hydropress.reduction.certify import certify
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.gradient import gradient_method
from hydropress.reduction.h2 import h2_method
from hydropress.reduction.irka import irka_method
from hydropress.reduction.last import last_method, last_scores
from hydropress.reduction.metric import relative_error, response_error, stationarity
from hydropress.reduction.modal import modal_method
from hydropress.reduction.order_zero import without_states
from hydropress.reduction.parts import in_parts
from hydropress.reduction.problem import Problem, S, check_orders, check_problem
from hydropress.reduction.registry import Method, get_method, register_method
from hydropress.reduction.result import Certificate, Outcome, Reduction, ReductionPath
from hydropress.reduction.weights import InputCovariance, SpectralWeight, Weight
from hydropress.systems.assembly import concatenate, where
from hydropress.systems.modal import MIMOSystem, SISOSystem

STATES_AT_ONCE, FEWEST = 3072, 128
"""States of all reduced systems of a part, which bound the memory and keep its matrices near the
cache; and systems from which on a part outweighs the price of its small operations (measured)."""

CONVERGED = 1e-6
"""Stationarity below which a result counts as an optimum."""

register_method("h2", h2_method)
register_method("balanced", balanced_method)
register_method("modal", modal_method)
register_method("gradient", gradient_method)
register_method("irka", irka_method)
register_method("last", last_method, scores=last_scores)
register_method("aire", aire_method, scores=aire_scores)
register_method("singular-perturbation", singular_perturbation_method)


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
        Bank of any batch shape ``(...)``, scalar or MIMO; a delay and its D are kept.  A layer that
        reads its input in both directions with one set of poles is one MIMO system of one input and
        two outputs, those of the two directions one above the other.  Its squared error in the H²
        norm is the sum of those of the directions, for a white input and outputs taken apart; where
        the layer adds the two outputs up, or its input is correlated, it is not the error of the
        sum.
    max_order
        Largest order; the path is 2, 4, … and ``max_order`` itself.
    method
        Name of a registered method.
    orders
        The orders themselves, from 0 on, instead of ``max_order``.
    horizon
        Count only the first ``horizon`` samples (or time units) of the error; with a delay the
        first of them is 0.
    weight
        Spectrum of the input, which weighs the error; for several inputs their cross-spectrum or
        covariance (every method is then applied to the system as white inputs see it); discrete
        time.
    fit_feedthrough
        Let D change with the poles and residues; discrete time, no delay.  A method that has no D
        of its own keeps its poles and residues and gets the best D for them.
    descent
        Settings of the iterative methods.

    Returns
    -------
    ReductionPath
        One :class:`~hydropress.reduction.result.Reduction` an order, each stable, real and of that
        order or less; systems that are small enough already stay as they are, of ``h2`` without
        what a minimal system does not have.

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
        (largest,) = check_orders((max_order,))
        orders = (*range(2, largest, 2), largest)
    orders = tuple(sorted(check_orders(orders)))
    run = get_method(method)
    check_problem(system, orders, horizon, weight, fit_feedthrough)
    batch = system.batch_shape
    flat, horizon = _at_once(system.reshape(-1)), system.horizon_of_modes(horizon)
    factor = None
    if isinstance(weight, InputCovariance):
        factor = torch.linalg.cholesky(weight.values.to(torch.float64))
        flat, weight = _through(flat, factor), None
    elif isinstance(weight, SpectralWeight) and isinstance(system, SISOSystem):
        values = weight.values.expand(*batch, -1).reshape(len(flat.D), -1)
        weight = replace(weight, values=values)
    settings = DescentConfig() if descent is None else descent
    whole = Problem(flat, orders, horizon, weight, fit_feedthrough, settings)
    solved = in_parts(partial(_solve, method, run), whole.parts(_number_of_parts(whole)))
    return ReductionPath(
        tuple(
            _joined([part[place] for part in solved], method, order, system, factor)
            for place, order in enumerate(orders)
        )
    )


def _number_of_parts(problem: Problem[S]) -> int:
    """Return enough for the memory and for all threads, of ``FEWEST`` systems or more each."""
    count = len(problem.full.D)
    at_once = max(FEWEST, STATES_AT_ONCE // max(1, *problem.orders))
    wanted = max(math.ceil(count / at_once), torch.get_num_threads())
    return max(1, min(wanted, count // FEWEST))


@dataclass(frozen=True)
class _Solved(Generic[S]):
    """What was found for one part of a bank at one order."""

    problem: Problem[S]
    outcome: Outcome[S]
    difference: Tensor
    error: Tensor
    stationarity: Tensor


def _solve(method: str, run: Method, problem: Problem[S]) -> list[_Solved[S]]:
    """Run a method on a part of a bank, at every order."""
    full = problem.full
    positive = tuple(order for order in problem.orders if order > 0)
    outcomes: list[Outcome[S]] = [without_states(problem)] * (len(problem.orders) - len(positive))
    if positive:
        found: Any = run(problem.at(positive))
        if not isinstance(found, list) or len(found) != len(positive):
            got = f"{len(found)} outcomes" if isinstance(found, list) else f"{type(found).__name__}"
            raise InvalidArgumentError(
                f"{got} from method {method!r} for {len(positive)} orders; required: a list of one "
                "Outcome an order; return as many as problem.orders has"
            )
        outcomes += found
    solved: list[_Solved[S]] = []
    for order, found in zip(problem.orders, outcomes, strict=True):
        kept: S = found.system
        if not found.is_complete:
            kept = where(full.order <= order, full, kept)
        difference = response_error(full, kept, problem.horizon)
        solved.append(
            _Solved(
                problem,
                replace(found, system=kept),
                difference,
                relative_error(problem, kept, difference),
                stationarity(problem, kept),
            )
        )
    return solved


def _joined(
    parts: list[_Solved[S]], method: str, order: int, original: S, factor: Tensor | None
) -> Reduction[S]:
    """Put the parts of one order together, in the batch shape of the caller's systems.

    Parameters
    ----------
    original
        The caller's systems.
    factor
        That of the input covariance, which the parts have in B and D.
    """
    batch, flat = original.batch_shape, _at_once(original.reshape(-1))
    system = concatenate([part.outcome.system for part in parts])
    amplification = torch.cat([part.difference for part in parts])
    problem = parts[0].problem
    if factor is not None:
        mixed = torch.cat([part.problem.full.D for part in parts])
        kept = (mixed == system.D).flatten(-2).all(-1)[:, None, None]
        system = _through(system, torch.linalg.inv(factor))
        system = replace(system, D=torch.where(kept, flat.D, system.D))  # type: ignore[type-var]
        amplification = response_error(flat, system, problem.horizon)
    residual = torch.cat([part.stationarity for part in parts])
    if original.delay:
        if bool((system.D != flat.D).any()):
            raise InvalidArgumentError(
                f"method {method!r}, which changes D, with systems of delay 1; required: one that "
                "keeps D, or delay 0; convert with hydropress.systems.delay.with_delay"
            )
        system = replace(system, delay=original.delay)  # type: ignore[type-var]
    return Reduction(
        system.reshape(*batch),
        method,
        order,
        torch.cat([part.error for part in parts]).reshape(batch),
        (residual <= CONVERGED).reshape(batch),
        torch.cat([part.outcome.iterations for part in parts]).reshape(batch),
        torch.cat([part.outcome.spread for part in parts]).reshape(batch),
        partial(_certificate, parts, order, amplification.reshape(batch)),
    )


def _certificate(parts: list[_Solved[S]], order: int, amplification: Tensor) -> Certificate:
    made = in_parts(
        lambda part: certify(part.problem, part.outcome, order, part.stationarity, part.difference),
        parts,
    )
    joined = {
        field.name: torch.cat([getattr(one, field.name) for one in made]).reshape_as(amplification)
        for field in fields(Certificate)
    }
    return replace(Certificate(**joined), amplification=amplification)


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


def _at_once(system: S) -> S:
    """Return the systems of the same modes without a delay; norms and errors are the same."""
    return replace(system, delay=0)  # type: ignore[type-var]


def _through(system: S, factor: Tensor) -> S:
    """Return G L: the system behind a mixing of its inputs."""
    assert isinstance(system, MIMOSystem)
    mixed = replace(system, B=system.B @ factor.to(system.B), D=system.D @ factor)
    return cast(S, mixed)
