"""Layers fitted to the data that they see, against simulation of the layers themselves."""

from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hydropress.calibration.fit import CalibratedSettings
from hydropress.compression.model import compress
from hydropress.compression.result import Compression
from hydropress.models.classifier import SequenceClassifier
from hydropress.models.layer import LinearSSM
from hydropress.systems.modal import SISOSystem
from tiny import tiny_model

CALIBRATION, LENGTH, ORDER = 32, 48, 2
NAMES = ("blocks.0.ssm", "blocks.1.ssm")

uses_data = pytest.mark.parametrize("method", ["h2", "balanced", "modal"])


def sequences(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 0.2 * torch.randn(count, LENGTH, 1, generator=generator).cumsum(1)


@lru_cache
def model(bidirectional: bool = False) -> SequenceClassifier:
    return tiny_model(3, bidirectional=bidirectional)


@lru_cache
def compressed(method: str, *, data: bool = True, bidirectional: bool = False) -> Compression:
    calibration = sequences(CALIBRATION, 0) if data else None
    return compress(model(bidirectional), order=ORDER, method=method, calibration=calibration)


def layer_outputs(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """Return every SSM layer's output in a plain forward pass, ``(n, H, L)`` each."""
    found: dict[str, Tensor] = {}
    handles = []
    for name in NAMES:
        layer = network.get_submodule(name)
        assert isinstance(layer, LinearSSM)

        def keep(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
            found[name] = output.double()

        handles.append(layer.register_forward_hook(keep))
    with torch.no_grad():
        network(inputs)
    for handle in handles:
        handle.remove()
    return found


def relative_rms(wanted: Tensor, actual: Tensor) -> np.ndarray:
    """Return the error of each channel over the standard deviation of its output."""
    error = (wanted - actual).square().mean((0, 2)).sqrt()
    return (error / wanted.std((0, 2))).numpy()


def layer_errors(compression: Compression, inputs: Tensor, original: nn.Module) -> np.ndarray:
    """Return the errors of both layers in place, the second on what the first one leaves it."""
    wanted, actual = layer_outputs(original, inputs), layer_outputs(compression.model, inputs)
    return np.stack([relative_rms(wanted[name], actual[name]) for name in NAMES])


@uses_data
@pytest.mark.parametrize("bidirectional", [False, True])
def test_means_of_the_outputs_are_matched_on_the_calibration_data(method, bidirectional):
    result = compressed(method, bidirectional=bidirectional)
    inputs = sequences(CALIBRATION, 0)
    wanted = layer_outputs(model(bidirectional), inputs)
    actual = layer_outputs(result.model, inputs)
    for name in NAMES:
        means = [outputs[name].mean((0, 2)) for outputs in (wanted, actual)]
        scale = wanted[name].std((0, 2))
        assert float(((means[0] - means[1]) / scale).abs().max()) < 1e-4


@uses_data
def test_means_of_the_logits_are_matched_on_the_calibration_data(method):
    inputs = sequences(CALIBRATION, 0)
    with torch.no_grad():
        wanted, actual = model()(inputs), compressed(method).model(inputs)
    torch.testing.assert_close(actual.mean(0), wanted.mean(0), rtol=0, atol=1e-5)
    if method != "h2":  # without data they are off
        with torch.no_grad():
            plain = compressed(method, data=False).model(inputs)
        assert float((plain.mean(0) - wanted.mean(0)).abs().max()) > 1e-3


@pytest.mark.parametrize("bidirectional", [False, True])
def test_reported_output_error_is_that_of_the_layers_on_held_out_sequences(bidirectional):
    held_out = round(CalibratedSettings().held_out * CALIBRATION)
    result = compressed("h2", bidirectional=bidirectional)
    wanted = layer_outputs(model(bidirectional), sequences(CALIBRATION, 0))
    actual = layer_outputs(result.model, sequences(CALIBRATION, 0))
    for report in result.layers:
        assert report.output_error is not None
        name = report.name
        expected = relative_rms(wanted[name][-held_out:], actual[name][-held_out:])
        for error in report.output_error:  # of two directions both say that of their sum
            np.testing.assert_allclose(error.numpy(), expected, rtol=1e-3, atol=1e-6)


def test_on_new_data_fitted_layers_are_better_than_balanced_with_means_matched():
    fresh = sequences(128, 1)
    fitted = layer_errors(compressed("h2"), fresh, model())
    balanced = layer_errors(compressed("balanced"), fresh, model())
    assert (fitted[0] < balanced[0]).all()  # same inputs
    assert (fitted.mean(1) < 0.7 * balanced.mean(1)).all()


def test_on_new_data_fitted_layers_are_better_than_unweighted_ones():
    fresh = sequences(128, 1)
    fitted = layer_errors(compressed("h2"), fresh, model())
    plain = layer_errors(compressed("h2", data=False), fresh, model())
    assert (fitted.mean(1) < 0.7 * plain.mean(1)).all()


def test_the_fit_pays_in_outputs_what_it_costs_in_norm():
    fitted, plain = compressed("h2"), compressed("h2", data=False)
    assert fitted.relative_h2_error > plain.relative_h2_error


def test_both_directions_of_a_layer_are_fitted():
    fresh = sequences(128, 1)
    fitted = layer_errors(compressed("h2", bidirectional=True), fresh, model(True))
    balanced = layer_errors(compressed("balanced", bidirectional=True), fresh, model(True))
    assert (fitted.mean(1) < balanced.mean(1)).all()
    for report in compressed("h2", bidirectional=True).layers:
        assert report.output_error is not None
        assert report.output_error.shape == report.relative_h2_error.shape == (2, 4)


def test_logits_follow_the_original():
    fresh = sequences(128, 1)
    with torch.no_grad():
        wanted = model()(fresh)
        errors = {
            method: float((compressed(method).model(fresh) - wanted).norm())
            for method in ("h2", "balanced", "modal")
        }
    assert errors["h2"] < 0.5 * min(errors["balanced"], errors["modal"])


def test_every_system_has_one_winning_start():
    for report in compressed("h2").layers:
        assert sum(report.starts.values()) == report.relative_h2_error.numel()
        assert all(count >= 0 for count in report.starts.values())


def test_half_lives_are_bounded_by_the_settings():
    half_life = 0.25
    settings = CalibratedSettings(half_life=half_life)
    result = compress(
        model(), order=ORDER, calibration=sequences(CALIBRATION, 0), settings=settings
    )
    slowest = np.log(2) / (half_life * LENGTH)
    for report in result.layers:
        assert float(report.full.decay.min()) < slowest  # the bound binds
        assert float(report.reduced.decay.min()) >= slowest * (1 - 1e-9)


def test_energy_penalty_tames_the_modes():
    def strongest(penalty: float) -> float:
        result = compress(
            model(),
            order=4,
            calibration=sequences(CALIBRATION, 0),
            settings=CalibratedSettings(energy_penalty=penalty),
        )
        return max(float(report.reduced.residues.abs().max()) for report in result.layers)

    assert strongest(1e-1) < strongest(0.0)


def test_a_layer_that_sees_nothing_is_no_trouble():
    silent = tiny_model(3)
    with torch.no_grad():
        for parameter in silent.encoder.parameters():
            parameter.zero_()
    result = compress(silent, order=ORDER, calibration=sequences(CALIBRATION, 0))
    logits = result.model(sequences(4, 1))
    assert bool(torch.isfinite(logits).all())
    torch.testing.assert_close(logits, silent(sequences(4, 1)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("penalty", [1e-4, 0.1, 1.0])
@pytest.mark.parametrize("order", [2, 4])
def test_no_modes_have_more_energy_than_their_price_allows(penalty, order):
    """With all residues zero the merit is one: modes cannot cost more than that."""
    settings = CalibratedSettings(energy_penalty=penalty)
    result = compress(
        model(), order=order, calibration=sequences(CALIBRATION, 0), settings=settings
    )
    for report in result.layers:
        assert isinstance(report.full, SISOSystem)
        assert isinstance(report.reduced, SISOSystem)
        scale = np.maximum(kernel_energy(report.full), mode_energies(report.full).max(-1))
        assert (mode_energies(report.reduced).sum(-1) <= scale / penalty).all()


def mode_energies(system: SISOSystem) -> np.ndarray:
    """Return the energy of every mode, that of a pair averaged over its phase."""
    squares = system.states.numpy() * system.residues.abs().square().numpy()
    return squares / -np.expm1(-2 * system.decay.numpy())


def kernel_energy(system: SISOSystem) -> np.ndarray:
    """Return Σ k[t]² until the slowest mode has died away."""
    kernel = system.impulse_response(int(np.ceil(40 / float(system.decay.min()))))
    return np.square(kernel.numpy()).sum(-1)
