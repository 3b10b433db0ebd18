"""The output error as an objective on the spectra of measured inputs: cheap at every length."""

import torch
from torch import Tensor

from hydropress.calibration.signals import (
    SEARCH_BINS,
    LayerSignals,
    cross_spectra,
    input_spectra,
)
from hydropress.calibration.window import energy_scale
from hydropress.reduction.sampled import SpectralObjective
from hydropress.systems.modal import SISOSystem


def spectral_objective(
    full: SISOSystem,
    signals: LayerSignals,
    fits_feedthrough: bool,
    *,
    bins: int = SEARCH_BINS,
    missed: Tensor | None = None,
) -> SpectralObjective:
    """Return the weighted problem: weight S_u', target (G S_uu' + S_eu') / S_u'.

    Parameters
    ----------
    full
        Bank of batch shape ``(K,)``, G.
    signals
        What the systems get, K rows.
    fits_feedthrough
        Whether D is free; it is fitted from scratch: the target includes the full system's own.
    bins
        Of the spectra.
    missed
        e, what is wanted besides what the full systems return, shape ``(K, n, L)``.

    Notes
    -----
    The error is that over all time of inputs that end after L samples, where
    :mod:`hydropress.calibration.window` has the error on 0 ≤ t < L.
    """
    spectra = input_spectra(signals, bins)
    response = full.transfer_function(torch.exp(1j * spectra.frequencies))
    targets = response * spectra.transfer
    if missed is not None:
        targets = targets + cross_spectra(missed, signals.inputs, bins).transfer
    total = (spectra.power * targets.abs() ** 2).sum(-1, keepdim=True)
    weights = spectra.power / total.clamp_min(1e-300)
    return SpectralObjective(
        spectra.frequencies, weights, targets, energy_scale(full), fits_feedthrough
    )
