"""Networks reduced to orders that differ from channel to channel."""

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from torch import Tensor, nn

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.network import NetworkReducer
from hydropress.calibration.plan import LayerPlan, Plan, as_orders
from hydropress.calibration.planning import (
    global_plan,
    search_for_budgets,
    tolerance_plan,
    uniform_plan,
)
from hydropress.models.modal_ssm import ModalSSM
from hydropress.models.s4d import S4D
from hydropress.reduction.reduce import reduce
from layers import own_layers
from tiny import tiny_model

LENGTH = 40
ORDERS = (0, 1, 3, 4)
"""States of the four channels: none, odd ones, an even one."""

# The gradient method takes the way of all that only reduce, and takes its time.
all_methods = pytest.mark.parametrize("method", ["h2", "balanced", "modal"])
both_ways = pytest.mark.parametrize("bidirectional", [False, True])
with_and_without_data = pytest.mark.parametrize("data", [False, True], ids=["no data", "data"])


def sequences(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 0.2 * torch.randn(count, LENGTH, 1, generator=generator).cumsum(1)


def network(
    method: str = "h2", *, data: bool = True, bidirectional: bool = False
) -> NetworkReducer:
    model = tiny_model(5, bidirectional=bidirectional)
    calibration = sequences(16) if data else None
    return NetworkReducer(model, method, calibration, CalibratedSettings(), lambda _: None)


@lru_cache
def searched(method: str, data: bool, bidirectional: bool = False) -> NetworkReducer:
    found = network(method, data=data, bidirectional=bidirectional)
    found.search((1, 2, 3, 4))
    return found


def plan_of(reducer: NetworkReducer, orders: tuple[int, ...] = ORDERS) -> Plan:
    """Return a plan with these orders in every direction of every layer, reversed in backward."""
    layers = tuple(
        LayerPlan(name, as_orders(states), (orders, orders[::-1])[: len(states)])
        for name, states in reducer.states.items()
    )
    return Plan(layers, "global", "test", reducer.method, False, ())


@all_methods
@with_and_without_data
@both_ways
def test_every_system_has_the_states_of_the_plan(method, data, bidirectional):
    reducer = searched(method, data, bidirectional)
    plan = plan_of(reducer)
    model, reports = reducer.reduce(plan)
    for (name, layer), report in zip(own_layers(model), reports, strict=True):
        assert isinstance(layer, ModalSSM)
        order = layer.system().order
        assert bool((order <= plan[name].tensor()).all())
        if method != "modal":  # which has no half of a pair to keep
            assert torch.equal(order == 0, plan[name].tensor() == 0)
        assert torch.equal(order, report.reduced.order)
        # Nothing is padded: as many numbers as modes.
        assert len(layer.pair_row) * 2 + len(layer.real_row) == int(order.sum())
    with torch.no_grad():
        assert bool(torch.isfinite(model(sequences(4, 1))).all())


@all_methods
@both_ways
def test_every_channel_is_what_the_method_makes_of_it_alone(method, bidirectional):
    reducer = searched(method, False, bidirectional)
    plan = plan_of(reducer)
    _, reports = reducer.reduce(plan)
    for report in reports:
        kernels = report.reduced.impulse_response(60)
        for direction, row in enumerate(plan[report.name].orders):
            for channel, order in enumerate(row):
                kernel = kernels[direction, channel]
                if order == 0:
                    assert not bool(kernel.any())
                    continue
                alone = reduce(report.full, order, method).system[direction, channel]
                torch.testing.assert_close(kernel, alone.impulse_response(60), rtol=1e-6, atol=1e-8)
        assert torch.equal(report.reduced.D, report.full.D)


@both_ways
def test_fitted_channels_do_not_depend_on_their_neighbours_orders(bidirectional):
    # The first layer gets the same inputs whatever the plan.
    reducer = searched("h2", True, bidirectional)
    plan = plan_of(reducer)
    ragged = reducer.reduce(plan)[1][0]
    for channel in range(1, 4):
        alike = tuple(
            replace(one, orders=tuple((row[channel],) * 4 for row in one.orders))
            for one in plan.layers
        )
        uniform = reducer.reduce(replace(plan, layers=alike))[1][0]
        kernels = [
            report.reduced[:, channel].impulse_response(LENGTH) for report in (ragged, uniform)
        ]
        torch.testing.assert_close(*kernels, rtol=1e-3, atol=1e-5)
        ends = [report.reduced.D[:, channel] for report in (ragged, uniform)]
        torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-5)


def test_without_states_the_feedthrough_is_fitted():
    # Ordinary least squares of the output on the input and a constant, in plain numbers.
    reducer = searched("h2", True)
    report = reducer.reduce(plan_of(reducer, (0, 0, 0, 0)))[1][0]
    layer = reducer.original.get_submodule(report.name)
    kept: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kept.extend([*inputs, output])

    handle = layer.register_forward_hook(keep)
    with torch.no_grad():
        reducer.original(sequences(16)[:12])  # the last quarter is held out
    handle.remove()
    for channel in range(4):
        given, wanted = (signal[:, channel].double().flatten() for signal in kept)
        covariance = torch.cov(torch.stack([given, wanted]))
        expected = covariance[0, 1] / covariance[0, 0]
        scale = (covariance[1, 1] / covariance[0, 0]).sqrt()
        assert float((report.reduced.D[0, channel] - expected).abs() / scale) < 1e-4


@pytest.mark.parametrize("method", ["h2", "balanced"])
@both_ways
@with_and_without_data
def test_errors_fall_with_the_order_and_vanish_at_the_full_one(method, bidirectional, data):
    reducer = network(method, data=data, bidirectional=bidirectional)
    reducer.search((2, 4, 8))
    for found in reducer.errors().values():
        assert found.orders == (0, 2, 4, 8)
        relative = found.relative_error
        assert relative.shape == (8 if bidirectional else 4, 4)
        assert bool((relative[:, -1] == 0).all())
        assert bool((relative.mean(0).diff() < 0).all())
        assert (found.changes is None) == (not data)
        if found.changes is not None:
            assert float(found.changes[:, 0].sum()) > float(found.changes[:, 2].sum()) > 0


@pytest.mark.parametrize("method", ["h2", "balanced"])
def test_global_plans_spend_the_budget_and_deviate_less(method):
    reducer = network(method)
    search_for_budgets(reducer, (2,))
    uniform, spent = uniform_plan(reducer, 2, "order=2"), global_plan(reducer, 16, "order=2")
    assert uniform.budget == 16
    assert 14 <= spent.budget <= 16
    assert spent.allocation == "global"
    models = [reducer.reduce(plan)[0] for plan in (spent, uniform)]
    deviations = [reducer.deviation(model) for model in models]
    fresh = sequences(64, 1)
    with torch.no_grad():
        wanted = reducer.original(fresh)
        errors = [float((model(fresh) - wanted).square().mean()) for model in models]
    assert deviations[0] < deviations[1]
    assert errors[0] < errors[1]


def test_small_layers_get_no_more_than_they_have():
    model = tiny_model(5)
    model.blocks[1].ssm = S4D(4, 2)
    reducer = NetworkReducer(model, "balanced", sequences(16), CalibratedSettings(), lambda _: None)
    search_for_budgets(reducer, (4,))
    plan = global_plan(reducer, 30, "order=4")
    assert uniform_plan(reducer, 4, "order=4").budget == 4 * 4 + 4 * 2
    assert all(order <= 2 for row in plan["blocks.1.ssm"].orders for order in row)
    assert 28 <= plan.budget <= 30


@pytest.mark.parametrize("method", ["h2", "balanced"])
@with_and_without_data
def test_tolerance_is_met_by_the_smallest_orders(method, data):
    reducer = network(method, data=data)
    tolerance = 0.3
    plan = tolerance_plan(reducer, tolerance, "tolerance=0.3")
    for name, found in reducer.errors(changes=False).items():
        for row, order in zip(found.relative_error.tolist(), plan[name].orders[0], strict=True):
            fine = [error <= tolerance for error in row]
            assert found.orders[fine.index(True)] == order
    if not data:
        for report in reducer.reduce(plan)[1]:
            assert bool((report.relative_h2_error <= tolerance).all())
    loose = tolerance_plan(reducer, 10.0, "tolerance=10")
    assert loose.budget == 0
    # The first pair of S4D-Lin lies on the real axis: seven states are all there are.
    tight = tolerance_plan(reducer, 1e-300, "tolerance=0")
    assert 7 / 8 <= tight.ratio <= 1


def test_searches_are_shared():
    ticks: list[str] = []
    reducer = NetworkReducer(tiny_model(5), "modal", None, CalibratedSettings(), ticks.append)
    reducer.search((2, 4))
    reducer.search((4,))
    uniform_plan(reducer, 2, "order=2")
    assert len(ticks) == 2
    reducer.search((4, 3, 0))
    assert reducer.searches == [(2, 4), (3,)]
    reducer.errors()
    reducer.errors()
    assert len(ticks) == 6
