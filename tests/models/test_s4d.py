"""S4D: initial poles by formula, kernels by the plain Vandermonde product."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call

from hydropress.errors import InvalidArgumentError
from hydropress.models.s4d import S4D, initial_poles
from tolerances import LAYER, ROUNDING

INITIALIZATIONS = ["lin", "inv", "legs", "real"]


def test_lin_by_hand():
    assert initial_poles("lin", 6).tolist() == [-0.5, -0.5 + 1j * math.pi, -0.5 + 2j * math.pi]


def test_inv_by_hand():
    # N = 4: (4/π)(4/1 - 1) = 12/π and (4/π)(4/3 - 1) = 4/(3π).
    expected = [-0.5 + 12j / math.pi, -0.5 + 4j / (3 * math.pi)]
    assert initial_poles("inv", 4).tolist() == pytest.approx(expected, rel=ROUNDING)


def test_real_by_hand():
    assert initial_poles("real", 3).tolist() == [-1, -2, -3]


@pytest.mark.parametrize("size", [2, 4, 16, 64])
def test_legs_are_the_eigenvalues_of_the_dense_normal_matrix(size):
    # HiPPO-LegS: A_nk = -√(2n+1) √(2k+1) below the diagonal, -(n+1) on it; adding the rank one
    # (n + 1/2)^½ (k + 1/2)^½ makes it normal.
    n = np.arange(size)
    A = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1)
    normal = A + np.sqrt(np.outer(n + 0.5, n + 0.5))
    np.testing.assert_allclose(normal @ normal.T, normal.T @ normal, atol=1e-9 * size**2)
    eigenvalues = np.linalg.eigvals(normal)
    expected = np.sort(eigenvalues.imag[eigenvalues.imag > 0])
    poles = initial_poles("legs", size)
    np.testing.assert_allclose(np.sort(poles.imag), expected, rtol=1e-9)
    np.testing.assert_allclose(eigenvalues.real, -0.5, atol=1e-9 * size)
    assert poles.real.tolist() == [-0.5] * (size // 2)


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
def test_a_layer_starts_with_these_poles(initialization):
    layer = S4D(3, 8, initialization=initialization)
    poles = layer.system().exponents[0] / layer.log_step.detach().double().exp()[:, None]
    expected = initial_poles(initialization, 8)
    for row in poles:
        torch.testing.assert_close(row, expected, rtol=1e-6, atol=1e-9)
    assert layer.system().order.tolist() == [[8, 8, 8]]


def naive_kernel(layer, length):
    """K[t] = Re Σ c a^t g, with the textbook's a and gain g, power by power."""
    decay = np.exp(layer.log_decay.detach().double().numpy())
    step = np.exp(layer.log_step.detach().double().numpy())[:, None]
    weights = layer.C.detach().double().numpy()
    if layer.has_real_poles:
        poles, weights = -decay, weights[..., 0]
    else:
        poles = -decay + 1j * layer.frequency.detach().double().numpy()
        weights = 2 * (weights[..., 0] + 1j * weights[..., 1])
    if layer.discretization == "zoh":
        discrete = np.exp(step * poles)
        gain = (discrete - 1) / poles
    else:
        discrete = (1 + step * poles / 2) / (1 - step * poles / 2)
        gain = step / (1 - step * poles / 2)
    vandermonde = discrete[..., None] ** np.arange(length)
    return (weights[..., None] * gain[..., None] * vandermonde).real.sum(-2)


@pytest.mark.parametrize("initialization", INITIALIZATIONS)
@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_kernel_equals_the_plain_product(initialization, discretization, bidirectional):
    layer = S4D(
        3,
        16,
        initialization=initialization,
        discretization=discretization,
        bidirectional=bidirectional,
    )
    expected = naive_kernel(layer, 500)
    scale = np.abs(expected).max()
    for dtype in (torch.float32, torch.float64):
        kernel = layer.to(dtype).kernel(500).detach()
        assert kernel.dtype == dtype
        assert kernel.shape == (1 + bidirectional, 3, 500)
        assert np.abs(kernel.numpy() - expected).max() <= LAYER[dtype] * scale


def test_steps_are_drawn_log_uniformly():
    log_step = S4D(4000, 2, step_range=(1e-3, 1e-1)).log_step.detach()
    low, high = math.log(1e-3), math.log(1e-1)
    assert low <= log_step.min() < low + 0.05
    assert high - 0.05 < log_step.max() <= high
    # Mean and deviation of a uniform variable, to five standard errors.
    share = (log_step - low) / (high - low)
    assert abs(share.mean() - 0.5) < 5 * math.sqrt(1 / 12 / 4000)
    assert abs(share.std() - math.sqrt(1 / 12)) < 0.02


@given(
    st.lists(st.floats(-8, 4, width=32), min_size=2, max_size=2),
    st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=2),
    st.floats(-8, 2, width=32),
    st.sampled_from(["zoh", "bilinear"]),
)
def test_every_value_of_the_parameters_is_stable(log_decay, frequency, log_step, discretization):
    layer = S4D(1, 4, discretization=discretization)
    with torch.no_grad():
        layer.log_decay.copy_(torch.tensor([log_decay]))
        layer.frequency.copy_(torch.tensor([frequency]))
        layer.log_step.fill_(log_step)
    system = layer.system()
    system.require_stable()
    assert torch.isfinite(system.residues.abs()).all()


@pytest.mark.parametrize("initialization", ["lin", "real"])
@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
def test_gradients_of_the_kernel(initialization, discretization):
    layer = S4D(2, 4, initialization=initialization, discretization=discretization).double()
    names = [name for name, _ in layer.named_parameters() if name != "D"]

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
        ({"initialization": "hippo"}, "initialization='hippo'; required: one of lin, inv, legs, r"),
        ({"discretization": "euler"}, "discretization='euler'; required: one of zoh, bilinear"),
        ({"state_size": 0}, "state_size=0"),
        ({"state_size": 7}, "positive even number"),
        ({"state_size": 8.0}, "state_size=8.0"),
        ({"channels": 0}, "channels=0"),
        ({"channels": 2.5}, "channels=2.5"),
        ({"step_range": (0, 0.1)}, "step_range=.0, 0.1."),
        ({"step_range": (-1e-3, 0.1)}, "step_range="),
        ({"step_range": (0.1, 0.01)}, "step_range="),
        ({"step_range": (0.1, math.inf)}, "step_range="),
        ({"step_range": (math.nan, 0.1)}, "step_range="),
        ({"step_range": (0.1,)}, "step_range="),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        S4D(**({"channels": 4} | options))


def test_odd_numbers_of_real_poles_are_right():
    assert S4D(2, 5, initialization="real").system().order.tolist() == [[5, 5]]
