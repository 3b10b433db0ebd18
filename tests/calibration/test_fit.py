"""Fits of a layer to its data: what they share, in parts, and sequences of tokens."""

import pytest
import torch

from hydropress.calibration import window
from hydropress.calibration.fit import CalibratedSettings, LayerFit
from hydropress.calibration.signals import LayerSignals
from hydropress.compression.model import compress
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
        first, second = getattr(whole.window, name), getattr(parts.window, name)
        torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(parts.means.inputs, whole.means.inputs)
    torch.testing.assert_close(parts.means.output, whole.means.output)


def words(count: int) -> TokenSequences:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 40, (count,), generator=generator).tolist()
    parts = [torch.randint(1, 9, (length,), generator=generator) for length in lengths]
    return TokenSequences.of(parts, torch.zeros(count, dtype=torch.int64))


@pytest.mark.parametrize("pairs", [False, True])
def test_tokens_calibrate_too(pairs):
    model = tiny_model(num_tokens=9, pairs=pairs)
    sequences = calibration_sequences(words(80), 24, seed=0)
    if pairs:
        sequences = torch.stack([sequences, sequences.flip(0)], 1)
    compression = compress(model, order=4, calibration=sequences)
    plain = compress(model, order=4, method="modal", calibration=sequences)
    with torch.no_grad():
        wanted = model(sequences)
        errors = [(one.model(sequences) - wanted).norm() for one in (compression, plain)]
    assert 0.4 < compression.ratio <= 0.5
    assert float(errors[0]) < float(errors[1])
    assert float(errors[0]) < 0.1 * float((wanted - wanted.mean(0)).norm())


def test_calibration_of_another_shape_is_refused():
    with pytest.raises(InvalidArgumentError, match="tokens"):
        compress(tiny_model(), order=2, calibration=torch.zeros(20))
