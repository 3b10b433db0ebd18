"""DSS: kernels by the paper's formulas, sums written out in NumPy."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call

from hydropress.errors import InvalidArgumentError
from hydropress.models.dss import DSS
from tolerances import LAYER


def parameters(layer):
    """λ ``(N,)``, Δ ``(H,)``, w ``(directions, H, N)``."""
    decay = np.exp(layer.log_decay.detach().double().numpy())
    poles = -decay + 1j * layer.frequency.detach().double().numpy()
    weights = layer.W.detach().double().numpy()
    steps = np.exp(layer.log_step.detach().double().numpy())
    return poles, steps, weights[..., 0] + 1j * weights[..., 1]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_exp_kernel(bidirectional):
    layer = DSS(3, 16, bidirectional=bidirectional)
    poles, steps, weights = parameters(layer)
    power = np.exp(poles * steps[:, None])
    vandermonde = power[..., None] ** np.arange(300)
    expected = ((weights * (power - 1) / poles)[..., None] * vandermonde).sum(-2).real
    for dtype in (torch.float32, torch.float64):
        kernel = layer.to(dtype).kernel(300).detach()
        assert kernel.shape == (1 + bidirectional, 3, 300)
        assert np.abs(kernel.numpy() - expected).max() <= LAYER[dtype] * np.abs(expected).max()


@pytest.mark.parametrize("length", [1, 7, 300])
def test_the_softmax_kernel_on_sequences_of_its_length(length):
    layer = DSS(3, 16, softmax_length=length, step_range=(0.01, 0.1)).double()
    poles, steps, weights = parameters(layer)
    # The paper's: P_ik = λ_i Δ k, its row softmax, w Λ⁻¹ before it.
    P = poles[:, None] * np.arange(length) * steps[:, None, None]
    softmax = np.exp(P) / np.exp(P).sum(-1, keepdims=True)
    expected = ((weights / poles)[..., None] * softmax).sum(-2).real
    kernel = layer.kernel(length).detach().numpy()
    # 1 / x is bounded by ε = 1e-7 beside |x|²; |x| = |λ (e^{λΔL} - 1)| is 0.0025 at least.
    smallest = np.abs(poles * np.expm1(poles * steps[:, None] * length)).min()
    assert np.abs(kernel - expected).max() <= 2e-7 / smallest**2 * np.abs(expected).max()


def test_the_softmax_kernel_is_one_system_whatever_the_length_of_the_sequence():
    layer = DSS(2, 8, softmax_length=50)
    assert torch.equal(layer.kernel(200)[..., :50], layer.kernel(200)[..., :50])
    torch.testing.assert_close(layer.kernel(200)[..., :50], layer.kernel(50), rtol=0, atol=1e-7)
    poles, steps, weights = parameters(layer)
    z = poles * steps[:, None]
    residues = weights * (np.exp(z) - 1) / (poles * (np.exp(50 * z) - 1))
    system = layer.system()
    np.testing.assert_allclose(system.exponents[0], z, rtol=1e-12)
    # Of a pair 2 Re(ρ …) is to be Re(w …).
    np.testing.assert_allclose(2 * system.residues, residues, rtol=1e-3)


def test_the_modes_of_a_softmax_layer_have_unit_weight_in_the_sum():
    # Every row of a softmax sums to one: Σ_k K[k] = Re Σ w / λ.
    layer = DSS(2, 8, softmax_length=64, step_range=(0.05, 0.1)).double()
    poles, _, weights = parameters(layer)
    total = layer.kernel(64).sum(-1).detach().numpy()
    np.testing.assert_allclose(total, (weights / poles).sum(-1).real, rtol=1e-4)


def test_it_starts_with_the_eigenvalues_of_skew_hippo():
    n = np.arange(12)
    hippo = np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1)
    eigenvalues = np.linalg.eigvals((hippo - hippo.T) / 2)
    expected = np.sort(eigenvalues.imag[eigenvalues.imag > 0])
    poles, steps, weights = parameters(DSS(500, 12))
    np.testing.assert_allclose(np.sort(poles.imag), expected, rtol=1e-6)
    np.testing.assert_allclose(poles.real, -0.5, rtol=1e-6)
    # All channels share the poles; real and imaginary parts of w are standard normal.
    assert weights.shape == (1, 500, 6)
    assert abs(weights.real.std() - 1) < 5 / math.sqrt(2 * 3000)
    assert abs(weights.imag.std() - 1) < 5 / math.sqrt(2 * 3000)
    assert steps.min() >= 1e-3 * 0.999 and steps.max() <= 0.1001


@pytest.mark.parametrize("softmax_length", [0, 9])
def test_gradients_of_the_kernel(softmax_length):
    layer = DSS(2, 4, softmax_length=softmax_length).double()
    names = ["log_step", "log_decay", "frequency", "W"]

    class Kernel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self):
            return self.layer.kernel(9)

    def kernel(*values):
        given = {f"layer.{name}": value for name, value in zip(names, values, strict=True)}
        return functional_call(Kernel(), given, ())

    values = [layer.get_parameter(name).detach().clone().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(kernel, values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 7}, "state_size=7; required: an even number"),
        ({"state_size": 0}, "state_size=0"),
        ({"softmax_length": -1}, "softmax_length=-1"),
        ({"softmax_length": 2.5}, r"softmax_length=2\.5"),
        ({"initialization": "real"}, "'real'; required: lin, inv or legs"),
        ({"initialization": "best"}, "'best'"),
        ({"step_range": (0.0, 0.1)}, "step_range="),
        ({"channels": 0}, "channels=0"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message):
    arguments: dict[str, Any] = {"channels": 2, "state_size": 8} | options
    with pytest.raises(InvalidArgumentError, match=message):
        DSS(**arguments)
