"""ZOH and bilinear discretisation against SciPy and high precision."""

import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from scipy.signal import cont2discrete

from hydropress.systems.discretization import discretize_bilinear, discretize_zoh
from tolerances import ROUNDING

POLES = [-0.5 + 97j, -1 + 3j, -19 + 0j, -1e-3 + 1j, -1e-6 + 20j, -1e-4 + 1e3j, -1e-8 + 0j]
STEPS = [1e-3, 1e-1, 1.0]


def apply(discretize, pole, step):
    exponent, gain = discretize(
        torch.tensor([pole], dtype=torch.complex128), torch.tensor(step, dtype=torch.float64)
    )
    return exponent.item(), gain.item()


@pytest.mark.parametrize("pole", [-0.5 + 97j, -1 + 3j, -19 + 0j, -1e-3 + 1j, -50 + 0j])
@pytest.mark.parametrize("step", [1e-3, 1e-1])
@pytest.mark.parametrize(
    ("discretize", "method"), [(discretize_zoh, "zoh"), (discretize_bilinear, "bilinear")]
)
def test_equals_scipy(discretize, method, pole, step):
    # SciPy takes real matrices: the complex state is a rotation block, driven on the real part.
    block = np.array([[pole.real, -pole.imag], [pole.imag, pole.real]])
    real_system = (block, np.array([[1.0], [0.0]]), np.eye(2), np.zeros((2, 1)))
    to_discrete: Any = cont2discrete  # its types lack the case of four matrices
    A, B, *_ = to_discrete(real_system, step, method)
    exponent, gain = apply(discretize, pole, step)
    assert np.exp(exponent) == pytest.approx(complex(A[0, 0], A[1, 0]), rel=1e-12)
    assert gain == pytest.approx(complex(B[0, 0], B[1, 0]), rel=1e-12)


def exact_zoh(pole, step):
    z = mpmath.mpc(pole) * mpmath.mpf(step)
    return z, mpmath.mpf(step) * (mpmath.expm1(z) / z if z != 0 else 1)


def exact_bilinear(pole, step):
    half = mpmath.mpc(pole) * mpmath.mpf(step) / 2
    return mpmath.log((1 + half) / (1 - half)), mpmath.mpf(step) / (1 - half)


@pytest.mark.parametrize("pole", [*POLES, -1e-13 + 0j, -1e-12 + 1e-11j, 0j])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("discretize", "exact"),
    [(discretize_zoh, exact_zoh), (discretize_bilinear, exact_bilinear)],
    ids=["zoh", "bilinear"],
)
def test_decay_frequency_and_gain_keep_their_digits(discretize, exact, pole, step):
    exponent, gain = apply(discretize, pole, step)
    with mpmath.workdps(50):
        expected, expected_gain = exact(pole, step)
        assert abs(exponent.real - expected.real) <= ROUNDING * abs(expected.real)
        assert abs(exponent.imag - expected.imag) <= ROUNDING * abs(expected.imag)
        assert abs(mpmath.mpc(gain) - expected_gain) <= ROUNDING * abs(expected_gain)


def test_the_limit_at_zero():
    for discretize in (discretize_zoh, discretize_bilinear):
        assert apply(discretize, 0j, 0.25) == (0, 0.25)


def test_the_response_of_a_held_input():
    # x' = -x + u with u = 1: after n steps x = 1 - e^{-n step}.
    exponent, gain = apply(discretize_zoh, -1 + 0j, 0.3)
    state = 0
    for count in range(1, 6):
        state = np.exp(exponent) * state + gain
        assert state.real == pytest.approx(1 - math.exp(-0.3 * count), rel=ROUNDING)


def test_steps_broadcast_over_channels():
    poles = torch.tensor([-1 + 2j, -3 + 0j], dtype=torch.complex128)
    steps = torch.tensor([[0.1], [0.2], [0.5]], dtype=torch.float64)
    for discretize in (discretize_zoh, discretize_bilinear):
        exponents, gains = discretize(poles.expand(3, 2), steps)
        for row, step in enumerate(steps[:, 0]):
            one_exponent, one_gain = discretize(poles, step)
            torch.testing.assert_close(exponents[row], one_exponent, rtol=ROUNDING, atol=0)
            torch.testing.assert_close(gains[row], one_gain, rtol=ROUNDING, atol=0)


def test_a_bilinear_pole_beyond_the_step_alternates():
    # λΔ = -4: (1 - 2) / (1 + 2) = -1/3.
    exponent, _ = apply(discretize_bilinear, -4 + 0j, 1.0)
    assert np.exp(exponent) == pytest.approx(-1 / 3, rel=ROUNDING)


@pytest.mark.parametrize("discretize", [discretize_zoh, discretize_bilinear])
def test_gradients_also_at_zero(discretize):
    poles = torch.tensor([-1 + 2j, -0.1 + 0j], dtype=torch.complex128, requires_grad=True)
    steps = torch.tensor([0.1, 0.3], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(discretize, (poles, steps))
    # e^{z/2} gain: the gain's slope at λ = 0 is Δ²/2 for both rules.
    zero = torch.zeros(1, dtype=torch.complex128, requires_grad=True)
    _, gain = discretize(zero, torch.tensor(0.5, dtype=torch.float64))
    (slope,) = torch.autograd.grad(gain.real.sum(), zero)
    assert slope.item() == pytest.approx(0.125, rel=1e-9)
