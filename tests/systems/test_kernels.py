"""The factored Vandermonde product against the plain one."""

import numpy as np
import pytest
import torch
from hypothesis import given

from hydropress.systems.kernels import modal_kernel
from oracles import kernel
from strategies import modal_systems, s4d_bank
from tolerances import KERNEL_FLOAT32, ROUNDING


def test_by_hand():
    # 2^-t and, a quarter turn a step, Re (i/2)^t.
    exponents = torch.log(torch.tensor([[0.5], [0.5j]], dtype=torch.complex128))
    samples = modal_kernel(exponents, torch.ones_like(exponents), 5)
    expected = torch.tensor([[1, 0.5, 0.25, 0.125, 0.0625], [1, 0, -0.25, 0, 0.0625]])
    torch.testing.assert_close(samples, expected.double(), rtol=0, atol=1e-16)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 15, 16, 17, 99, 1000])
def test_every_length_equals_the_plain_product(length):
    generator = torch.Generator().manual_seed(length)
    parts = torch.rand(2, 3, 5, 2, generator=generator, dtype=torch.float64)
    exponents = torch.complex(-0.1 * parts[0, ..., 0], 3 * parts[0, ..., 1])
    residues = torch.view_as_complex(parts[1].contiguous())
    powers = np.exp(exponents.numpy()[..., None] * np.arange(length))
    expected = (residues.numpy()[..., None] * powers).real.sum(1)
    samples = modal_kernel(exponents, residues, length)
    assert samples.shape == (3, length)
    assert np.abs(samples.numpy() - expected).max(initial=0) < 1e-12


@given(modal_systems("discrete"))
def test_awkward_systems(system):
    samples = modal_kernel(system.exponents, system.residues * system.states, 200)
    expected = kernel(system, np.arange(200))
    scale = (system.residues.abs() * system.states).sum().item()
    assert np.abs(samples.numpy() - expected).max() <= ROUNDING * scale


def test_exponents_broadcast_against_residues():
    exponents = s4d_bank(3, 8).exponents
    residues = torch.randn(2, 3, 4, dtype=torch.complex128)
    both = modal_kernel(exponents, residues, 50)
    assert both.shape == (2, 3, 50)
    for direction in range(2):
        torch.testing.assert_close(
            both[direction], modal_kernel(exponents, residues[direction], 50)
        )


def test_single_precision_stays_single():
    exponents = torch.tensor([-0.01 + 0.1j])
    samples = modal_kernel(exponents, torch.ones_like(exponents), 30)
    assert samples.dtype == torch.float32
    expected = np.exp(-0.01 * np.arange(30)) * np.cos(0.1 * np.arange(30))
    assert np.abs(samples.numpy() - expected).max() < KERNEL_FLOAT32


def test_no_modes_are_silence():
    nothing = torch.zeros(2, 0, dtype=torch.complex128)
    assert torch.equal(modal_kernel(nothing, nothing, 4), torch.zeros(2, 4, dtype=torch.float64))


def test_gradients():
    exponents = torch.tensor([-0.1 + 0.5j, -0.2 + 0j], dtype=torch.complex128, requires_grad=True)
    residues = torch.tensor([1 - 1j, 0.5 + 0j], dtype=torch.complex128, requires_grad=True)
    torch.autograd.gradcheck(lambda s, r: modal_kernel(s, r, 7), (exponents, residues))
