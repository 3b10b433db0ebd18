"""H²-optimal reduction: global search for poles, greedy, each step polished by descent."""

import math
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from hydropress.reduction.descent import DescentConfig, descend, mode_energies, refit_residues
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
from hydropress.systems.modal import MIMOSystem, SISOSystem
from hydropress.systems.moments import Time

SCREENING_STEPS, FINALISTS, CLOSE = 8, 3, 1.3
"""Eight Newton steps tell most basins apart: of several starts the best is finished, and two more
if their squared errors are within this factor."""

PENALTIES = tuple(10.0**power for power in range(-10, -1))
"""Energy penalties tried, the least first, on a result whose modes cancel each other too much."""

NEAR_ZERO = 3.0
"""Decay per sample beyond which a real pole, |a| < 0.05, is tried on the other side of zero too."""


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

    def improve(self, index: Tensor, tried: "Step") -> "Step":
        """Return a copy in which the systems at ``index`` are those of ``tried`` if better."""
        better = tried.error < self.error[index]
        where, chosen = index[better], tried.select(torch.nonzero(better)[:, 0])
        if len(where) == 0:
            return self
        return Step(
            self.iterate.scatter(where, chosen.iterate).compact(),
            self.error.index_copy(0, where, chosen.error),
            self.stationarity.index_copy(0, where, chosen.stationarity),
            self.iterations.index_copy(0, where, chosen.iterations),
            self.spread,
        )


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
    steps = config.max_iterations
    few = SCREENING_STEPS if steps is None else min(SCREENING_STEPS, steps)
    screening = replace(config, max_iterations=few)
    tried = _descend(
        objective.select(systems.repeat(len(starts))), stack_iterates(starts), screening, time
    )
    errors = tried.error.reshape(len(starts), -1)
    ranks = errors.argsort(0)
    outcome = tried.select(ranks[0] * len(systems) + systems)
    if finish:
        close = (errors.gather(0, ranks) <= CLOSE * outcome.error)[:FINALISTS]
        close[0] = True
        place, system = torch.nonzero(close, as_tuple=True)
        contenders = tried.select(ranks[place, system] * len(systems) + system)
        finished = _descend(objective.select(system), contenders.iterate, config, time)
        outcome = finished.select(systems)
        for later in range(1, len(close)):
            part = torch.nonzero(place == later)[:, 0]
            outcome = outcome.improve(system[part], finished.select(part))
    finite = torch.where(torch.isfinite(errors), errors, outcome.error).amax(0)
    spread = finite.clamp_min(0).sqrt() - outcome.error.clamp_min(0).sqrt()
    return replace(outcome, spread=spread)


def _split_near_axis(iterate: Iterate, time: Time) -> tuple[Iterate, Tensor]:
    """Replace each system's pair that is nearest the real axis by two real poles.

    Returns
    -------
    iterate, eligible
        The second says in which systems there was a pair with a frequency below its decay.
    """
    decay = iterate.log_decay.exp()
    frequency = iterate.frequency.abs()
    at_boundary = torch.zeros_like(frequency, dtype=torch.bool)
    if time == "discrete":
        frequency = torch.remainder(frequency, 2 * math.pi)
        frequency = torch.minimum(frequency, 2 * math.pi - frequency)
        at_boundary = frequency > math.pi / 2
        frequency = torch.where(at_boundary, math.pi - frequency, frequency)
    ratio = torch.where(iterate.states == 2, frequency / decay, torch.inf)
    nearest = ratio.argmin(1, keepdim=True)
    eligible = ratio.gather(1, nearest)[:, 0] < 1
    chosen = torch.zeros_like(iterate.states, dtype=torch.bool).scatter(1, nearest, True)
    axis = math.pi * at_boundary.to(torch.float64)
    first = Iterate(
        torch.where(chosen, iterate.log_decay - 0.5, iterate.log_decay),
        torch.where(chosen, axis, iterate.frequency),
        torch.where(chosen, torch.zeros_like(iterate.residues), iterate.residues),
        torch.where(chosen, 1, iterate.states),
        iterate.D,
    )
    second = torch.complex(-decay.gather(1, nearest) * math.exp(0.5), axis.gather(1, nearest))
    return first.append(second, torch.ones_like(nearest)), eligible


def _cross_zero(iterate: Iterate, time: Time) -> tuple[Iterate, Tensor]:
    """Give real poles close to zero the other sign, which the coordinates cannot do.

    Returns
    -------
    iterate, eligible
        The second says which systems have such a pole; in continuous time none has.
    """
    near_zero = (iterate.states == 1) & (iterate.log_decay > math.log(NEAR_ZERO))
    if time == "continuous":
        near_zero = torch.zeros_like(near_zero)
    mirrored = torch.where(near_zero, math.pi - iterate.frequency.abs(), iterate.frequency)
    slower = torch.where(near_zero, math.log(NEAR_ZERO), iterate.log_decay)
    return replace(iterate, frequency=mirrored, log_decay=slower), near_zero.any(1)


def _largest_mode(objective: Objective, iterate: Iterate, time: Time) -> Tensor:
    return mode_energies(iterate, objective.energy, time, objective.horizon)[0].amax(1)


def _tame(
    objective: Objective,
    outcome: Step,
    balanced: Iterate,
    limit: Tensor,
    config: DescentConfig,
    time: Time,
) -> Step:
    """Give up as little error as it takes to bring the energy of every mode below a limit.

    Parameters
    ----------
    balanced
        BT's solutions: the result is not worse than they are, and where they exceed the limit they
        are the limit.
    limit
        Over ‖k‖², shape ``(K,)``.
    """
    limit = torch.maximum(limit, _largest_mode(objective, balanced, time))
    index = torch.nonzero(_largest_mode(objective, outcome.iterate, time) > limit)[:, 0]
    if len(index) == 0:
        return outcome
    pending, current = index, outcome.select(index)
    tamed = replace(current, error=torch.full_like(current.error, torch.inf))
    places = torch.arange(len(index), device=index.device)
    for penalty in PENALTIES:
        if len(pending) == 0:
            break
        part = objective.select(pending)
        settings = replace(config, energy_penalty=max(penalty, config.energy_penalty))
        found = _descend(part, current.iterate, settings, time)
        found = replace(found, iterations=found.iterations + current.iterations)
        within = _largest_mode(part, found.iterate, time) <= limit[pending]
        tamed = tamed.improve(places[within], found.select(within))
        pending, places, current = pending[~within], places[~within], found.select(~within)
    unmoved = replace(config, max_iterations=0)
    bt = _descend(objective.select(index), balanced.select(index), unmoved, time)
    tamed = tamed.improve(torch.arange(len(index), device=index.device), bt)
    below = torch.isfinite(tamed.error)
    given_up = outcome.error.index_fill(0, index[below], torch.inf)
    return replace(outcome, error=given_up).improve(index[below], tamed.select(below))


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
    of signs at first, then two pairs and one couple), and from what the caller supplies; then pairs
    near the real axis are tried as two real poles, and real poles near zero with the other sign.
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
        for variant in (_split_near_axis, _cross_zero) if order in wanted else ():
            changed, eligible = variant(outcome.iterate, time)
            index = torch.nonzero(eligible)[:, 0]
            if len(index):
                part = objective.select(index)
                trial = refit_residues(part, changed.select(index))
                outcome = outcome.improve(index, _descend(part, trial, config, time))
        steps[order] = outcome
        if order % 2 == 0:
            current = outcome.iterate
    return {order: steps[order] for order in wanted}


def scalar_h2(problem: Problem[SISOSystem]) -> list[Outcome[SISOSystem]]:
    """Return H²-optimal scalar systems at every order; see :func:`h2_method`."""
    full = problem.full
    config = problem.descent
    chain = tuple(sorted({*range(2, max(problem.orders) + 1, 2), *problem.orders}))
    starts = {order: [Iterate.from_system(problem.balancing.truncate(order))] for order in chain}
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
        step = _tame(objective, steps[order], starts[order][0], limit, config, full.time)
        system = step.iterate.to_system(full.D, full.time)
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
