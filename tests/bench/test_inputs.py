"""Spectra and covariances against what they are the statistics of."""

import torch

from hydropress.bench.inputs import COLOUR, _normal, input_covariance, input_cross_spectrum


def test_the_cross_spectrum_is_that_of_the_recursion():
    width, seed, length = 2, 3, 400
    weight = input_cross_spectrum(width, seed)
    first, second = _normal(2, width, seed)
    # The impulse response of u[t] = 0.9 u[t - 1] + A₀ e[t] + A₁ e[t - 1], sample by sample.
    response = [first, COLOUR * first + second]
    while len(response) < length:
        response.append(COLOUR * response[-1])
    t = torch.arange(length, dtype=torch.float64)
    phases = torch.exp(-1j * weight.frequencies[:, None] * t)
    transfer = torch.einsum("ft,tij->fij", phases, torch.stack(response).to(phases))
    torch.testing.assert_close(weight.values, transfer @ transfer.mH, rtol=1e-10, atol=1e-9)


def test_the_covariance_is_symmetric_and_well_above_zero():
    values = input_covariance(5, 1).values
    torch.testing.assert_close(values, values.mT)
    assert float(torch.linalg.eigvalsh(values).min()) >= 0.1 - 1e-12
