"""Simulation of layers of several inputs and outputs, against recurrences sample by sample."""

import numpy as np
import pytest
import torch

from hydropress.calibration import mimo_signals
from hydropress.calibration.mimo_signals import (
    LayerModes,
    MIMOSignals,
    matching_bias,
    output_errors,
    respond,
)
from hydropress.errors import InvalidArgumentError
from mimo_layers import layer, noise, recur, relative_error
from tolerances import STREAM


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_layer_responds_as_its_recurrence(directions, dtype):
    system = layer(3, 4, 2, directions=directions)
    inputs = noise(4, 3, 75, mean=1.0).to(dtype)
    wanted = recur(system, inputs)
    found = respond(system, (0, 1)[:directions], inputs)
    assert found.dtype == dtype
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found.numpy() / scale, wanted / scale, rtol=0, atol=STREAM[dtype])


def test_empty_entries_and_turned_phases_make_no_difference():
    system = layer(2, 2, 1)
    inputs = noise(2, 2, 40)
    turned = torch.exp(1j * torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64))
    other = layer(2, 2, 1)
    other = mimo_signals.MIMOSystem(
        torch.nn.functional.pad(other.exponents, (1, 0), value=-1),
        torch.nn.functional.pad(other.B * turned[:, None], (0, 0, 1, 0), value=7),
        torch.nn.functional.pad(other.C / turned, (1, 0), value=7),
        torch.nn.functional.pad(other.states, (1, 0)),
        other.D,
        "discrete",
    )
    torch.testing.assert_close(respond(other, (0,), inputs), respond(system, (0,), inputs))


def test_parts_make_the_same_outputs(monkeypatch):
    system, inputs = layer(3, 4, directions=2), noise(7, 3, 50)
    whole = respond(system, (0, 1), inputs)
    monkeypatch.setattr(mimo_signals, "ENTRIES_AT_ONCE", 2 * 11 * 50)
    torch.testing.assert_close(respond(system, (0, 1), inputs), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("directions", [1, 2])
def test_the_adjoint_is_the_adjoint(directions):
    system = layer(3, 4, 1, directions=directions)
    modes = LayerModes.of(system, (0, 1)[:directions])
    inputs = noise(2, 3, 45).transpose(0, 1)
    states = modes.trajectories(inputs)
    sources = torch.randn(states.shape, dtype=torch.complex128)
    drive = torch.einsum("mh,hnl->mnl", modes.B, inputs.to(modes.B))
    left = (states.conj() * sources).sum()
    right = (drive.conj() * modes.adjoint(sources)).sum()
    torch.testing.assert_close(left, right)


def test_weights_and_outputs_are_inverse():
    modes = LayerModes.of(layer(3, 2, 2), (0,))
    torch.testing.assert_close(modes.outputs_of(modes.weights_of(modes.C)), modes.C)


def test_wanted_outputs_are_those_for_the_original_inputs():
    system = layer(3, 4, directions=2)
    original, present = noise(4, 3, 30, seed=1), noise(4, 3, 30, seed=2)
    signals = MIMOSignals.of(system, original, present)
    assert signals.inputs is present
    np.testing.assert_allclose(signals.outputs.numpy(), recur(system, original), atol=1e-10)


def test_errors_are_relative_to_all_outputs_or_to_each():
    full, other = layer(3, 4, seed=0), layer(3, 4, seed=1)
    inputs = noise(6, 3, 40)
    signals = MIMOSignals.of(full, inputs, inputs)
    bias = matching_bias(other, signals)
    actual = recur(other, inputs) + bias.numpy()[:, None]
    wanted = recur(full, inputs)
    np.testing.assert_allclose((actual - wanted).mean((0, 2)), 0, atol=1e-10)
    error, by_output = output_errors(other, bias, signals)
    assert error == pytest.approx(relative_error(wanted, actual), rel=1e-9)
    for p in range(3):
        alone = relative_error(wanted[:, p : p + 1], actual[:, p : p + 1])
        assert float(by_output[p]) == pytest.approx(alone, rel=1e-9)


def test_a_layer_has_as_many_outputs_as_inputs_and_one_system_a_direction():
    system = layer(3, 2, directions=2)
    inputs = noise(2, 3, 10)
    with pytest.raises(InvalidArgumentError, match="one system a direction"):
        MIMOSignals.of(system, inputs, inputs, (0,))
