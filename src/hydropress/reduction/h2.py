"""H²-optimal reduction: global search for poles, greedy, each step polished by descent."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from hydropress.reduction.balanced import balanced_system
from hydropress.reduction.balancing import Balancing
from hydropress.reduction.closest import closest, closest_of_small_errors
from hydropress.reduction.descent import Descended, DescentConfig
from hydropress.reduction.exchange import widened
from hydropress.reduction.free_feedthrough import (
    from_second_sample,
    with_best_feedthrough,
    with_first_sample,
)
from hydropress.reduction.grown import grown, with_best_real
from hydropress.reduction.irka import ITERATIONS, has_fixed_point, irka_solutions
from hydropress.reduction.iterate import Iterate, empty_iterate
from hydropress.reduction.mimo import mimo_h2
from hydropress.reduction.minimal import minimal
from hydropress.reduction.multistart import (
    Contenders,
    Width,
    finish,
    screen,
    width_of,
    width_of_tensors,
)
from hydropress.reduction.objective import ClosedFormObjective, Objective
from hydropress.reduction.order_two import search_order_two
from hydropress.reduction.problem import Problem, S, chain_of
from hydropress.reduction.residues import refit_residues
from hydropress.reduction.result import Outcome
from hydropress.reduction.scores import mode_energies
from hydropress.reduction.search import Candidates, ladder_of_exponents
from hydropress.reduction.taming import around_cancellation, tame
from hydropress.reduction.truncation import extreme_modes, keep_modes
from hydropress.systems.assembly import where
from hydropress.systems.modal import MIMOSystem, SISOSystem
from hydropress.systems.moments import Time

FEW, VERY_FEW, IRKA_STEPS = 64, 8, 20
"""Systems that are compared with what BT and IRKA find, those that cost little whatever is done
with them, and IRKA's steps on more than the former."""
SLACK = 0.01
"""What the search at order two leaves open.  Its best model is then much nearer and in the basin
of the optimum; with 0.03, one of 2,048 channels came from another basin (measured)."""


def _is_compared(problem: Problem[SISOSystem], order: int) -> bool:
    """Return whether BT and IRKA take part as the methods of these names run them.

    On a large bank they would take a third of the search's time or more, and at even orders they
    found nothing better; at odd ones, on 1 to 2 % of the systems (measured).
    """
    return len(problem.full.D) <= FEW or order % 2 == 1


def _balancing_for_starts(problem: Problem[SISOSystem]) -> Balancing[SISOSystem]:
    """Return BT's projections: a sketch where there is one and no more is needed."""
    if problem.horizon is None and not any(_is_compared(problem, one) for one in problem.orders):
        sketch = Balancing.sketch(problem.full, max(problem.orders))
        if bool(torch.isfinite(sketch.left).all()) and bool(torch.isfinite(sketch.right).all()):
            return sketch
    return problem.balancing


def _has_irka(problem: Problem[SISOSystem]) -> bool:
    return problem.weight is None and has_fixed_point(problem.full, problem.horizon)


def _rivals(problem: Problem[SISOSystem], order: int) -> list[SISOSystem]:
    """Return what the result must not be worse than: BT's systems and, unweighted, IRKA's."""
    if not _is_compared(problem, order):
        return []
    rivals = [balanced_system(problem, order)]
    if _has_irka(problem):
        found, _ = irka_solutions(problem.full, order, rivals[0], horizon=problem.horizon)
        rivals.append(with_best_feedthrough(problem, found))
    if problem.fits_feedthrough and problem.horizon is None:
        rivals.append(problem.balancing.residualize(order))
    return rivals


def _is_proven(problem: Problem[SISOSystem]) -> bool:
    """Return whether all models of order two can be searched: in the plain H² metric."""
    return problem.weight is None and problem.horizon is None and not problem.fits_feedthrough


def _starts(
    problem: Problem[SISOSystem], candidates: Candidates | None, rivals: dict[int, list[SISOSystem]]
) -> dict[int, list[Iterate]]:
    """Return starts by order: BT's solutions, the rivals and, in other metrics, the H² optima."""
    full, chain = problem.full, chain_of(problem.orders)
    balancing = _balancing_for_starts(problem)
    balanced = {order: with_best_feedthrough(problem, balancing.truncate(order)) for order in chain}
    systems = {order: [balanced[order], *rivals.get(order, [])] for order in chain}
    if _has_irka(problem):
        # At order 2 all models are searched.
        for order in problem.orders:
            if order > 2:
                begin: list[SISOSystem] = []
                if len(full.D) <= VERY_FEW:
                    energies = mode_energies(full, horizon=problem.horizon)
                    strongest = keep_modes(full, energies, order)
                    begin = [strongest, *extreme_modes(full, order)]
                elif not _is_compared(problem, order):
                    begin = systems[order][:1]
                steps = ITERATIONS if _is_compared(problem, order) else IRKA_STEPS
                systems[order] += [
                    irka_solutions(full, order, one, steps, horizon=problem.horizon)[0]
                    for one in begin
                ]
    grown: dict[int, Iterate] = {}
    if problem.weight is not None or problem.fits_feedthrough:
        below = {order - 1 for order in problem.orders if order > 1}
        optima = _optima(problem, full, tuple(sorted({*chain, *below})))
        for order in chain:
            systems[order].append(optima[order])
        # The last real pole, which may stand for what the first samples miss, in the metric itself.
        assert candidates is not None
        for order in problem.orders:
            if order > 1:
                base = _iterate_of(optima[order - 1], full)
                grown[order] = with_best_real(problem, candidates, base)
    if problem.fits_feedthrough and problem.horizon is None:
        for order, later in _optima(problem, from_second_sample(full), chain).items():
            systems[order].append(with_first_sample(later, full))
    starts = {order: [_iterate_of(one, full) for one in systems[order]] for order in chain}
    for order, iterate in grown.items():
        starts[order].append(iterate)
    if 2 in problem.orders and _is_proven(problem):
        starts[2].append(_best_of_order_two(problem))
    return starts


def _best_of_order_two(problem: Problem[SISOSystem]) -> Iterate:
    """Return the best model that a search of all has seen."""
    found = search_order_two(problem.full, problem.energy, SLACK)
    empty = empty_iterate(len(found.error), found.error.device)
    iterate = empty.append(found.exponents, found.states)
    return refit_residues(
        problem.objective,
        iterate,
        penalty=problem.descent.energy_penalty,
        time=problem.full.time,
    )


def _optima(
    problem: Problem[SISOSystem], full: SISOSystem, orders: tuple[int, ...]
) -> dict[int, SISOSystem]:
    """Return the optima of systems in the plain metric, by order."""
    plain = replace(problem, full=full, weight=None, orders=orders, fits_feedthrough=False)
    return {order: outcome.system for order, outcome in zip(orders, scalar_h2(plain), strict=True)}


def _iterate_of(system: SISOSystem, full: SISOSystem) -> Iterate:
    return replace(Iterate.from_system(system), D=system.D - full.D)


def optimize_path(
    objective: Objective,
    candidates: Candidates | None,
    orders: tuple[int, ...],
    *,
    time: Time,
    config: DescentConfig,
    starts: dict[int, list[Iterate]],
    widths: Callable[[int, list[int]], Width] | None = None,
) -> dict[int, tuple[Descended, Tensor]]:
    """Return the best reduced systems found at every order asked for.

    Orders grow two states at a time.  At each, the descent starts from the best few contenders of
    the order before plus the best candidates, pairs and couples of real poles, and from what the
    caller supplies; on the way poles may meet on the real axis and part again, and real poles are
    tried elsewhere on it.  Orders that are wanted have more starts where steps are compiled: from
    a randomised pursuit, and the contenders with one mode exchanged.
    Orders on the way that nobody wants are left after the first few steps.

    Parameters
    ----------
    objective
        K systems.
    candidates
        What the search tries; ``None`` where the starts supplied are all that is needed.
    orders
        Orders wanted; an odd one is reached by one more real pole.
    starts
        Further starts by order, for example BT's solution.
    widths
        From an order and those wanted to the width of the search there.

    Returns
    -------
    dict
        From order to what was found, and the spread of relative errors over the starts, ``(K,)``.
    """
    wanted = sorted(set(orders))
    systems = torch.arange(objective.num_systems, device=objective.energy.device)
    base = Contenders.of(systems, empty_iterate(len(systems), systems.device))
    is_compiled = isinstance(objective, ClosedFormObjective) and objective.bank is not None
    if widths is None:
        widths = width_of if is_compiled else width_of_tensors
    found: dict[int, tuple[Descended, Tensor]] = {}
    for order in chain_of(orders):
        width = widths(order, wanted)
        proposals = [Contenders.of(systems, one) for one in starts.get(order, [])]
        if candidates is not None:
            added = (0, 0) if order % 2 else (width.pairs, width.couples)
            proposals = [grown(objective, base, candidates, added, config, time), *proposals]
        start = proposals[0].join(*proposals[1:])
        contenders, worst = screen(objective, start, order, width, config, time)
        is_closed_form = isinstance(objective, ClosedFormObjective)
        if candidates is not None and is_closed_form and width.pursued and order % 2 == 0:
            contenders = widened(objective, contenders, candidates, order, width, config, time)
        if order in wanted:
            best = finish(objective, contenders, order, width, config, time)
            found[order] = best, worst - best.error.clamp_min(0).sqrt()
        if order % 2 == 0:
            base = contenders
    return found


def scalar_h2(problem: Problem[SISOSystem]) -> list[Outcome[SISOSystem]]:
    """Return H²-optimal scalar systems at every order; see :func:`h2_method`."""
    full = problem.full
    objective = problem.objective
    candidates = None
    if problem.orders != (2,) or not _is_proven(problem):
        candidates = Candidates.of(objective, *ladder_of_exponents(full, problem.horizon))
    rivals = {order: _rivals(problem, order) for order in problem.orders}
    found = optimize_path(
        objective,
        candidates,
        problem.orders,
        time=full.time,
        config=problem.descent,
        starts=_starts(problem, candidates, rivals),
    )
    outcomes: list[Outcome[SISOSystem]] = []
    for order in problem.orders:
        best, spread = found[order]
        best = tame(problem, around_cancellation(problem, best), order)
        system = closest(problem, best.iterate.to_system(full.D, full.time), rivals[order])
        system = closest_of_small_errors(problem, system, best.error, order)
        outcomes.append(Outcome(system, best.iterations, spread))
    return outcomes


def h2_method(problem: Problem[S]) -> list[Outcome[S]]:
    """Return H²-optimal systems at every order; BT's are among the starts.

    A global search places the poles, a descent polishes every addition.  At order two, scalar, in
    the plain H² metric, it is a branch and bound over all models
    (:mod:`hydropress.reduction.order_two`): none has an error smaller than the one found by more
    than 1 %, before the descent; ``lower_bound`` of the certificate is within 0.1 %.

    MIMO systems, and scalar ones in banks of up to 64 or at an odd order, are in the end compared
    with BT's and, if there is no weight, with IRKA's by errors in which nothing cancels
    (:mod:`hydropress.reduction.closest`): the result is never worse in the problem's metric.
    Larger banks at even orders start from BT's systems to four digits and, beyond order 2, from a
    few of IRKA's steps.

    Banks of scalar systems go through :mod:`hydropress.reduction.search` and a damped Newton
    descent (:mod:`hydropress.reduction.descent`), with the unweighted optimum among the starts of a
    weighted problem and that of the kernel from its second sample on among those with a free D;
    MIMO systems through :mod:`hydropress.reduction.mimo`.

    Close poles whose modes cancel each other are a poor start for fine-tuning.  Where a mode of a
    scalar system has more energy than ``mode_energy_limit`` allows, the optimum is left for a
    result below the limit that costs the least (``benchmarks/exhaustive.py`` prints how much energy
    is left).

    Equal poles are merged and silent modes left out before (:mod:`hydropress.reduction.minimal`): a
    system whose minimal order is no larger than the order asked for comes back at that, exactly.

    References
    ----------
    [sakamoto2025h2] for the problem; [meier1967], [wilson1970] for its optimality conditions;
    [golub2003varpro] for the elimination of the residues.
    """
    least = minimal(problem.full)
    posed = problem
    if least is not problem.full:
        # A system of no state is none that can be searched for.
        full = where(least.order == 0, problem.full, least)
        largest = int(full.order.max())
        orders = tuple(sorted({min(order, largest) for order in problem.orders}))
        posed = replace(problem, full=full, orders=orders)
    found = dict(zip(posed.orders, _search(posed), strict=True))
    outcomes: list[Outcome[S]] = []
    for order in problem.orders:
        outcome = found[min(order, posed.orders[-1])]
        system = where(least.order <= order, least, outcome.system)
        outcomes.append(replace(outcome, system=system, is_complete=True))
    return outcomes


def _search(problem: Problem[S]) -> list[Outcome[S]]:
    if isinstance(problem.full, SISOSystem):
        return cast(list[Outcome[S]], scalar_h2(cast(Problem[SISOSystem], problem)))
    return cast(list[Outcome[S]], mimo_h2(cast(Problem[MIMOSystem], problem)))
