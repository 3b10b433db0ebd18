"""Fits of a layer to its data: what they share, in parts, and sequences of tokens."""

import pytest
import torch

from hydropress.calibration import layers, sequences, window
from hydropress.calibration.fit import CalibratedSettings, LayerFit
from hydropress.calibration.signals import LayerSignals
from hydropress.compression.model import compress
from hydropress.compression.result import Compression
from hydropress.data.sequences import TokenSequences
from hydropress.data.sources import calibration_sequences
from hydropress.errors import InvalidArgumentError
from hydropress.models.s4d import S4D
from tiny import tiny_model


def test_the_window_is_the_same_in_parts(monkeypatch):
    torch.manual_seed(0)
    layer, inputs = S4D(5, 8), torch.randn(9, 5, 20).cumsum(-1)
    signals = LayerSignals.of(layer.system(), inputs, inputs)
    full = layer.system().reshape(-1)
    whole = LayerFit.of(full, signals, CalibratedSettings())
    # Two systems at a time.
    monkeypatch.setattr(window, "ENTRIES_AT_ONCE", 2 * 20**2 + 1)
    parts = LayerFit.of(full, signals, CalibratedSettings())
    for name in ("factors", "targets", "constants", "output_energies", "rows", "energy"):
        first, second = getattr(whole.objective, name), getattr(parts.objective, name)
        torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(parts.means.inputs, whole.means.inputs)
    torch.testing.assert_close(parts.means.output, whole.means.output)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("method", ["h2", "modal"])
def test_a_layer_is_the_same_some_channels_after_the_others(method, bidirectional, monkeypatch):
    model = tiny_model(num_layers=1 if method == "h2" else 2, bidirectional=bidirectional)
    generator = torch.Generator().manual_seed(3)
    data = torch.randn(24, 40, 1, generator=generator).cumsum(1)
    allocation = "uniform" if method == "h2" else "global"

    def compressed() -> Compression:
        return compress(model, order=2, method=method, calibration=data, allocation=allocation)

    whole = compressed()
    # Of the four channels three, and the last.
    assert len(layers.groups_of_channels(4, 2, 24, 40, 40)) == 1
    monkeypatch.setattr(layers, "MEMORY", 2 * 3 * 40 * (4 * 40 + 64 * 24))
    assert layers.groups_of_channels(4, 2, 24, 40, 40) == [slice(0, 3), slice(3, 6)]
    if not bidirectional:
        monkeypatch.setattr(layers, "MEMORY", layers.MEMORY // 2)
    parts = compressed()
    assert parts.plan.layers == whole.plan.layers
    for one, other in zip(parts.layers, whole.layers, strict=True):
        torch.testing.assert_close(one.output_error, other.output_error, rtol=1e-3, atol=1e-5)
        assert sum(one.starts.values()) == sum(other.starts.values())
    with torch.no_grad():
        torch.testing.assert_close(parts.model(data), whole.model(data), rtol=1e-3, atol=1e-3)


def test_data_of_published_sizes_fit_into_memory():
    # Text, then Path-X, which has no window: 256 sequences, 256 channels both ways.
    for length, squared, size in ((4096, 4096, 16), (16384, 0, 8)):
        groups = layers.groups_of_channels(256, 2, 256, length, squared)
        assert 2 * size * length * (4 * squared + 64 * 256) <= layers.MEMORY
        assert [part.start for part in groups] == list(range(0, 256, size))
        assert {part.stop - part.start for part in groups} == {size}


@pytest.mark.parametrize("bidirectional", [False, True])
def test_on_spectra_the_error_is_nearly_that_on_the_window(bidirectional):
    model = tiny_model(
        5, num_layers=1, state_size=16, bidirectional=bidirectional, step_range=(0.02, 0.2)
    )
    data = 0.3 * torch.randn(48, 200, 1, generator=torch.Generator().manual_seed(3)).cumsum(1)

    def error(method: str = "h2", longest: int = 200) -> float:
        settings = CalibratedSettings(longest_window=longest)
        found = compress(
            model,
            order=4,
            method=method,
            allocation="uniform",
            calibration=data,
            settings=settings,
        )
        output_error = found.layers[0].output_error
        assert output_error is not None
        return float(output_error.mean())

    on_the_window, on_spectra = error(), error(longest=199)
    assert on_spectra != on_the_window
    assert on_spectra < 1.05 * on_the_window
    assert on_spectra < 0.5 * error("balanced")


def test_long_sequences_pass_in_smaller_batches(monkeypatch):
    model = tiny_model()
    data = torch.randn(40, 30, 1, generator=torch.Generator().manual_seed(3)).cumsum(1)
    passed: list[int] = []
    # A copy of the model has the hook too.
    model.register_forward_pre_hook(lambda _, arguments: passed.append(len(arguments[0])))
    whole = compress(model, order=4, method="balanced", calibration=data)
    assert max(passed) == 40
    passed.clear()
    monkeypatch.setattr(sequences, "LONG", 15)
    parts = compress(model, order=4, method="balanced", calibration=data)
    assert max(passed) == 32
    assert parts.plan.layers == whole.plan.layers
    torch.testing.assert_close(parts.model(data), whole.model(data), rtol=1e-4, atol=1e-5)
    assert [len(part) for part in sequences.in_batches(data[:3], 1)] == [1, 1, 1]


def words(count: int) -> TokenSequences:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 40, (count,), generator=generator).tolist()
    parts = [torch.randint(1, 9, (length,), generator=generator) for length in lengths]
    return TokenSequences.of(parts, torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("pairs", [False, True])
def test_tokens_calibrate_too(pairs):
    model = tiny_model(num_tokens=9, pairs=pairs)
    data = calibration_sequences(words(80), 24, seed=0)
    if pairs:
        data = torch.stack([data, data.flip(0)], 1)
    compression = compress(model, order=4, calibration=data)
    plain = compress(model, order=4, method="modal", calibration=data)
    with torch.no_grad():
        wanted = model(data)
        errors = [(one.model(data) - wanted).norm() for one in (compression, plain)]
    assert 0.4 < compression.ratio <= 0.5
    assert float(errors[0]) < float(errors[1])
    assert float(errors[0]) < 0.1 * float((wanted - wanted.mean(0)).norm())


def test_calibration_of_another_shape_is_refused():
    with pytest.raises(InvalidArgumentError, match="tokens"):
        compress(tiny_model(), order=2, calibration=torch.zeros(20))
