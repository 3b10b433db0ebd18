"""Balancing shows how well the modes of a matrix can be told apart, whatever its units."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg
from scipy import signal as scipy_signal

from hydropress.errors import IllConditionedWarning, InvalidArgumentError
from hydropress.systems.modal import ModalSystem
from hydropress.systems.state_space import balance, diagonalize

# SciPy's types, inferred from its code, are narrower than what it takes and returns.
signal: Any = scipy_signal


def test_scales_are_powers_of_two_that_even_out_rows_and_columns():
    units = 10.0 ** np.arange(-6, 6, 2)
    core = np.random.default_rng(0).normal(size=(2, 6, 6))
    A = torch.from_numpy(core * units[:, None] / units)
    scales = balance(A)
    assert torch.equal(scales.log2(), scales.log2().round())
    scaled = A * scales[..., None, :] / scales[..., None]
    ratio = torch.linalg.vector_norm(scaled, dim=-1) / torch.linalg.vector_norm(scaled, dim=-2)
    assert ratio.max() < 3
    assert ratio.min() > 1 / 3
    for index in range(2):
        expected = linalg.matrix_balance(A[index].numpy(), permute=False)[0]
        peer = np.linalg.norm(expected, axis=1) / np.linalg.norm(expected, axis=0)
        assert peer.max() < 3  # SciPy's does as well, no better is to be had in powers of 2
        assert torch.equal(balance(A[index]), scales[index])


def test_nothing_to_balance():
    assert balance(torch.zeros(3, 0, 0).double()).shape == (3, 0)
    for A in (torch.zeros(3, 3).double(), torch.eye(3).double(), torch.ones(2, 2).triu().double()):
        assert balance(A).tolist() == [1] * len(A)


@pytest.mark.parametrize("order", [4, 8, 12])
def test_companion_forms_in_hertz_are_well_conditioned(order):
    zeros, poles, gain = signal.butter(order, 2 * np.pi * 1e3, analog=True, output="zpk")
    peer = signal.TransferFunction(*signal.zpk2tf(zeros, poles, gain)).to_ss()
    system = ModalSystem.from_state_space(peer.A, peer.B, peer.C, time="continuous")
    frequencies = 2 * np.pi * np.logspace(1, 4, 30)
    expected = signal.freqs_zpk(zeros, poles, gain, frequencies)[1]
    values = system.transfer_function(1j * frequencies).numpy()
    # What a backward stable eigenvalue decomposition can give: the condition of the balanced
    # matrix's eigenvectors and the size of the partial fractions in units of rounding.
    vectors = np.linalg.eig(linalg.matrix_balance(peer.A)[0])[1]
    gaps = np.where(np.eye(order) > 0, 1, poles[:, None] - poles)
    fractions = np.abs(gain / gaps.prod(1) / poles.real).sum()
    rounding = np.finfo(float).eps * np.linalg.cond(vectors) * fractions
    np.testing.assert_allclose(values, expected, rtol=0, atol=rounding)


@pytest.mark.parametrize("pole", [0.5, -0.5])
def test_a_jordan_block_is_refused_in_larger_units_too(pole):
    for unit in (1.0, 1e3, 1e9):
        A = torch.tensor([[pole, unit], [0.0, pole]], dtype=torch.float64)
        with pytest.raises(InvalidArgumentError, match=r"eigenvectors of condition \d\.\de\+"):
            diagonalize(A, torch.ones(2, 1).double(), torch.ones(1, 2).double())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("order", [3, 4, 6])
def test_modes_that_nearly_coincide_lose_the_condition_once_and_not_squared(order, seed):
    # All poles of a Jordan block moved apart by 1e-14 in its corner, in turned coordinates.
    generator = np.random.default_rng(seed)
    A = np.diag(np.full(order, 0.5)) + np.diag(np.full(order - 1, 0.3), 1)
    A[-1, 0] = 1e-14
    turn = np.linalg.qr(generator.normal(size=(order, order)))[0]
    A = turn @ A @ turn.T
    B, C = generator.normal(size=(order, 2)), generator.normal(size=(3, order))
    condition = np.linalg.cond(np.linalg.eig(A)[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IllConditionedWarning)
        kernel = ModalSystem.from_state_space(A, B, C).impulse_response(40).numpy()
    expected = np.stack([C @ np.linalg.matrix_power(A, t) @ B for t in range(40)], -1)
    assert condition > 1e7
    rounding = 10 * np.finfo(float).eps * condition * np.abs(expected).max()
    np.testing.assert_allclose(kernel, expected, rtol=0, atol=rounding)
