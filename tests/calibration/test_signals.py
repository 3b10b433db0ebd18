"""What a layer sees and what it should return."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hydropress.calibration.signals import (
    LayerSignals,
    capture_inputs,
    input_spectra,
    predict,
    window_statistics,
)
from hydropress.models.s4d import S4D
from tiny import tiny_model


def smooth(*shape: int) -> Tensor:
    """Draw sequences along the last axis with slow drifts and a mean."""
    return 0.5 + 0.2 * torch.randn(*shape).cumsum(-1)


def both_ways(rows: Tensor, channels: int) -> Tensor:
    """Return the sum over directions, ``(n, H, L)``, of one row per system."""
    total = rows[:channels]
    if len(rows) > channels:
        total = total + rows[channels:].flip(-1)
    return total.transpose(0, 1)


@pytest.mark.parametrize("count", [5, 70])
def test_captured_inputs_are_what_the_layer_gets(count):
    model = tiny_model()
    sequences = smooth(count, 1, 12).mT
    seen: list[Tensor] = []
    layer = model.get_submodule("blocks.1.ssm")
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(sequences)
    handle.remove()
    captured = capture_inputs(model, layer, sequences)
    assert captured.shape == (count, 4, 12)
    torch.testing.assert_close(captured, seen[0], rtol=1e-5, atol=1e-6)


def test_capture_leaves_the_model_alone_and_stops_at_the_layer():
    model = tiny_model()
    later: list[str] = []
    model.decoder.register_forward_hook(lambda *_: later.append("decoder"))
    layer = model.get_submodule("blocks.0.ssm")
    capture_inputs(model, layer, smooth(3, 1, 12).mT)
    assert later == []
    model(smooth(3, 1, 12).mT)
    assert later == ["decoder"]
    assert len(layer._forward_pre_hooks) == 0


def test_capture_cleans_up_after_an_error():
    model = tiny_model()
    layer = model.get_submodule("blocks.0.ssm")
    with pytest.raises(ValueError, match="required"):
        capture_inputs(model, layer, torch.zeros(3, 12, 2))
    assert len(layer._forward_pre_hooks) == 0


@pytest.mark.parametrize("bidirectional", [False, True])
def test_wanted_outputs_add_up_to_the_layers(bidirectional):
    layer = S4D(3, 8, bidirectional=bidirectional).double()
    inputs = smooth(4, 3, 30).double()
    signals = LayerSignals.of(layer.system(), inputs, inputs)
    assert signals.outputs.shape == (layer.directions * 3, 4, 30)
    torch.testing.assert_close(both_ways(signals.outputs, 3), layer(inputs).detach())


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_full_system_predicts_its_own_outputs(bidirectional):
    layer = S4D(3, 8, bidirectional=bidirectional).double()
    inputs = smooth(4, 3, 30).double()
    signals = LayerSignals.of(layer.system(), inputs, inputs)
    full = layer.system().reshape(-1)
    torch.testing.assert_close(predict(signals, full.impulse_response(30), full.D), signals.outputs)


def test_wanted_outputs_belong_to_the_original_inputs():
    layer = S4D(3, 8).double()
    original, present = smooth(4, 3, 30).double(), smooth(4, 3, 30).double()
    signals = LayerSignals.of(layer.system(), original, present)
    torch.testing.assert_close(both_ways(signals.outputs, 3), layer(original).detach())
    torch.testing.assert_close(signals.inputs.transpose(0, 1), present)


def test_split_keeps_every_sequence_once():
    layer = S4D(2, 4)
    inputs = smooth(7, 2, 10)
    fit, held_out = LayerSignals.of(layer.system(), inputs, inputs).split(2)
    assert (fit.inputs.shape[1], held_out.inputs.shape[1]) == (5, 2)
    torch.testing.assert_close(torch.cat([fit.inputs, held_out.inputs], 1).transpose(0, 1), inputs)


def test_window_statistics_give_the_squared_error_of_any_kernel():
    layer = S4D(2, 4).double()
    original, present = smooth(5, 2, 16).double(), smooth(5, 2, 16).double()
    signals = LayerSignals.of(layer.system(), original, present)
    statistics = window_statistics(signals)
    kernel = torch.randn(2, 16, dtype=torch.float64)
    for row in range(2):
        h = kernel[row]
        bias = float(statistics.output_mean[row] - h @ statistics.input_means[row])
        total = 0.0
        for u, y in zip(signals.inputs[row], signals.outputs[row], strict=True):
            error = y.numpy() - np.convolve(h.numpy(), u.numpy())[:16] - bias
            total += float((error**2).sum())
        quadratic = h @ statistics.gram[row] @ h - 2 * h @ statistics.cross[row]
        assert float(quadratic + statistics.output_energy[row]) == pytest.approx(total, rel=1e-9)


def test_spectra_hold_all_power():
    layer = S4D(2, 4)
    inputs = smooth(6, 2, 40)
    signals = LayerSignals.of(layer.system(), inputs, inputs)
    spectra = input_spectra(signals)
    assert bool((spectra.power >= 0).all())
    assert bool((spectra.frequencies.diff() > 0).all())
    assert 0 <= float(spectra.frequencies[0]) < float(spectra.frequencies[-1]) <= torch.pi + 1e-9
    # Parseval, zero-padded to 80 samples: the inner lines stand for two.
    energy = inputs.double().square().sum((0, 2))
    lines = np.fft.rfft(inputs.double().numpy(), n=80)
    ends = (np.abs(lines[..., [0, -1]]) ** 2).sum((0, 2))
    doubled = 2 * spectra.power.sum(-1).numpy() - ends
    np.testing.assert_allclose(doubled, 80 * energy.numpy(), rtol=1e-4)


def test_transfer_predicts_the_original_input_from_the_present_one():
    layer = S4D(2, 4)
    original = smooth(6, 2, 40)
    half = LayerSignals.of(layer.system(), original, 2 * original)
    transfer = input_spectra(half).transfer
    torch.testing.assert_close(transfer, torch.full_like(transfer, 0.5), rtol=1e-4, atol=1e-4)
    late = torch.nn.functional.pad(original, (1, 0))[..., :-1]
    late[..., -1] = 0
    original[..., -2:] = 0  # nothing is lost by the delay
    spectra = input_spectra(LayerSignals.of(layer.system(), original, late))
    narrow = slice(0, 20)  # single lines: wider bins average the phase
    wanted = torch.exp(1j * spectra.frequencies[narrow]).expand(2, -1)
    torch.testing.assert_close(spectra.transfer[:, narrow], wanted, rtol=1e-3, atol=1e-3)
