"""H²-optimal reduction: global search for poles, greedy, each step polished by descent."""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from hydropress.reduction.balancing import Balancing
from hydropress.reduction.descent import Descended, DescentConfig, unmoved
from hydropress.reduction.irka import irka_solutions
from hydropress.reduction.iterate import Iterate, empty_iterate, stack_iterates
from hydropress.reduction.mimo import mimo_h2
from hydropress.reduction.multistart import Contenders, finish, screen
from hydropress.reduction.objective import Objective
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.residues import refit_residues
from hydropress.reduction.result import Outcome
from hydropress.reduction.search import (
    Candidates,
    best_couples,
    best_pairs,
    best_real,
    ladder_of_exponents,
)
from hydropress.reduction.taming import tame
from hydropress.systems.assembly import where
from hydropress.systems.modal import MIMOSystem, SISOSystem
from hydropress.systems.moments import Time
from hydropress.systems.norms import h2_error

IRKA_STEPS = 40

FIRST_PROPOSALS, PROPOSALS = (4, 3), (3, 1)
"""Pairs and couples of real poles that are tried at order 2 and beyond."""

NOTHING = 1e-10
"""Squared relative error of which the closed form has lost half its digits or more."""


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


def _exact(problem: Problem[SISOSystem], found: Descended, order: int) -> SISOSystem:
    """Return the systems; where next to nothing is left of the error, BT's if they are closer.

    A system that is not minimal is reduced exactly by BT, and an error below rounding in the
    optimiser's formulas tells nothing.
    """
    full = problem.full
    system = found.iterate.to_system(full.D, full.time)
    index = torch.nonzero(found.error < NOTHING)[:, 0]
    if len(index) == 0 or problem.weight is not None or problem.fits_feedthrough:
        return system
    part = full[index]
    balanced = Balancing.of(part, problem.horizon).truncate(order)
    closer = torch.zeros_like(found.error, dtype=torch.bool)
    closer[index] = h2_error(part, balanced, horizon=problem.horizon) < h2_error(
        part, system[index], horizon=problem.horizon
    )
    if not bool(closer.any()):
        return system
    spread = torch.zeros_like(found.iterations)
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
) -> dict[int, tuple[Descended, Tensor]]:
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
        From order to what was found, and the spread of relative errors over the starts, ``(K,)``.
    """
    wanted = sorted(set(orders))
    chain = list(range(2, max(wanted) + 1, 2))
    systems = torch.arange(objective.num_systems, device=objective.energy.device)
    base = Contenders(systems, unmoved(empty_iterate(len(systems), systems.device)))
    found: dict[int, tuple[Descended, Tensor]] = {}
    for order in sorted({*chain, *wanted}):
        grown = _grown(objective, base, candidates, order, config, time)
        proposals = [*grown, *starts.get(order, [])]
        rows = [base.systems] * len(grown) + [systems] * len(starts.get(order, []))
        contenders, worst = screen(
            objective, torch.cat(rows), stack_iterates(proposals), config, time
        )
        if order in wanted:
            best = finish(objective, contenders, config, time)
            found[order] = best, worst - best.error.clamp_min(0).sqrt()
        if order % 2 == 0:
            base = contenders
    return found


def _grown(
    objective: Objective,
    base: Contenders,
    candidates: Candidates,
    order: int,
    config: DescentConfig,
    time: Time,
) -> list[Iterate]:
    """Return the contenders of the order below with the best candidates added."""
    part, tried = objective.select(base.systems), candidates.select(base.systems)
    iterate, two = base.found.iterate, torch.full_like(base.systems, 2)[:, None]
    one = torch.ones_like(two)
    if order % 2:
        grown = [iterate.append(best_real(part, iterate, tried), one)]
    else:
        # The first pair decides the most and costs the least: more starts than later.
        pairs, couples = FIRST_PROPOSALS if order == 2 else PROPOSALS
        grown = [
            iterate.append(pair[:, None], two) for pair in best_pairs(part, iterate, tried, pairs)
        ]
        grown += [
            iterate.append(couple, one.expand(-1, 2))
            for couple in best_couples(part, iterate, tried)[:couples]
        ]
    penalty = config.energy_penalty
    return [refit_residues(part, start, penalty=penalty, time=time) for start in grown]


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
    found = optimize_path(
        objective, candidates, problem.orders, time=full.time, config=config, starts=starts
    )
    outcomes: list[Outcome[SISOSystem]] = []
    for order in problem.orders:
        best, spread = found[order]
        best = tame(problem, best, order)
        outcomes.append(Outcome(_exact(problem, best, order), best.iterations, spread))
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
