"""H²-optimal reduction of MIMO systems: greedy search, fixed point, descent.

Like the scalar method, poles are placed two states at a time where the residual has most energy;
every addition, BT's solution, truncations and IRKA's projections of all of them are starts of a
descent that is never uphill.
"""

import math
from dataclasses import dataclass, replace

import torch

from hydropress.reduction.irka import irka_solutions
from hydropress.reduction.metric import tangential_error, tangential_objective
from hydropress.reduction.problem import Problem, chain_of
from hydropress.reduction.result import Outcome
from hydropress.reduction.tangential_descent import (
    Directions,
    TangentialDescent,
    descend_tangential,
)
from hydropress.reduction.tangential_search import TangentialSearch, split_near_axis
from hydropress.reduction.tangential_starts import project_all, starts_of
from hydropress.reduction.truncation import extreme_modes
from hydropress.systems.assembly import stack
from hydropress.systems.modal import MIMOSystem

SCREENING_STEPS, FINALISTS, CLOSE = 15, 3, 1.1
"""Steps that tell basins apart, and how many starts are finished, if their squared errors are
within this factor."""
PROPOSALS = 3
"""Extensions by a pair that go on, the best by what they explain."""
SAME = 1e-6
"""Starts whose squared errors differ by less, relatively, have come to the same optimum."""
DESCENT_STEPS = 1000
POLISHING_STEPS = 100
"""Projections at the end: they do not see the error, and so are not blinded by its rounding."""
NOISE = 1e-13
"""Squared errors below it are rounding."""


@dataclass(frozen=True)
class MimoStep:
    """The outcome at one order for one system.

    Attributes
    ----------
    system
        The reduced system.
    error
        Relative error, measured on the system.
    iterations
        Evaluations of the objective that led to it.
    spread
        Largest minus smallest relative error over the starts.
    """

    system: MIMOSystem
    error: float
    iterations: int
    spread: float


class _Path:
    """The search for one system."""

    def __init__(self, problem: Problem[MIMOSystem]) -> None:
        self._problem, self._full = problem, problem.full[0]
        self._config = problem.descent
        self._objective = tangential_objective(problem, 0)
        self._search = TangentialSearch(self._full, problem.horizon)
        steps = self._config.max_iterations
        self._limit = DESCENT_STEPS if steps is None else steps

    def _descend(self, start: Directions, steps: int) -> TangentialDescent:
        return descend_tangential(
            self._objective,
            start,
            max_iterations=min(steps, self._limit),
            decay_floor=self._config.decay_floor,
            tolerance=self._config.tolerance,
            time=self._full.time,
        )

    def _to_the_end(self, start: Directions) -> TangentialDescent:
        """Descend until it is stationary, or a fresh start from the decay floor brings nothing."""
        found = self._descend(start, self._limit)
        lowest = math.log(self._config.decay_floor)
        while float(found.fit.stationarity) > self._config.tolerance:
            if float(found.directions.log_decay.min()) > lowest or found.iterations >= self._limit:
                break
            # Below the floor the error is flat, and the curvature gathered there is not it.
            after = self._descend(found.directions, self._limit)
            if not _error(after) < _error(found):
                break
            found = replace(after, iterations=found.iterations + after.iterations)
        return found

    def _system(self, found: TangentialDescent) -> MIMOSystem:
        return found.directions.to_system(found.fit.C, self._full)

    def _measure(self, system: MIMOSystem) -> float:
        return float(tangential_error(self._problem, self._objective, system))

    def screen(
        self, order: int, base: TangentialDescent | None, starts: list[MIMOSystem]
    ) -> list[TangentialDescent]:
        """Return where a few steps lead from all starts, the best first."""
        propose = self._search.odd_proposals if order % 2 else self._search.proposals
        proposed = propose(base.directions, base.fit.C) if base else propose(None, None)
        placed = [self._descend(one, 0) for one in proposed]
        seeds = [self._system(one) for one in placed] + starts + extreme_modes(self._full, order)
        projected = project_all(self._full, order, seeds, self._problem.horizon)
        # Real poles start slowly: the last proposal, a couple of them, always goes on.
        candidates = [one.directions for one in sorted(placed[:-1], key=_error)[:PROPOSALS]]
        candidates += proposed[-1:]
        candidates += [Directions.of(start) for start in starts]
        ends = [self._descend(Directions.of(one), 0) for one in projected]
        candidates += [one.directions for one in _distinct(ends, FINALISTS)]
        return sorted((self._descend(one, SCREENING_STEPS) for one in candidates), key=_error)

    def finish(
        self, order: int, tried: list[TangentialDescent], starts: list[MIMOSystem]
    ) -> tuple[MimoStep, TangentialDescent]:
        """Descend to the end from the best of those tried; the last word has a measurement."""
        limit = CLOSE * max(_error(tried[0]), NOISE)
        close = [one for one in _distinct(tried, FINALISTS) if _error(one) <= limit]
        finished = [self._to_the_end(one.directions) for one in close or tried[:1]]
        split = split_near_axis(min(finished, key=_error).directions, self._full.time)
        if split is not None:
            finished.append(self._to_the_end(split))
        # A closed form can lie by what its modes cancel, and does not see the last digits.
        floor = self._config.decay_floor
        systems = [self._system(one) for one in finished]
        systems += [one for one in starts if float(one.decay.min()) >= floor]
        errors = [self._measure(one) for one in systems]
        best = min(range(len(errors)), key=errors.__getitem__)
        polished = self._polished(systems[best], order)
        if polished is not None:
            systems.append(polished)
            errors.append(self._measure(polished))
        place = min(range(len(errors)), key=errors.__getitem__)
        descended = finished[best] if best < len(finished) else min(finished, key=_error)
        worst = math.sqrt(max(0.0, _error(tried[-1])))
        spread = max(0.0, worst - errors[place]) if math.isfinite(worst) else 0.0
        step = MimoStep(systems[place], errors[place], descended.iterations, spread)
        return step, min(finished, key=_error)

    def _polished(self, system: MIMOSystem, order: int) -> MIMOSystem | None:
        """Return what a system is projected to, if the fixed point is that of the problem."""
        problem = self._problem
        if problem.weight is not None or problem.horizon is not None or problem.fits_feedthrough:
            return None
        projected = irka_solutions(problem.full, order, system.reshape(1), POLISHING_STEPS)[0][0]
        return projected if float(projected.decay.min()) >= self._config.decay_floor else None


def optimize_mimo_path(
    problem: Problem[MIMOSystem], starts: dict[int, list[MIMOSystem]]
) -> dict[int, MimoStep]:
    """Return the best reduced systems found at every order of a problem.

    Parameters
    ----------
    problem
        Of one system, batch shape ``(1,)``.
    starts
        Further starts by order: BT's solution, truncations, IRKA's.

    Returns
    -------
    dict
        From order to :class:`MimoStep`.
    """
    path = _Path(problem)
    base: TangentialDescent | None = None
    steps: dict[int, MimoStep] = {}
    for order in chain_of(problem.orders):
        ready = [start for start in starts.get(order, []) if bool((start.states > 0).any())]
        tried = path.screen(order, base, ready)
        best = tried[0]
        if order in problem.orders:
            steps[order], best = path.finish(order, tried, ready)
        if order % 2 == 0:
            base = best
    return steps


def _error(descent: TangentialDescent) -> float:
    error = float(descent.fit.error)
    return error if math.isfinite(error) else math.inf


def _distinct(found: list[TangentialDescent], count: int) -> list[TangentialDescent]:
    """Return the best so many, each optimum once."""
    kept: list[TangentialDescent] = []
    for one in sorted(found, key=_error):
        if len(kept) < count and (not kept or _error(one) > _error(kept[-1]) * (1 + SAME)):
            kept.append(one)
    return kept


def mimo_h2(problem: Problem[MIMOSystem]) -> list[Outcome[MIMOSystem]]:
    """Return H²-optimal MIMO systems at every order, one system of the batch after the other."""
    full = problem.full
    starts = {order: starts_of(problem, order) for order in chain_of(problem.orders)}
    if problem.weight is not None:
        plain = mimo_h2(replace(problem, weight=None, fits_feedthrough=False))
        for order, outcome in zip(problem.orders, plain, strict=True):
            starts[order].append(outcome.system)
    found = [
        optimize_mimo_path(
            replace(problem, full=full[row : row + 1]),
            {order: [start[row] for start in banks] for order, banks in starts.items()},
        )
        for row in range(len(full.D))
    ]
    outcomes: list[Outcome[MIMOSystem]] = []
    for order in problem.orders:
        steps = [path[order] for path in found]
        iterations = torch.tensor([step.iterations for step in steps], device=full.D.device)
        spread = torch.tensor([step.spread for step in steps], dtype=torch.float64)
        systems = stack([step.system for step in steps])
        outcomes.append(Outcome(systems, iterations, spread.to(full.D.device)))
    return outcomes
