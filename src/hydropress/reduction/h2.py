"""H²-optimal reduction: global search for poles, greedy, each step polished by descent."""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from hydropress.reduction.balancing import Balancing
from hydropress.reduction.descent import (
    NEWTON_STEPS,
    DescentConfig,
    descend,
    mode_energies,
    refit_residues,
)
from hydropress.reduction.double_pole import across_double_pole, across_zero
from hydropress.reduction.irka import irka_solutions
from hydropress.reduction.iterate import Iterate, empty_iterate, stack_iterates
from hydropress.reduction.mimo import mimo_h2
from hydropress.reduction.objective import Objective
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome
from hydropress.reduction.search import (
    Candidates,
    best_couples,
    best_pairs,
    best_real,
    ladder_of_exponents,
)
from hydropress.systems.assembly import where
from hydropress.systems.modal import MIMOSystem, SISOSystem
from hydropress.systems.moments import Time
from hydropress.systems.norms import h2_error

FIRST, SURVIVORS = 3, 6
"""Steps of all starts, and how many of them go on."""
SCREENING_STEPS, FINALISTS, CLOSE, SAME = 5, 3, 1.3, 1e-9
"""Eight Newton steps in all tell most basins apart: the best start is finished, and two more if
their squared errors are within a factor, but not the same to nine digits."""
IRKA_STEPS = 40

NOTHING = 1e-10
"""Squared relative error of which the closed form has lost half its digits or more."""

ROUNDS, CROSSING_STEPS = (10, 12, 14, 16, 16), 8
"""Steps after which systems that have not converged look for a way that the descent cannot take."""

PENALTIES = tuple(10.0**power for power in range(-10, -1))
"""Energy penalties tried, the least first, on a result whose modes cancel each other too much."""


@dataclass(frozen=True)
class Step:
    """The outcome at one order.

    Attributes
    ----------
    iterate
        K reduced systems.
    error
        Squared relative error in the objective's metric, shape ``(K,)``.
    stationarity
        Shape ``(K,)``.
    iterations
        Steps of the descent that led to the winner, shape ``(K,)``.
    spread
        Largest minus smallest relative error over the starts, shape ``(K,)``.
    """

    iterate: Iterate
    error: Tensor
    stationarity: Tensor
    iterations: Tensor
    spread: Tensor

    def select(self, index: Tensor) -> "Step":
        """Return the systems of an index."""
        return Step(
            self.iterate.select(index),
            self.error[index],
            self.stationarity[index],
            self.iterations[index],
            self.spread[index],
        )

    def put(self, index: Tensor, other: "Step") -> "Step":
        """Return a copy in which the systems at ``index`` are those of ``other``."""
        return Step(
            self.iterate.scatter(index, other.iterate).compact(),
            self.error.index_copy(0, index, other.error),
            self.stationarity.index_copy(0, index, other.stationarity),
            self.iterations.index_copy(0, index, other.iterations),
            self.spread,
        )

    def improve(self, index: Tensor, tried: "Step") -> "Step":
        """Return a copy in which the systems at ``index`` are those of ``tried`` if better."""
        better = tried.error < self.error[index]
        if not bool(better.any()):
            return self
        return self.put(index[better], tried.select(torch.nonzero(better)[:, 0]))


def _descend(objective: Objective, start: Iterate, config: DescentConfig, time: Time) -> Step:
    result = descend(objective, start.compact(), config, time=time)
    return Step(
        result.iterate,
        result.error,
        result.stationarity,
        result.iterations,
        torch.zeros_like(result.error),
    )


def _run(
    objective: Objective,
    starts: list[Iterate],
    config: DescentConfig,
    time: Time,
    *,
    finish: bool,
) -> Step:
    """Try every start for a few steps, finish the most promising, return the best.

    Parameters
    ----------
    finish
        Without it the most promising is returned as it is.
    """
    systems = torch.arange(objective.num_systems, device=objective.energy.device)
    steps = NEWTON_STEPS if config.max_iterations is None else config.max_iterations
    first, few = min(FIRST, steps), min(SCREENING_STEPS, steps - min(FIRST, steps))
    rows = systems.repeat(len(starts))
    tried = _descend(
        objective.select(rows), stack_iterates(starts), replace(config, max_iterations=first), time
    )
    errors = tried.error.reshape(len(starts), -1)
    worst = torch.where(torch.isfinite(errors), errors, 0.0).amax(0)
    if len(starts) > SURVIVORS:
        best = errors.argsort(0)[:SURVIVORS].flatten() * len(systems) + systems.repeat(SURVIVORS)
        tried, rows = tried.select(best), rows[best]
    tried = _continue(objective.select(rows), tried, replace(config, max_iterations=few), time)
    errors = tried.error.reshape(-1, len(systems))
    ranks = errors.argsort(0)
    outcome = tried.select(ranks[0] * len(systems) + systems)
    if finish:
        # Contenders of the same error have arrived at the same optimum.
        ordered = errors.gather(0, ranks)
        distinct = ordered[1:] > ordered[:-1] * (1 + SAME)
        close = torch.cat([torch.isfinite(ordered[:1]), distinct])[:FINALISTS]
        close &= (ordered <= CLOSE * outcome.error)[:FINALISTS]
        close[0] = True
        place, system = torch.nonzero(close, as_tuple=True)
        contenders = tried.select(ranks[place, system] * len(systems) + system)
        rest = replace(config, max_iterations=steps - first - few)
        finished = _polish(objective.select(system), contenders, rest, time)
        outcome = finished.select(systems)
        for later in range(1, len(close)):
            part = torch.nonzero(place == later)[:, 0]
            outcome = outcome.improve(system[part], finished.select(part))
    spread = worst.clamp_min(0).sqrt() - outcome.error.clamp_min(0).sqrt()
    return replace(outcome, spread=spread)


def _polish(objective: Objective, outcome: Step, config: DescentConfig, time: Time) -> Step:
    """Descend to the end, and look across double poles and zero where that does not come to one."""
    left = config.max_iterations or 0
    for limit in (*ROUNDS, left):
        steps = min(limit, left)
        left = max(0, left - steps - CROSSING_STEPS)
        open_ = torch.nonzero(outcome.stationarity > config.tolerance)[:, 0]
        if len(open_) == 0 or steps == 0:
            break
        part = objective.select(open_)
        after = _continue(part, outcome.select(open_), replace(config, max_iterations=steps), time)
        outcome = outcome.put(open_, after)
        if left:
            outcome = _look_across(objective, outcome, config, time)
    return outcome


def _continue(objective: Objective, before: Step, config: DescentConfig, time: Time) -> Step:
    after = _descend(objective, before.iterate, config, time)
    return replace(after, iterations=after.iterations + before.iterations)


def _look_across(objective: Objective, outcome: Step, config: DescentConfig, time: Time) -> Step:
    """Try where the coordinates do not lead, in the systems that have not converged."""
    open_ = torch.nonzero(outcome.stationarity > config.tolerance)[:, 0]
    if len(open_) == 0:
        return outcome
    part, iterate = objective.select(open_), outcome.iterate.select(open_)
    starts: list[Iterate] = []
    rows: list[Tensor] = []
    for across in (across_double_pole, across_zero):
        index, variants = across(part, iterate, time)
        starts += variants
        rows += [open_[index]] * len(variants)
    if not starts:
        return outcome
    where = torch.cat(rows)
    few = replace(config, max_iterations=CROSSING_STEPS)
    tried = _descend(objective.select(where), stack_iterates(starts), few, time)
    tried = replace(tried, iterations=tried.iterations + outcome.iterations[where])
    places = torch.arange(len(where), device=where.device).split([len(row) for row in rows])
    for row, place in zip(rows, places, strict=True):
        outcome = outcome.improve(row, tried.select(place))
    return outcome


def _largest_mode(objective: Objective, iterate: Iterate, time: Time) -> Tensor:
    return mode_energies(iterate, objective.energy, time, objective.horizon)[0].amax(1)


def _tame(problem: Problem[SISOSystem], outcome: Step, order: int, limit: Tensor) -> Step:
    """Give up as little error as it takes to bring the energy of every mode below a limit.

    The result is not worse than BT's solution, and where that exceeds the limit it is the limit.

    Parameters
    ----------
    limit
        Over ‖k‖², shape ``(K,)``.
    """
    objective, config, time = problem.objective, problem.descent, problem.full.time
    index = torch.nonzero(_largest_mode(objective, outcome.iterate, time) > limit)[:, 0]
    if len(index) == 0:
        return outcome
    balanced = Iterate.from_system(problem.balancing.truncate(order))
    limit = torch.maximum(limit, _largest_mode(objective, balanced, time))
    index = index[_largest_mode(objective, outcome.iterate, time)[index] > limit[index]]
    pending, current = index, outcome.select(index)
    tamed = replace(current, error=torch.full_like(current.error, torch.inf))
    places = torch.arange(len(index), device=index.device)
    for penalty in PENALTIES:
        if len(pending) == 0:
            break
        part = objective.select(pending)
        settings = replace(config, energy_penalty=max(penalty, config.energy_penalty))
        found = _continue(part, current, settings, time)
        within = _largest_mode(part, found.iterate, time) <= limit[pending]
        tamed = tamed.improve(places[within], found.select(within))
        pending, places, current = pending[~within], places[~within], found.select(~within)
    unmoved = replace(config, max_iterations=0)
    bt = _descend(objective.select(index), balanced.select(index), unmoved, time)
    tamed = tamed.improve(torch.arange(len(index), device=index.device), bt)
    below = torch.isfinite(tamed.error)
    given_up = outcome.error.index_fill(0, index[below], torch.inf)
    return replace(outcome, error=given_up).improve(index[below], tamed.select(below))


def _starts(problem: Problem[SISOSystem], balanced: SISOSystem, order: int) -> list[Iterate]:
    """Return BT's solutions and, at orders that are wanted, IRKA's from them.

    At order 2 the search is exhaustive enough (``benchmarks/exhaustive.py``).
    """
    full = problem.full
    starts = [balanced]
    if order > 2 and order in problem.orders and bool((full.decay > 0).all()):
        starts.append(irka_solutions(full, order, balanced, IRKA_STEPS)[0])
    return [Iterate.from_system(start) for start in starts]


def _balancing_for_starts(problem: Problem[SISOSystem]) -> Balancing[SISOSystem]:
    """Return BT's projections: a sketch where there is one."""
    if problem.horizon is None:
        sketch = Balancing.sketch(problem.full)
        if bool(torch.isfinite(sketch.left).all()) and bool(torch.isfinite(sketch.right).all()):
            return sketch
    return problem.balancing


def _exact(problem: Problem[SISOSystem], step: Step, order: int) -> SISOSystem:
    """Return the systems; where next to nothing is left of the error, BT's if they are closer.

    A system that is not minimal is reduced exactly by BT, and an error below rounding in the
    optimiser's formulas tells nothing.
    """
    full = problem.full
    system = step.iterate.to_system(full.D, full.time)
    index = torch.nonzero(step.error < NOTHING)[:, 0]
    if len(index) == 0 or problem.weight is not None or problem.fits_feedthrough:
        return system
    part = full[index]
    balanced = Balancing.of(part, problem.horizon).truncate(order)
    closer = torch.zeros_like(step.error, dtype=torch.bool)
    closer[index] = h2_error(part, balanced, horizon=problem.horizon) < h2_error(
        part, system[index], horizon=problem.horizon
    )
    if not bool(closer.any()):
        return system
    spread = torch.zeros_like(step.iterations)
    spread[index] = torch.arange(len(index), device=index.device)
    return where(closer, balanced[spread], system)


def optimize_path(
    objective: Objective,
    candidates: Candidates,
    orders: tuple[int, ...],
    *,
    time: Time,
    config: DescentConfig,
    starts: dict[int, list[Iterate]],
) -> dict[int, Step]:
    """Return the best reduced systems found at every order asked for.

    Orders grow two states at a time.  At each, the descent starts from the previous order's
    optimum plus the best candidates (four pairs and two couples of real poles for each choice
    of signs at first, then two pairs and one couple), and from what the caller supplies; on the way
    poles may meet on the real axis and part again, and real poles near zero are tried with the
    other sign.
    Orders on the way that nobody wants are left after the first few steps.

    Parameters
    ----------
    objective
        K systems.
    candidates
        What the search tries.
    orders
        Orders wanted; an odd one is reached by one more real pole.
    starts
        Further starts by order, for example BT's solution.

    Returns
    -------
    dict
        From order to :class:`Step`.
    """
    wanted = sorted(set(orders))
    chain = list(range(2, max(wanted) + 1, 2))
    device = objective.energy.device
    current = empty_iterate(objective.num_systems, device)
    steps: dict[int, Step] = {}
    for order in sorted({*chain, *wanted}):
        base = current
        if order % 2:
            best = best_real(objective, base, candidates)
            proposals = [base.append(best, torch.ones_like(best, dtype=torch.int64))]
        else:
            # The first pair decides the most and costs the least: more starts than later.
            pairs_tried, couples_tried = (4, 6) if order == 2 else (2, 1)
            two = torch.full((objective.num_systems, 1), 2, device=device)
            pairs = best_pairs(objective, base, candidates, pairs_tried)
            proposals = [base.append(pair[:, None], two) for pair in pairs]
            couples = best_couples(objective, base, candidates)[:couples_tried]
            one = torch.ones_like(two).expand(-1, 2)
            proposals += [base.append(couple, one) for couple in couples]
        proposals = [refit_residues(objective, proposal) for proposal in proposals]
        proposals += starts.get(order, [])
        outcome = _run(objective, proposals, config, time, finish=order in wanted)
        steps[order] = outcome
        if order % 2 == 0:
            current = outcome.iterate
    return {order: steps[order] for order in wanted}


def scalar_h2(problem: Problem[SISOSystem]) -> list[Outcome[SISOSystem]]:
    """Return H²-optimal scalar systems at every order; see :func:`h2_method`."""
    full = problem.full
    config = problem.descent
    chain = tuple(sorted({*range(2, max(problem.orders) + 1, 2), *problem.orders}))
    balancing = _balancing_for_starts(problem)
    starts = {order: _starts(problem, balancing.truncate(order), order) for order in chain}
    if problem.weight is not None:
        plain = replace(problem, weight=None, orders=chain, fits_feedthrough=False)
        for order, outcome in zip(chain, scalar_h2(plain), strict=True):
            starts[order].append(Iterate.from_system(outcome.system))
    objective = problem.objective
    candidates = Candidates.of(objective, *ladder_of_exponents(full, problem.horizon))
    steps = optimize_path(
        objective, candidates, problem.orders, time=full.time, config=config, starts=starts
    )
    limit = _largest_mode(objective, Iterate.from_system(full), full.time)
    limit = limit.clamp_min(config.mode_energy_limit)
    outcomes: list[Outcome[SISOSystem]] = []
    for order in problem.orders:
        step = _tame(problem, steps[order], order, limit)
        system = _exact(problem, step, order)
        outcomes.append(Outcome(system, step.iterations, step.spread))
    return outcomes


def h2_method(problem: Problem[S]) -> list[Outcome[S]]:
    """Return H²-optimal systems at every order, never worse than BT in the problem's metric.

    A greedy global search places the poles, a descent polishes every addition; BT's own solution is
    among the starts at every order.  Banks of scalar systems go through
    :mod:`hydropress.reduction.search` and a damped Newton descent
    (:mod:`hydropress.reduction.descent`), with the unweighted optimum among the starts of a
    weighted problem; MIMO systems through :mod:`hydropress.reduction.mimo`.

    Close poles whose modes cancel each other are a poor start for fine-tuning.  Where a mode of a
    scalar system has more energy than ``mode_energy_limit`` allows, the optimum is left for a
    result below the limit that costs the least (``benchmarks/exhaustive.py`` prints how much energy
    is left).

    References
    ----------
    [sakamoto2025h2] for the problem; [meier1967], [wilson1970] for its optimality conditions;
    [golub2003varpro] for the elimination of the residues.
    """
    if isinstance(problem.full, SISOSystem):
        return cast(list[Outcome[S]], scalar_h2(cast(Problem[SISOSystem], problem)))
    return cast(list[Outcome[S]], mimo_h2(cast(Problem[MIMOSystem], problem)))
