"""H²-optimal reduction: global search for poles, greedy, each step polished by descent."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.reduction.balanced import balanced_truncations
from hydropress.reduction.descent import DescentConfig, descend, refit_residues
from hydropress.reduction.iterate import Iterate, empty_iterate, stack_iterates
from hydropress.reduction.objective import Objective
from hydropress.reduction.problem import Problem
from hydropress.reduction.result import Outcome
from hydropress.reduction.search import (
    Candidates,
    best_pairs,
    best_real,
    best_real_pair,
    ladder_of_exponents,
)
from hydropress.systems.moments import Time


SCREENING_STEPS, FINALISTS = 8, 2
"""Eight Newton steps tell the basins apart; of five starts rarely more than two end close."""


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


def _choose(descents: list[Step]) -> Step:
    """Take the best of several outcomes, system by system."""
    best = descents[0]
    for other in descents[1:]:
        better = other.error < best.error
        best = Step(
            other.iterate.where(better, best.iterate),
            torch.where(better, other.error, best.error),
            torch.where(better, other.stationarity, best.stationarity),
            torch.where(better, other.iterations, best.iterations),
            best.spread,
        )
    return best


def _descend_all(
    objective: Objective, starts: list[Iterate], config: DescentConfig, time: Time
) -> list[Step]:
    """Descend from several starts at once, as one batch."""
    K, device = objective.num_systems, objective.energy.device
    repeated = objective.select(torch.arange(K, device=device).repeat(len(starts)))
    result = descend(repeated, stack_iterates(starts), config, time=time)
    steps: list[Step] = []
    for i in range(len(starts)):
        part = torch.arange(i * K, (i + 1) * K, device=device)
        steps.append(
            Step(
                result.iterate.select(part),
                result.error[part],
                result.stationarity[part],
                result.iterations[part],
                torch.zeros(K, dtype=torch.float64, device=device),
            )
        )
    return steps


def _run(
    objective: Objective, starts: list[Iterate], config: DescentConfig, time: Time
) -> Step:
    """Try every start for a few steps, finish the most promising two, return the best."""
    screening = replace(config, max_iterations=min(SCREENING_STEPS, config.max_iterations))
    tried = _descend_all(objective, starts, screening, time)
    errors = torch.stack([step.error for step in tried])
    ranks = errors.argsort(0)
    finalists: list[Iterate] = []
    for place in range(min(FINALISTS, len(tried))):
        finalist = tried[0].iterate
        for i, step in enumerate(tried[1:], start=1):
            finalist = step.iterate.where(ranks[place] == i, finalist)
        finalists.append(finalist.compact())
    finished = _descend_all(objective, finalists, config, time)
    outcome = _choose(finished)
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
    optimum plus the best candidates (three pairs and two real poles at first, then two and one
    combination), and from what the caller supplies; then pairs near the real axis are tried as two
    real poles.

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
            count = 3 if order == 2 else 2
            two = torch.full((objective.num_systems, 1), 2, device=device)
            pairs = best_pairs(objective, base, candidates, count)
            proposals = [base.append(pair[:, None], two) for pair in pairs]
            reals = best_real_pair(objective, base, candidates)
            proposals.append(base.append(reals, torch.ones_like(reals, dtype=torch.int64)))
        proposals = [refit_residues(objective, proposal) for proposal in proposals]
        outcome = _run(objective, proposals + starts.get(order, []), config, time)
        split, eligible = _split_near_axis(outcome.iterate, time)
        if bool(eligible.any()):
            index = torch.nonzero(eligible)[:, 0]
            part = objective.select(index)
            trial = refit_residues(part, split.select(index))
            tried = _descend_all(part, [trial], config, time)[0]
            outcome = _replace_better(outcome, index, tried)
        steps[order] = outcome
        if order % 2 == 0:
            current = outcome.iterate
    return {order: steps[order] for order in wanted}


def _replace_better(outcome: Step, index: Tensor, tried: Step) -> Step:
    better = tried.error < outcome.error[index]
    where = index[better]
    if len(where) == 0:
        return outcome
    error, stationarity = outcome.error.clone(), outcome.stationarity.clone()
    iterations = outcome.iterations.clone()
    error[where] = tried.error[better]
    stationarity[where] = tried.stationarity[better]
    iterations[where] = tried.iterations[better]
    iterate = outcome.iterate.scatter(where, tried.iterate.select(better)).compact()
    return Step(iterate, error, stationarity, iterations, outcome.spread)


def h2_method(problem: Problem) -> list[Outcome]:
    """Return H²-optimal systems at every order, never worse than BT in the problem's metric.

    A greedy global search places the poles (:mod:`hydropress.reduction.search`), a damped Newton
    descent polishes every addition (:mod:`hydropress.reduction.descent`); BT's own solution is
    among the starts at every order, and so is the unweighted optimum of a weighted problem.

    References
    ----------
    [sakamoto2025h2] for the problem; [meier1967], [wilson1970] for its optimality conditions;
    [golub2003varpro] for the elimination of the residues.
    """
    full = problem.full
    config = problem.descent
    chain = tuple(sorted({*range(2, max(problem.orders) + 1, 2), *problem.orders}))
    starts: dict[int, list[Iterate]] = {}
    if problem.horizon is None:
        balanced, _ = balanced_truncations(full, chain)
        starts = {
            order: [Iterate.from_system(system)]
            for order, system in zip(chain, balanced, strict=True)
        }
    if problem.weight is not None:
        plain = replace(problem, weight=None, orders=chain, fits_feedthrough=False)
        for order, outcome in zip(chain, h2_method(plain), strict=True):
            starts.setdefault(order, []).append(Iterate.from_system(outcome.system))
    objective = problem.objective()
    candidates = Candidates.of(objective, *ladder_of_exponents(full))
    steps = optimize_path(
        objective, candidates, problem.orders, time=full.time, config=config, starts=starts
    )
    return [
        Outcome(
            steps[order].iterate.to_system(full.D, full.time),
            steps[order].iterations,
            steps[order].spread,
        )
        for order in problem.orders
    ]
