"""Gramians and Hankel singular values of systems of several inputs and outputs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from pymor.models.iosys import LTIModel

import mimo_oracles as oracles
from hydropress.errors import UnstableSystemError
from hydropress.systems.gramians import (
    EXACT_INPUTS,
    all_mimo_modes,
    controllability_gramian,
    hankel_singular_values,
    observability_gramian,
    real_gramian_factors,
)
from hydropress.systems.modal import ModalSystem
from hydropress.systems.norms import h2_norm
from reduction.mimo import as_mimo
from strategies import mimo_systems, seeded_bank, seeded_mimo
from tolerances import DENSE, ROUNDING

TIMES = ["discrete", "continuous"]
SIZES = [(2, 3), (1, 1), (EXACT_INPUTS, EXACT_INPUTS + 1), (12, 10)]


@given(mimo_systems())
def test_gramians_solve_their_lyapunov_equations(system):
    exponents, B, C = all_mimo_modes(system)
    A = torch.diag(torch.exp(exponents) if system.time == "discrete" else exponents)
    P, Q = controllability_gramian(system), observability_gramian(system)
    for matrix, X, right in ((A, P, B @ B.mH), (A.mH, Q, C.mH @ C)):
        if system.time == "discrete":
            left, scale = matrix @ X @ matrix.mH - X, 1.0
        else:
            left, scale = matrix @ X + X @ matrix.mH, float(A.abs().max())
        assert (left + right).abs().max() <= ROUNDING * scale * X.abs().max()


@given(mimo_systems())
@settings(max_examples=25)
def test_both_gramians_give_the_norm(system):
    _, B, C = all_mimo_modes(system)
    square = h2_norm(system).item() ** 2
    outputs = (C @ controllability_gramian(system) @ C.mH).diagonal().sum().real.item()
    inputs = (B.mH @ observability_gramian(system) @ B).diagonal().sum().real.item()
    assert outputs == pytest.approx(square, rel=1e-9)
    assert inputs == pytest.approx(square, rel=1e-9)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 9])
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_hankel_singular_values_equal_the_dense_route(time, horizon, inputs, outputs):
    system = seeded_mimo((), inputs, outputs, 3, 2, time=time)
    values = hankel_singular_values(system, horizon).numpy()
    expected = oracles.hankel_singular_values(system, horizon)
    assert len(values) == 10
    np.testing.assert_allclose(values[:8], expected, rtol=0, atol=DENSE * expected[0])
    assert values[8:].max() < 3e-8 * values[0]


@pytest.mark.parametrize(("inputs", "outputs"), SIZES[:3])
def test_hankel_singular_values_equal_pymor_s(inputs, outputs):
    system = seeded_mimo((), inputs, outputs, 3, 1, time="continuous", seed=5)
    model = LTIModel.from_matrices(*oracles.dense_state_space(system))
    np.testing.assert_allclose(hankel_singular_values(system)[:7], model.hsv(), rtol=1e-6)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 9])
@pytest.mark.parametrize(("inputs", "outputs"), SIZES)
def test_real_factors_are_factors(time, horizon, inputs, outputs):
    system = seeded_mimo((), inputs, outputs, 2, time=time)
    # Pairs alone: the dense realisation has the same states, up to √2 between B and C.
    P, Q = oracles.gramians(system, horizon)
    Z_P, Z_Q = (factor.numpy() for factor in real_gramian_factors(system, horizon))
    np.testing.assert_allclose(Z_P @ Z_P.T, 2 * P, rtol=0, atol=1e-10 * abs(P).max())
    np.testing.assert_allclose(Z_Q @ Z_Q.T, Q / 2, rtol=0, atol=1e-10 * abs(Q).max())


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [None, 9])
def test_one_input_and_output_has_the_scalar_values(time, horizon):
    scalar = seeded_bank((2,), 3, 2, time=time)
    expected = hankel_singular_values(scalar, horizon)
    actual = hankel_singular_values(as_mimo(scalar), horizon)
    torch.testing.assert_close(actual, expected, rtol=0, atol=3e-8 * float(expected.max()))


def test_mixing_orthogonally_changes_nothing_and_transposing_neither():
    system = seeded_mimo((), 3, 2, 2, 1)
    expected = hankel_singular_values(system)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q.to(torch.complex128)
    for B, C in ((system.B @ turn, system.C), (system.C.mT, system.B.mT)):
        other = ModalSystem.mimo(system.poles, B, C)
        torch.testing.assert_close(hankel_singular_values(other), expected, rtol=1e-11, atol=1e-13)


def test_unstable_systems_have_them_on_a_horizon_only():
    system = ModalSystem.mimo([1.0, 0.5], [[1.0, 1.0], [1.0, -1.0]], [[1.0, 1.0]])
    for function in (hankel_singular_values, controllability_gramian, real_gramian_factors):
        with pytest.raises(UnstableSystemError, match="does not decay"):
            function(system)
    values = hankel_singular_values(system, 4).numpy()
    expected = oracles.hankel_singular_values(system, 4)
    np.testing.assert_allclose(values[:2], expected, rtol=1e-7)
