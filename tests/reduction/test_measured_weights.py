"""Weights from measured inputs, against outputs written out sample by sample."""

import numpy as np
import pytest
import torch

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.reduce import reduce
from hydropress.reduction.weights import InputCovariance, SpectralWeight, measured_weight
from reduction.mimo_problems import seeded_mimo
from strategies import seeded_bank

LENGTH, TAIL = 300, 300


def coloured(count, inputs, seed):
    """Sequences with memory, a mean, and inputs that resemble each other, ``(n, L, M)``."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, LENGTH, inputs, generator=generator, dtype=torch.float64)
    smooth = noise.cumsum(1) - 0.9 * torch.nn.functional.pad(noise.cumsum(1), (0, 0, 1, 0))[:, :-1]
    mixing = torch.eye(inputs, dtype=torch.float64) + 0.5
    return smooth @ mixing + 0.3


def outputs(system, inputs):
    """Return y of one system to the end of its memory, ``(n, LENGTH + TAIL, P)``."""
    kernel = system.impulse_response(LENGTH + TAIL).numpy()
    if kernel.ndim == 1:
        kernel = kernel[None, None]
    sequences = []
    for sequence in inputs.numpy():
        columns = [
            sum(
                np.convolve(kernel[p, m], sequence[:, m])[: LENGTH + TAIL]
                for m in range(sequence.shape[1])
            )
            for p in range(kernel.shape[0])
        ]
        sequences.append(np.stack(columns, -1))
    return np.array(sequences)


def relative_output_error(full, small, inputs):
    """Return the error of the outputs, the feedthrough, which both have, left out."""
    wanted = outputs(full, inputs)
    left = wanted - outputs(small, inputs)
    return np.sqrt((left**2).sum() / (wanted**2).sum())


def test_error_of_a_bank_is_that_of_its_outputs():
    full = seeded_bank((3,), 4, 1, seed=5, decays=(0.1, 1.0))
    inputs = torch.stack([coloured(4, 1, seed)[..., 0] for seed in range(3)])
    result = reduce(full, 4, weight=SpectralWeight.measured(inputs))
    for row in range(3):
        expected = relative_output_error(full[row], result.system[row], inputs[row][..., None])
        assert float(result.relative_error[row]) == pytest.approx(expected, rel=1e-6)


def test_one_spectrum_for_the_whole_bank():
    full = seeded_bank((3,), 4, 1, seed=5, decays=(0.1, 1.0))
    inputs = coloured(4, 1, 0)[..., 0]
    shared = reduce(full, 2, weight=SpectralWeight.measured(inputs))
    each = reduce(full, 2, weight=SpectralWeight.measured(inputs.expand(3, -1, -1)))
    torch.testing.assert_close(shared.relative_error, each.relative_error)


def test_error_of_a_mimo_system_is_that_of_its_outputs():
    full = seeded_mimo((), 3, 2, 3, 2, seed=4)
    inputs = coloured(5, full.num_inputs, 1)
    result = reduce(full, 2, weight=SpectralWeight.measured_across(inputs))
    expected = relative_output_error(full, result.system, inputs)
    assert float(result.relative_error) == pytest.approx(expected, rel=1e-4)


def test_covariance_is_what_white_inputs_need():
    full = seeded_mimo((), 3, 2, 3, 2, seed=4)
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(full.num_inputs, full.num_inputs, generator=generator).double()
    white = torch.randn(400, LENGTH, full.num_inputs, generator=generator).double()
    inputs = white @ mixing
    result = reduce(full, 2, weight=InputCovariance.measured(inputs))
    expected = relative_output_error(full, result.system, inputs)
    assert float(result.relative_error) == pytest.approx(expected, rel=1e-2)
    torch.testing.assert_close(
        InputCovariance.measured(inputs).values, mixing.T @ mixing, rtol=0.03, atol=0.03
    )


def test_inputs_that_do_not_span_their_space_still_have_a_covariance():
    full = seeded_mimo((), 3, 2, 3, 2, seed=4)
    inputs = coloured(2, 1, 3).expand(-1, -1, full.num_inputs)
    result = reduce(full, 2, weight=InputCovariance.measured(inputs))
    assert bool(torch.isfinite(result.system.impulse_response(50)).all())


@pytest.mark.parametrize(
    ("count", "inputs", "kind"),
    [(40, 4, SpectralWeight), (3, 4, InputCovariance), (200, 33, InputCovariance)],
)
def test_cross_spectra_only_where_they_can_be_had(count, inputs, kind):
    sequences = torch.randn(count, 8, inputs)
    assert isinstance(measured_weight(sequences), kind)


def test_a_covariance_counts_on_a_finite_horizon_too():
    full = seeded_mimo((), 3, 2, 3, 2, seed=4)
    weight = InputCovariance.measured(coloured(5, full.num_inputs, 1))
    result = reduce(full, 2, weight=weight, horizon=20)
    kernel = (full.impulse_response(20) - result.system.impulse_response(20)).numpy()
    whole = full.impulse_response(20).numpy()

    def energy(kernel):
        return np.einsum("pmt,mn,pnt->", kernel, weight.values.numpy(), kernel)

    expected = np.sqrt(energy(kernel) / energy(whole))
    assert float(result.relative_error) == pytest.approx(expected, rel=1e-8)
    endless = reduce(full, 2, weight=weight).system
    kernel = (full.impulse_response(20) - endless.impulse_response(20)).numpy()
    assert float(result.relative_error) < np.sqrt(energy(kernel) / energy(whole))


@pytest.mark.parametrize(
    "inputs",
    [
        torch.zeros(3),
        torch.zeros(0, 5, 2),
        torch.full((2, 5, 2), torch.nan),
        torch.zeros(2, 5, 2, dtype=torch.complex64),
    ],
)
def test_inputs_that_cannot_be(inputs):
    for measure in (InputCovariance.measured, SpectralWeight.measured_across, measured_weight):
        with pytest.raises(InvalidArgumentError, match="required"):
            measure(inputs)
