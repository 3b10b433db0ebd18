"""Plans for a network: uniform, of a total budget, of a tolerance."""

import torch
from torch import Tensor

from hydropress.calibration.allocation import orders_on_offer, spend
from hydropress.calibration.network import NetworkReducer
from hydropress.calibration.plan import LayerPlan, Plan, as_orders

FIRST_LIMIT = 8
"""Orders searched at first for a tolerance; doubled until every system meets it."""


def largest_order(network: NetworkReducer) -> int:
    """Return the order of the network's largest system."""
    return max(int(states.max()) for states in network.states.values())


def _plan(network: NetworkReducer, orders: dict[str, Tensor], allocation: str, target: str) -> Plan:
    states = network.states
    layers = tuple(
        LayerPlan(name, as_orders(states[name]), as_orders(torch.minimum(chosen, states[name])))
        for name, chosen in orders.items()
    )
    calibrated = network.calibration is not None
    return Plan(layers, allocation, target, network.method, calibrated, tuple(network.searches))


def uniform_plan(network: NetworkReducer, order: int, target: str) -> Plan:
    """Return the plan that gives every system the same order, which is searched if need be."""
    network.search((order,))
    orders = {name: torch.full_like(states, order) for name, states in network.states.items()}
    return _plan(network, orders, "uniform", target)


def search_for_budgets(network: NetworkReducer, averages: tuple[int, ...]) -> None:
    """Search, together, the orders that plans of some average orders may use."""
    largest = largest_order(network)
    network.search(
        tuple({order for average in averages for order in orders_on_offer(average, largest)})
    )


def global_plan(network: NetworkReducer, budget: int, target: str) -> Plan:
    """Return the plan that costs the network least among those of a total budget.

    The cost of an order is what it does to the outputs of the network
    (:func:`~hydropress.calibration.sensitivity.output_change`), added up over systems; without
    data, the squared relative H² error.

    Parameters
    ----------
    network
        With the orders on offer searched, see :func:`search_for_budgets`.
    budget
        States of all layers together.
    """
    errors = network.errors()
    orders = tuple(sorted({order for found in errors.values() for order in found.orders}))
    costs: list[Tensor] = []
    for found in errors.values():
        cost = found.relative_error**2 if found.changes is None else found.changes
        # A layer of small systems was searched to fewer orders: it has no use for more.
        wide = cost.new_full((len(cost), len(orders)), torch.inf)
        wide[:, [orders.index(order) for order in found.orders]] = cost
        costs.append(wide)
    chosen = spend(torch.cat(costs).cpu(), orders, budget).split([len(cost) for cost in costs])
    by_layer = {
        name: part.reshape(states.shape)
        for (name, states), part in zip(network.states.items(), chosen, strict=True)
    }
    return _plan(network, by_layer, "global", target)


def tolerance_plan(network: NetworkReducer, tolerance: float, target: str) -> Plan:
    """Return the plan that gives each system the smallest order whose relative error is tolerated.

    Orders are tried up to 8, 16, 32, … until every system meets the tolerance: each up to 16, from
    there in steps of an eighth.
    """
    largest, limit = largest_order(network), FIRST_LIMIT
    while True:
        limit = min(limit, largest)
        network.search(_ladder(limit))
        errors = network.errors(changes=False)
        if limit == largest or all(
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


def _ladder(limit: int) -> tuple[int, ...]:
    orders = [1]
    while orders[-1] < limit:
        orders.append(min(limit, orders[-1] + max(1, orders[-1] // 8)))
    return tuple(orders)
