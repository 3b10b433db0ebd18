"""How a budget of states is spent: the orders that cost the network least."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError

SHARES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)
"""Orders on offer, in multiples of the average."""

BUDGETS_PER_DOUBLING = 8
"""Neighbours lie 9 % apart: less is hardly seen in a metric of a few hundred samples."""


def orders_on_offer(average: int, largest: int) -> tuple[int, ...]:
    """Return the orders that channels may be given when they have an average to share.

    Parameters
    ----------
    average
        States per channel.
    largest
        Order of the largest channel.

    Returns
    -------
    tuple of int
        Ascending, at least 1; 0 is always on offer.

    Notes
    -----
    The search for poles takes longer the larger its orders, so they end at average + 16.  On the
    shipped model, offered orders up to 24, less than 2 % of the channels took one above that at
    averages of 2 and 4, and 5 % at 8.
    """
    offered = {1, 2, largest, *(round(share * average) for share in SHARES)}
    limit = min(largest, average + 16)
    return tuple(sorted(order for order in offered if 1 <= order <= limit))


def order_ladder(limit: int) -> tuple[int, ...]:
    """Return the orders from 1 to a limit: each up to 16, from there in steps of an eighth."""
    orders = [1]
    while orders[-1] < limit:
        orders.append(min(limit, orders[-1] + max(1, orders[-1] // 8)))
    return tuple(orders)


def budget_ladder(total: int) -> tuple[int, ...]:
    """Return budgets from 1 state to all, eight to each doubling, ascending."""
    count = math.ceil(BUDGETS_PER_DOUBLING * math.log2(total)) + 1 if total > 0 else 0
    budgets = {round(total * 2 ** (-place / BUDGETS_PER_DOUBLING)) for place in range(count)}
    return tuple(sorted(budgets - {0}))


def spend(costs: Tensor, orders: Sequence[int], budget: int) -> Tensor:
    """Return the order of every system so that the costs add up to little within a budget.

    Every system moves along the lower convex hull of its costs; the steps of all systems are taken
    by what they save per state, the best first, as long as they fit.  Up to the first step that
    does not fit this is optimal for the states spent.  What is left then goes, again by savings per
    state, to any steps that fit, on the hull or not, until none is left that saves anything.

    Parameters
    ----------
    costs
        Of each system at each order, float64, shape ``(K, R)``; infinite where it is not allowed.
    orders
        R orders, ascending from 0.
    budget
        States for all systems together.

    Returns
    -------
    Tensor
        int64, shape ``(K,)``, at most ``budget`` in total.

    References
    ----------
    [shoham1988] for allocation along convex hulls.
    """
    if tuple(orders) != tuple(sorted(set(orders))) or not orders or orders[0] != 0:
        raise InvalidArgumentError(f"orders {tuple(orders)}; required: ascending from 0")
    if costs.ndim != 2 or costs.shape[1] != len(orders):
        raise InvalidArgumentError(
            f"costs of shape {tuple(costs.shape)}; required: (systems, {len(orders)}), one column "
            "an order"
        )
    if budget < 0:
        raise InvalidArgumentError(f"a budget of {budget} states; required: at least 0")
    steps = [
        (saving, system, start, end)
        for system, row in enumerate(costs.tolist())
        for saving, start, end in _hull(row, orders)
    ]
    # Equal savings are taken in the order of the systems: the same costs give the same plan.
    steps.sort(key=lambda step: (-step[0], step[1], step[2]))
    chosen = [0] * len(costs)
    left = budget
    for _, system, start, end in steps:
        # A system that was refused a step does not get the next one.
        if chosen[system] == start and end - start <= left:
            chosen[system] = end
            left -= end - start
    _fill(costs.tolist(), orders, chosen, left)
    return torch.tensor(chosen, dtype=torch.int64)


def _fill(
    costs: Sequence[Sequence[float]], orders: Sequence[int], chosen: list[int], left: int
) -> None:
    """Spend the rest of a budget in place, one best step after the other."""
    while left > 0:
        best, place = 0.0, None
        for system, row in enumerate(costs):
            now = row[orders.index(chosen[system])]
            for order, cost in zip(orders, row, strict=True):
                size = order - chosen[system]
                if 0 < size <= left and (now - cost) / size > best:
                    best, place = (now - cost) / size, (system, order)
        if place is None:
            return
        system, order = place
        left -= order - chosen[system]
        chosen[system] = order


def _hull(costs: Sequence[float], orders: Sequence[int]) -> list[tuple[float, int, int]]:
    """Return the steps down the lower convex hull: what each saves per state, from, to."""
    steps: list[tuple[float, int, int]] = []
    place = 0
    while True:
        best, target = 0.0, None
        for later in range(place + 1, len(orders)):
            drop = costs[place] - costs[later]
            saving = drop / (orders[later] - orders[place]) if math.isfinite(drop) else 0.0
            # Of equal slopes the shortest step: it fits more often.
            if saving > best:
                best, target = saving, later
        if target is None:
            return steps
        steps.append((best, orders[place], orders[target]))
        place = target
