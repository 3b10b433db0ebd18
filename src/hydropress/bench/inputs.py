"""What layers are fed: spectra and covariances that weigh the error."""

import torch
from torch import Tensor

from hydropress.bench.banks import TRAINED
from hydropress.calibration.signals import LayerSignals, capture_inputs, input_spectra
from hydropress.data.fashion_mnist import load_slice
from hydropress.data.shipped import find_model
from hydropress.data.sources import calibration_sequences
from hydropress.models.checkpoint import load
from hydropress.models.s4d import S4D
from hydropress.reduction.weights import InputCovariance, SpectralWeight

SEQUENCES = 32
FREQUENCIES = 128
"""Of a cross-spectrum, evenly spaced from 0 to π."""
COLOUR = 0.9
"""Pole of the inputs: neighbouring samples resemble each other."""


def trained_spectrum(number: int, channels: int, seed: int) -> SpectralWeight:
    """Return the power of what a layer of the shipped model gets, values ``(channels, F)``."""
    model = load(find_model(TRAINED)).eval()
    layer = [part for part in model.modules() if isinstance(part, S4D)][number]
    sequences = calibration_sequences(load_slice("train"), SEQUENCES, seed)
    inputs = capture_inputs(model, layer, sequences)
    spectra = input_spectra(LayerSignals.of(layer.system(), inputs, inputs))
    return SpectralWeight(spectra.frequencies, spectra.power[:channels])


def input_cross_spectrum(width: int, seed: int) -> SpectralWeight:
    """Return that of u[t] = 0.9 u[t - 1] + A₀ e[t] + A₁ e[t - 1], e white, A₀ and A₁ normal."""
    first, second = _normal(2, width, seed)
    frequencies = torch.linspace(0, torch.pi, FREQUENCIES, dtype=torch.float64)
    delay = torch.exp(-1j * frequencies)[:, None, None]
    transfer = (first + second * delay) / (1 - COLOUR * delay)
    return SpectralWeight(frequencies, transfer @ transfer.mH)


def input_covariance(width: int, seed: int) -> InputCovariance:
    """Return that of A e, e white, A normal, a tenth of the identity added."""
    (mixing,) = _normal(1, width, seed)
    return InputCovariance(mixing @ mixing.mT + 0.1 * torch.eye(width, dtype=torch.float64))


def _normal(count: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, width, dtype=torch.float64, generator=generator)
