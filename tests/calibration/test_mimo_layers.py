"""Networks of S5 and LRU layers through the whole of a compression."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.mimo_layers import MIMOLayerReducer
from hydropress.calibration.network import NetworkReducer
from hydropress.calibration.plan import Plan
from hydropress.calibration.reducers import reducer_of
from hydropress.calibration.sensitivity import output_gradients
from hydropress.calibration.signals import capture_inputs
from hydropress.compress import Compression, compress, compress_path
from hydropress.evaluation.metrics import count_ssm_parameters
from hydropress.models.adapters.protocol import LinearPart, Tap
from hydropress.models.classifier import SequenceClassifier
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.models.s5 import S5
from hydropress.reduction.reduce import reduce
from layers import own_layers
from mimo_layers import recur, relative_error
from tiny import tiny_model

CHANNELS, STATES, ORDER, LENGTH, CALIBRATION = 4, 12, 4, 32, 20
NAMES = ("blocks.0.ssm", "blocks.1.ssm")
SETTINGS = CalibratedSettings(search_iterations=2)

all_layers = pytest.mark.parametrize(
    ("kind", "bidirectional"), [("s5", False), ("s5", True), ("lru", False), ("lru", True)]
)
direct_methods = pytest.mark.parametrize("method", ["balanced", "modal", "last", "aire"])


def sequences(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 0.2 * torch.randn(count, LENGTH, 1, generator=generator).cumsum(1)


@lru_cache
def model(kind: str = "s5", bidirectional: bool = False) -> SequenceClassifier:
    return tiny_model(
        3, layer=kind, bidirectional=bidirectional, state_size=STATES, channels=CHANNELS
    )


@lru_cache
def compressed(
    kind: str = "s5",
    bidirectional: bool = False,
    method: str = "h2",
    *,
    data: bool = True,
    order: int = ORDER,
    allocation: str = "uniform",
) -> Compression:
    return compress(
        model(kind, bidirectional),
        order=order,
        method=method,
        calibration=sequences(CALIBRATION) if data else None,
        allocation=allocation,  # type: ignore[arg-type]
        settings=SETTINGS,
    )


def logits(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return network(inputs)


def layer_outputs(network: nn.Module, inputs: Tensor) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    handles = []
    for name in NAMES:

        def keep(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
            found[name] = output.double().numpy()

        handles.append(network.get_submodule(name).register_forward_hook(keep))
    logits(network, inputs)
    for handle in handles:
        handle.remove()
    return found


@all_layers
@pytest.mark.parametrize(("method", "data"), [("h2", True), ("modal", True), ("modal", False)])
def test_all_states_leave_the_outputs_as_they_are(kind, bidirectional, method, data):
    result = compressed(kind, bidirectional, method, data=data, order=STATES)
    inputs = sequences(8, 1)
    wanted = logits(model(kind, bidirectional), inputs)
    torch.testing.assert_close(logits(result.model, inputs), wanted, rtol=0, atol=1e-5)
    assert result.ratio == 1


@all_layers
def test_states_and_parameters_fall_by_the_ratio(kind, bidirectional):
    original, result = model(kind, bidirectional), compressed(kind, bidirectional)
    assert result.ratio == pytest.approx(ORDER / STATES)
    for name, layer in own_layers(result.model):
        assert isinstance(layer, ModalMIMOSSM)
        assert layer.num_states == ORDER * layer.directions
        assert name in NAMES
    directions = 1 + bidirectional
    # Each direction its own poles and B; D and the bias stay, one number a channel each.
    most = directions * ORDER // 2 * (2 + 4 * CHANNELS) + 2 * CHANNELS
    assert count_ssm_parameters(result.model) <= 2 * most
    assert count_ssm_parameters(result.model) < 0.6 * count_ssm_parameters(original)


@all_layers
def test_the_fit_errs_less_than_what_knows_no_data(kind, bidirectional):
    fresh = sequences(32, 1)
    wanted = layer_outputs(model(kind, bidirectional), fresh)
    errors = {}
    for method in ("h2", "balanced"):
        found = layer_outputs(compressed(kind, bidirectional, method).model, fresh)
        errors[method] = [relative_error(wanted[name], found[name]) for name in NAMES]
    assert np.mean(errors["h2"]) < 0.7 * np.mean(errors["balanced"])
    plain = logits(compressed(kind, bidirectional, "balanced", data=False).model, fresh)
    target = logits(model(kind, bidirectional), fresh)
    fitted = logits(compressed(kind, bidirectional).model, fresh)
    assert float((fitted - target).norm()) < 0.5 * float((plain - target).norm())


@all_layers
@pytest.mark.parametrize("method", ["h2", "balanced", "last"])
def test_reported_errors_are_those_of_the_layers_in_place(kind, bidirectional, method):
    result = compressed(kind, bidirectional, method)
    original = model(kind, bidirectional)
    inputs = sequences(CALIBRATION)
    if method == "h2":
        inputs = inputs[-SETTINGS.num_held_out(CALIBRATION) :]
    wanted, actual = layer_outputs(original, inputs), layer_outputs(result.model, inputs)
    for report in result.layers:
        assert report.output_error is not None
        assert report.output_error.shape == report.relative_h2_error.shape == (1 + bidirectional, 1)
        error = relative_error(wanted[report.name], actual[report.name])
        torch.testing.assert_close(
            report.output_error, torch.full_like(report.output_error, error), rtol=1e-3, atol=1e-6
        )
        assert sum(report.starts.values()) == (method == "h2")


@direct_methods
@pytest.mark.parametrize("bidirectional", [False, True])
def test_methods_that_fit_nothing_match_the_means(method, bidirectional):
    result = compressed("s5", bidirectional, method)
    for report in result.layers:
        expected = reduce(report.full, ORDER, method).system
        torch.testing.assert_close(
            report.reduced.impulse_response(30), expected.impulse_response(30)
        )
    inputs = sequences(CALIBRATION)
    wanted = layer_outputs(model("s5", bidirectional), inputs)
    actual = layer_outputs(result.model, inputs)
    for name in NAMES:
        shift = (wanted[name] - actual[name]).mean((0, 2)) / wanted[name].std((0, 2))
        assert np.abs(shift).max() < 1e-4


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
    result = compressed("lru", allocation="global", order=2)
    deviations = dict(result.plan.deviations)
    assert result.plan.budget <= 4
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


def reducer(name: str, layer: S5):
    part = LinearPart(layer.system(), layer.bias, layer.step_scale())
    return reducer_of(name, part, torch.float32, "balanced", SETTINGS)


def test_errors_of_a_path_are_those_of_one_direction_alone():
    network, name = model("s5", True), NAMES[1]
    layer = network.get_submodule(name)
    assert isinstance(layer, S5)
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
    assert isinstance(layer, S5)
    inputs = capture_inputs(network, layer, sequences(CALIBRATION))
    searched = reducer(name, layer).search((10,), None)
    assert isinstance(searched, MIMOLayerReducer)
    gradients = output_gradients(network, Tap(layer), sequences(CALIBRATION))
    found = searched.errors((10,), inputs, gradients)
    assert found.changes is not None
    replacement, _ = searched.reduce(torch.tensor([[10]]), searched.data(inputs, inputs))
    changed = NetworkReducer(network, "balanced", None, SETTINGS, lambda _: None).original
    setattr(changed.get_submodule("blocks.1"), "ssm", replacement)  # noqa: B010
    change = logits(changed, sequences(CALIBRATION)) - logits(network, sequences(CALIBRATION))
    wanted = float(change.double().var(0, correction=0).sum())
    assert float(found.changes[0, 0]) == pytest.approx(wanted, rel=0.05)


def test_a_layer_that_sees_nothing_is_no_trouble():
    silent = tiny_model(3, layer="s5", state_size=STATES, channels=CHANNELS)
    with torch.no_grad():
        for parameter in silent.encoder.parameters():
            parameter.zero_()
    result = compress(silent, order=ORDER, calibration=sequences(CALIBRATION), settings=SETTINGS)
    wanted = logits(silent, sequences(4, 1))
    torch.testing.assert_close(logits(result.model, sequences(4, 1)), wanted, rtol=0, atol=1e-4)


def test_what_was_reduced_is_reduced_again():
    once = compressed("s5", True, "balanced", order=6).model
    twice = compress(once, order=3, method="balanced")
    assert twice.ratio == 0.5
    assert bool(torch.isfinite(logits(twice.model, sequences(4, 1))).all())


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_report_shows_poles_channels_and_certificates(bidirectional):
    for method in ("h2", "balanced"):
        record = compressed("s5", bidirectional, method).to_dict()
        for layer in record["layers"]:
            assert (
                len(layer["relative_h2_error"]) == len(layer["output_error"]) == 1 + bidirectional
            )
            assert len(layer["poles_before"]) == STATES // 2 * (1 + bidirectional)
            assert len(layer["channels"]) == 3
            bound = layer["certificate"]["lower_bound"]["largest"]
            assert 0 <= bound <= max(layer["relative_h2_error"]) * (1 + 1e-6)


def test_paths_share_their_searches():
    path = compress_path(
        model(),
        (2, 3),
        calibration=sequences(CALIBRATION),
        allocation="uniform",
        settings=SETTINGS,
    )
    assert [one.plan.budget for one in path] == [4, 6]
