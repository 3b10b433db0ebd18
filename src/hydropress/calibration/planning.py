"""Plans for a network: uniform, of a total budget, of a tolerance."""

from collections.abc import Mapping

import torch
from torch import Tensor

from hydropress.calibration.allocation import orders_on_offer, spend
from hydropress.calibration.network import FIRST_LIMIT, NetworkReducer
from hydropress.calibration.path_errors import PathErrors
from hydropress.calibration.plan import LayerPlan, Plan, as_orders
from hydropress.reduction.layer_adaptive import layer_adaptive_orders
from hydropress.reduction.registry import get_scores


def _plan(network: NetworkReducer, orders: dict[str, Tensor], allocation: str, target: str) -> Plan:
    states = network.states
    layers = tuple(
        LayerPlan(name, as_orders(states[name]), as_orders(torch.minimum(chosen, states[name])))
        for name, chosen in orders.items()
    )
    calibrated = network.calibration is not None
    return Plan(layers, allocation, target, network.method, calibrated, tuple(network.searches))


def total_states(network: NetworkReducer) -> int:
    """Return the states of all systems of all layers."""
    return sum(int(states.sum()) for states in network.states.values())


def uniform_budget(network: NetworkReducer, order: int) -> int:
    """Return the states of all layers if every system has an order, or all it has."""
    return sum(int(states.clamp_max(order).sum()) for states in network.states.values())


def uniform_order(network: NetworkReducer, budget: int) -> int:
    """Return the largest order that a budget allows every system; 0 if it is less than one each."""
    orders = range(1, network.largest_order + 1)
    return max((order for order in orders if uniform_budget(network, order) <= budget), default=0)


def uniform_plan(network: NetworkReducer, order: int, target: str) -> Plan:
    """Return the plan that gives every system the same order, which is searched if need be."""
    network.search((order,))
    orders = {name: torch.full_like(states, order) for name, states in network.states.items()}
    return _plan(network, orders, "uniform", target)


def search_for_budgets(network: NetworkReducer, averages: tuple[int, ...]) -> None:
    """Search, together, the orders that plans of some average orders may use."""
    largest = network.largest_order
    network.search(
        tuple({order for average in averages for order in orders_on_offer(average, largest)})
    )


def global_plan(
    network: NetworkReducer, budget: int, target: str, orders: tuple[int, ...] | None = None
) -> Plan:
    """Return the plan that costs the network least among those of a total budget.

    The cost of an order is what it does to the outputs of the network
    (:func:`~hydropress.calibration.sensitivity.output_change`), added up over systems; without
    data, the squared relative H² error.  The budget is used up unless more states save nothing.

    Parameters
    ----------
    network
        With the orders on offer searched, see :func:`search_for_budgets`.
    budget
        States of all layers together.
    orders
        Those on offer, ascending; all that have been searched if not given.
    """
    errors = network.errors(orders)
    offered = tuple(sorted({order for found in errors.values() for order in found.orders}))
    costs: list[Tensor] = []
    for found in errors.values():
        cost = _costs(found)
        # A layer of small systems was searched to fewer orders: it has no use for more.
        wide = cost.new_full((len(cost), len(offered)), torch.inf)
        wide[:, [offered.index(order) for order in found.orders]] = cost
        costs.append(wide)
    chosen = spend(torch.cat(costs).cpu(), offered, budget).split([len(cost) for cost in costs])
    by_layer = {
        name: part.reshape(states.shape)
        for (name, states), part in zip(network.states.items(), chosen, strict=True)
    }
    return _plan(network, by_layer, "global", target)


def ranked_plan(network: NetworkReducer, budget: int, target: str) -> Plan:
    """Return the plan of a method that ranks the states of all layers by its own scores.

    For methods registered with scores, as ``last`` and ``aire`` are: the scores are normalised
    within each layer, and the budget goes to the highest wherever they are, see
    :mod:`hydropress.reduction.layer_adaptive`.  Neither data nor errors enter.

    Returns
    -------
    Plan
        Its orders are not searched yet.
    """
    scores = get_scores(network.method)
    assert scores is not None
    systems = network.systems
    found = layer_adaptive_orders(
        list(systems.values()), [scores(system) for system in systems.values()], budget
    )
    orders = {name: part.cpu() for name, part in zip(systems, found, strict=True)}
    return _plan(network, orders, "global", target)


def _costs(found: PathErrors) -> Tensor:
    return found.relative_error**2 if found.changes is None else found.changes


def predicted_loss(network: NetworkReducer, plan: Plan, orders: tuple[int, ...]) -> float:
    """Return what a plan is expected to change, as a share: 0 nothing, 1 everything.

    With data, the sum of what each system alone does to the variance of the network's outputs,
    over that variance; without, the mean squared relative H² error.

    Parameters
    ----------
    orders
        Of the ladder, searched; between them costs are interpolated, and a system loses nothing at
        its full order.

    Notes
    -----
    On the shipped model, cut by BT to the same order everywhere (32 calibration sequences), it was
    0.024, 0.052, 0.092, 0.18 and 0.22 at orders 24, 16, 8, 4 and 2 where the accuracy on 400
    images fell by 0.023, 0.065, 0.13, 0.26 and 0.39: to first order the share of the accuracy that
    is lost.
    """
    errors = network.errors(orders)
    total, count = 0.0, 0
    for layer in plan.layers:
        total += _layer_cost(errors, layer)
        count += layer.num_systems
    scale = float(count) if network.calibration is None else network.output_variance
    return total / max(scale, 1e-300)


def _layer_cost(errors: Mapping[str, PathErrors], layer: LayerPlan) -> float:
    found = errors[layer.name]
    full = torch.tensor(layer.full).flatten().double()
    grid = torch.tensor(found.orders).double().expand(len(full), -1)
    # One more column for the full order, at which nothing is lost.
    grid = torch.cat([torch.minimum(grid, full[:, None]), full[:, None]], 1)
    cost = torch.cat([_costs(found).cpu(), torch.zeros(len(full), 1, dtype=torch.float64)], 1)
    order = layer.tensor().flatten().double()[:, None]
    right = torch.searchsorted(grid, order).clamp(1, grid.shape[1] - 1)
    left = right - 1
    low, high = grid.gather(1, left), grid.gather(1, right)
    share = ((order - low) / (high - low).clamp_min(1)).clamp(0, 1)
    return float((cost.gather(1, left) * (1 - share) + cost.gather(1, right) * share).sum())


def ladder_for(network: NetworkReducer, average: int) -> tuple[int, ...]:
    """Search the ladder of orders that channels may need when they share an average.

    See :func:`~hydropress.calibration.allocation.orders_on_offer` for its end.
    """
    return network.search_up_to(min(4 * average, average + 16))


def tolerance_plan(network: NetworkReducer, tolerance: float, target: str) -> Plan:
    """Return the plan that gives each system the smallest order whose relative error is tolerated.

    Orders are tried up to 8, 16, 32, … until every system meets the tolerance: each up to 16, from
    there in steps of an eighth.  Errors are those on the original layers' inputs; see
    :meth:`~hydropress.calibration.network.NetworkReducer.reduce_within`.
    """
    largest, limit = network.largest_order, FIRST_LIMIT
    while True:
        network.search_up_to(limit)
        errors = network.errors(changes=False)
        if limit >= largest or all(
            bool((found.relative_error <= tolerance).any(1).all()) for found in errors.values()
        ):
            break
        limit *= 2
    by_layer: dict[str, Tensor] = {}
    for (name, states), found in zip(network.states.items(), errors.values(), strict=True):
        fine = found.relative_error.cpu() <= tolerance
        # The first that is fine; the full order always is.
        place = torch.where(fine.any(1), fine.long().argmax(1), len(found.orders) - 1)
        by_layer[name] = torch.tensor(found.orders)[place].reshape(states.shape)
    return _plan(network, by_layer, "tolerance", target)
