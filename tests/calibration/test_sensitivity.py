"""What an error at a layer does to the network, against networks with that error put in."""

import pytest
import torch
from torch import Tensor, nn

from hydropress.calibration.sensitivity import (
    gradients_by_system,
    output_change,
    output_gradients,
)
from hydropress.calibration.signals import LayerSignals, capture_inputs, predict
from hydropress.models.adapters.protocol import Tap
from hydropress.models.classifier import SequenceClassifier
from hydropress.models.s4d import S4D
from tiny import tiny_model

LENGTH = 20
LAYERS = pytest.mark.parametrize("name", ["blocks.0.ssm", "blocks.1.ssm"])
SHIFT = 1e-5
"""Of an output, for central differences: in float64 their error is about SHIFT²."""


def sequences(count: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, LENGTH, 1, generator=generator, dtype=torch.float64)


def network(**changes: object) -> SequenceClassifier:
    return tiny_model(5, **changes).double()


def layer_of(model: nn.Module, name: str) -> S4D:
    layer = model.get_submodule(name)
    assert isinstance(layer, S4D)
    return layer


def outputs_with(model: nn.Module, layer: S4D, added: Tensor) -> Tensor:
    """Return the network's outputs with something added to those of a layer."""

    def add(_: nn.Module, __: object, output: Tensor) -> Tensor:
        return output + added

    handle = layer.register_forward_hook(add)
    with torch.no_grad():
        outputs = model(sequences())
    handle.remove()
    return outputs


def true_change(model: nn.Module, layer: S4D, error: Tensor) -> Tensor:
    """Return the derivative of the outputs in the direction of an error, ``(n, P)``."""
    raised, lowered = (outputs_with(model, layer, sign * SHIFT * error) for sign in (1, -1))
    return (raised - lowered) / (2 * SHIFT)


def variance(change: Tensor) -> float:
    """Return the variance over the first axis, summed over the others."""
    return float((change - change.mean(0)).square().mean(0).sum())


@LAYERS
def test_gradients_are_the_derivatives(name):
    model = network()
    layer = layer_of(model, name)
    gradients = output_gradients(model, Tap(layer), sequences())
    assert gradients.shape == (10, 5, 4, LENGTH)
    direction = torch.randn(5, 4, LENGTH, dtype=torch.float64)
    predicted = (gradients * direction).sum((-1, -2)).T
    torch.testing.assert_close(predicted, true_change(model, layer, direction), rtol=1e-6, atol=0)


@LAYERS
@pytest.mark.parametrize("bidirectional", [False, True])
def test_change_is_that_of_each_system_alone(name, bidirectional):
    model = network(bidirectional=bidirectional)
    layer = layer_of(model, name)
    inputs = capture_inputs(model, layer, sequences())
    signals = LayerSignals.of(layer.system(), inputs, inputs)
    gradients = gradients_by_system(
        output_gradients(model, Tap(layer), sequences()), layer.directions
    )
    # Every system loses half of its kernel: its error, in its own direction of time.
    halves = -layer.kernel(LENGTH).detach().flatten(0, 1) / 2
    errors = predict(signals, halves, torch.zeros(len(halves), dtype=torch.float64))
    changes = output_change(gradients, errors)
    assert changes.shape == (4 * layer.directions,)
    for system, change in enumerate(changes.tolist()):
        channel, backward = system % 4, system >= 4
        error = torch.zeros(5, 4, LENGTH, dtype=torch.float64)
        error[:, channel] = errors[system].flip(-1) if backward else errors[system]
        assert change == pytest.approx(variance(true_change(model, layer, error)), rel=1e-6)


def test_errors_add_up_when_the_layer_itself_is_changed():
    # The same without hooks: the parameters of a layer are moved, in both directions of time.
    model = network(bidirectional=True)
    layer = layer_of(model, "blocks.0.ssm")
    gradients = output_gradients(model, Tap(layer), sequences())
    with torch.no_grad():
        before = model(sequences())
        output = layer(capture_inputs(model, layer, sequences()))
        layer.get_parameter("C").mul_(1 + SHIFT)
        error = layer(capture_inputs(model, layer, sequences())) - output
        after = model(sequences())
    predicted = (gradients * error).sum((-1, -2)).T
    torch.testing.assert_close(predicted, after - before, rtol=1e-3, atol=1e-12)


def test_a_constant_change_does_not_count():
    gradients = torch.ones(3, 2, 4, 6)
    errors = torch.ones(2, 4, 6)
    assert output_change(gradients, errors).tolist() == [0.0, 0.0]
    errors[1, 0] = 2.0  # sums over time 12, 6, 6, 6: variance 6.75, of 3 outputs
    assert output_change(gradients, errors).tolist() == [0.0, 3 * 6.75]


def test_many_outputs_are_probed_without_bias():
    model = network(num_classes=40)
    layer = layer_of(model, "blocks.1.ssm")
    gradients = output_gradients(model, Tap(layer), sequences())
    assert gradients.shape == (16, 5, 4, LENGTH)
    torch.manual_seed(0)
    ratios = []
    for _ in range(50):
        with torch.no_grad():
            model.decoder.weight.normal_()
        error = torch.randn(5, 4, LENGTH, dtype=torch.float64)
        probed = (output_gradients(model, Tap(layer), sequences()) * error).sum((-1, -2))
        change = true_change(model, layer, error)
        ratios.append(float(probed.square().sum() / change.square().sum()))
    # One ratio has a standard deviation of √(2 / 16) at most, their mean a seventh of it.
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=4 * (2 / 16 / 50) ** 0.5)


def test_the_model_is_left_as_it_was():
    model = network()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    layer = layer_of(model, "blocks.0.ssm")
    frozen = output_gradients(model, Tap(layer), sequences())
    assert float(frozen.abs().max()) > 0
    assert not layer._forward_hooks
    assert all(parameter.grad is None for parameter in model.parameters())
