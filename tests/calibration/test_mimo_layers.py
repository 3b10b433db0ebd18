"""Networks of S5 and LRU layers through the whole of a compression."""

import numpy as np
import pytest
import torch

from hydropress.compression.model import compress
from hydropress.evaluation.metrics import count_ssm_parameters
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.reduction.reduce import reduce
from layers import own_layers
from mimo_layers import relative_error
from mimo_networks import (
    CALIBRATION,
    CHANNELS,
    NAMES,
    ORDER,
    SETTINGS,
    STATES,
    compressed,
    layer_outputs,
    logits,
    model,
    sequences,
)
from tiny import tiny_model

all_layers = pytest.mark.parametrize(
    ("kind", "bidirectional"), [("s5", False), ("s5", True), ("lru", True)]
)
direct_methods = pytest.mark.parametrize("method", ["balanced", "modal", "last", "aire"])


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


def test_a_layer_that_sees_nothing_is_no_trouble():
    silent = tiny_model(3, layer="s5", state_size=STATES, channels=CHANNELS)
    with torch.no_grad():
        for parameter in silent.encoder.parameters():
            parameter.zero_()
    result = compress(silent, order=2, calibration=sequences(CALIBRATION), settings=SETTINGS)
    wanted = logits(silent, sequences(4, 1))
    torch.testing.assert_close(logits(result.model, sequences(4, 1)), wanted, rtol=0, atol=1e-4)


def test_what_was_reduced_is_reduced_again():
    once = compressed("s5", True, "balanced", order=4).model
    twice = compress(once, order=2, method="balanced")
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
