"""Plans for networks of S5 and LRU layers, and the errors that they follow from."""

import pytest
import torch

from hydropress.calibration.mimo_layers import MIMOLayerReducer
from hydropress.calibration.network import NetworkReducer
from hydropress.calibration.plan import Plan
from hydropress.calibration.reducers import reducer_of
from hydropress.calibration.sensitivity import output_gradients
from hydropress.calibration.signals import capture_inputs
from hydropress.compression.model import compress, compress_path
from hydropress.models.adapters.files import replace_module
from hydropress.models.adapters.protocol import LinearPart, Tap
from hydropress.models.mimo_layer import MIMOSSM
from mimo_layers import recur, relative_error
from mimo_networks import (
    CALIBRATION,
    NAMES,
    ORDER,
    SETTINGS,
    STATES,
    compressed,
    logits,
    model,
    sequences,
)

direct_methods = pytest.mark.parametrize("method", ["balanced", "modal", "last", "aire"])


@direct_methods
@pytest.mark.parametrize("data", [False, True])
def test_global_plans_spend_the_same_budget(method, data):
    result = compressed("lru", True, method, data=data, allocation="global")
    assert result.plan.budget <= ORDER * 4
    assert result.plan.budget >= ORDER * 4 - 4
    assert [len(row) for layer in result.plan.layers for row in layer.orders] == [1, 1, 1, 1]
    wanted = logits(model("lru", True), sequences(8, 1))
    assert bool(torch.isfinite(logits(result.model, sequences(8, 1)) - wanted).all())


def test_a_global_plan_of_the_fit_deviates_no_more_than_the_uniform_one():
    result = compressed("lru", allocation="global", order=1)
    deviations = dict(result.plan.deviations)
    assert result.plan.budget <= 2
    assert deviations[result.plan.allocation] == min(deviations.values())


def test_a_plan_is_carried_out_again_to_the_same_tensors():
    first = compressed("s5", True)
    plan = Plan.from_dict(first.plan.to_dict())
    again = compress(
        model("s5", True), plan=plan, calibration=sequences(CALIBRATION), settings=SETTINGS
    )
    mine, other = first.model.state_dict(), again.model.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[key], other[key]) for key in mine)


def test_a_tolerance_is_met_by_every_layer():
    result = compress(
        model("lru"),
        tolerance=0.3,
        method="balanced",
        calibration=sequences(CALIBRATION),
    )
    for report in result.layers:
        assert report.output_error is not None
        if report.name not in result.above_tolerance:
            assert float(report.output_error.max()) <= 0.3
    assert 0 < result.ratio < 1


def reducer(name: str, layer: MIMOSSM):
    part = LinearPart(layer.system(), layer.bias, layer.step_scale())
    return reducer_of(name, part, torch.float32, "balanced", SETTINGS)


def test_errors_of_a_path_are_those_of_one_direction_alone():
    network, name = model("s5", True), NAMES[1]
    layer = network.get_submodule(name)
    assert isinstance(layer, MIMOSSM)
    inputs = capture_inputs(network, layer, sequences(CALIBRATION))
    searched = reducer(name, layer).search((2, 4), None)
    assert isinstance(searched, MIMOLayerReducer)
    found = searched.errors((0, 2, 4, STATES), inputs, None)
    assert found.relative_error.shape == (2, 4)
    assert bool((found.relative_error[:, -1] == 0).all())
    full = layer.system()
    wanted = recur(full, inputs)
    for direction in range(2):
        kept = searched.reduced[2][direction]
        parts = [kept if row == direction else full[row] for row in range(2)]
        actual = sum(recur(_alone(part, row), inputs) for row, part in enumerate(parts))
        actual = actual + (wanted - actual).mean((0, 2))[:, None]
        error = relative_error(wanted, actual)
        assert float(found.relative_error[direction, 1]) == pytest.approx(error, rel=1e-3)


def _alone(system, row: int):
    """Return a layer in which only this direction has states."""
    both = system[None].reshape(1)[torch.tensor([0, 0])]
    off = torch.tensor([[1], [0]]) if row == 0 else torch.tensor([[0], [1]])
    return type(both)(
        both.exponents, both.B, both.C, both.states * off, both.D * off[:, :, None], "discrete"
    )


def test_changes_are_those_of_the_outputs_to_first_order():
    """The direction's states are all but kept, so that the change of the logits is small."""
    network, name = model("s5"), NAMES[1]
    layer = network.get_submodule(name)
    assert isinstance(layer, MIMOSSM)
    inputs = capture_inputs(network, layer, sequences(CALIBRATION))
    searched = reducer(name, layer).search((6,), None)
    assert isinstance(searched, MIMOLayerReducer)
    gradients = output_gradients(network, Tap(layer), sequences(CALIBRATION))
    found = searched.errors((6,), inputs, gradients)
    assert found.changes is not None
    replacement, _ = searched.reduce(torch.tensor([[6]]), searched.data(inputs, inputs))
    changed = NetworkReducer(network, "balanced", None, SETTINGS, lambda _: None).original
    changed = replace_module(changed, name, replacement)
    change = logits(changed, sequences(CALIBRATION)) - logits(network, sequences(CALIBRATION))
    wanted = float(change.double().var(0, correction=0).sum())
    assert float(found.changes[0, 0]) == pytest.approx(wanted, rel=0.05)


def test_paths_share_their_searches():
    path = compress_path(
        model(),
        (1, 2),
        calibration=sequences(CALIBRATION),
        allocation="uniform",
        settings=SETTINGS,
    )
    assert [one.plan.budget for one in path] == [2, 4]
