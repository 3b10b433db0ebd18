"""Gramians and their factors against Lyapunov equations, and Hankel singular values."""

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from mpmath import mpc

import oracles
from hydropress.errors import UnstableSystemError
from hydropress.systems.gramians import (
    all_modes,
    controllability_factor,
    controllability_gramian,
    hankel_singular_values,
    observability_gramian,
    real_gramian_factors,
)
from hydropress.systems.modal import ModalSystem
from strategies import bank, build, modal_banks, modal_systems, s4d_bank, seeded_bank
from tolerances import DENSE, NORM, ROUNDING

TIMES = ["discrete", "continuous"]


def residual(A, P, right, time):
    """Return what is left of A P A^H - P + right, or A P + P A^H + right, relative to P."""
    AP = A[..., :, None] * P
    left = AP * A.conj()[..., None, :] - P if time == "discrete" else AP + AP.mH
    scale = torch.linalg.matrix_norm(P) * (1 if time == "discrete" else A.abs().amax(-1))
    return (torch.linalg.matrix_norm(left + right) / scale).max()


@given(modal_systems())
def test_gramians_solve_their_lyapunov_equations(system):
    exponents, residues = all_modes(system)
    A = torch.exp(exponents) if system.time == "discrete" else exponents
    P, Q = controllability_gramian(system), observability_gramian(system)
    ones = torch.ones(len(A), len(A), dtype=torch.complex128)
    assert residual(A, P, ones, system.time) < ROUNDING
    outer = residues.conj()[:, None] * residues
    assert residual(A.conj(), Q, outer, system.time) < ROUNDING


@given(modal_systems())
def test_gramians_are_hermitian_and_positive_semidefinite(system):
    for gramian in (controllability_gramian(system), observability_gramian(system)):
        size = gramian.abs().max()
        assert (gramian - gramian.mH).abs().max() <= ROUNDING * size
        assert torch.linalg.eigvalsh(gramian).min() >= -ROUNDING * size


def test_one_real_pole_by_hand():
    # Both halves of the double entry: P = Σ a^2t = 1 / (1 - a²), Q = (ρ/2)² P.
    system = ModalSystem.siso([0.5], [3.0])
    expected = torch.full((2, 2), 4 / 3, dtype=torch.complex128)
    torch.testing.assert_close(controllability_gramian(system), expected)
    torch.testing.assert_close(observability_gramian(system), 2.25 * expected)
    assert hankel_singular_values(system).tolist() == pytest.approx([3 * 4 / 3, 0], abs=ROUNDING)
    # ρ / (2 |λ|) in continuous time.
    system = ModalSystem.siso([-2.0], [-3.0], time="continuous")
    assert hankel_singular_values(system).tolist() == pytest.approx([0.75, 0], abs=ROUNDING)


@pytest.mark.parametrize("time", TIMES)
def test_on_a_finite_horizon_it_is_the_sum_so_far(time):
    system = seeded_bank((), 2, 1, time=time)
    exponents, _ = all_modes(system)
    if time == "discrete":
        steps, weights = np.arange(7), np.ones(7)
    else:
        nodes, weights = np.polynomial.legendre.leggauss(40)
        steps, weights = 3.5 * (nodes + 1), 3.5 * weights
    powers = np.exp(exponents.numpy()[:, None] * steps)
    expected = (powers * weights) @ powers.conj().T
    np.testing.assert_allclose(controllability_gramian(system, horizon=7), expected, rtol=1e-12)
    growing = build([0.1, 0.2 + 1j], [1.0, 1.0], [1, 2], time=time)
    assert torch.isfinite(observability_gramian(growing, horizon=7).abs()).all()


@given(modal_systems())
def test_the_factor_is_a_factor(system):
    exponents, _ = all_modes(system)
    factor = controllability_factor(exponents, system.time)
    gramian = controllability_gramian(system)
    assert torch.equal(factor, torch.tril(factor))
    scale = gramian.diagonal().real.sqrt()
    difference = (factor @ factor.mH - gramian).abs() / (scale[:, None] * scale)
    assert difference.max() < NORM


@pytest.mark.parametrize("time", TIMES)
def test_every_entry_of_the_factor_is_right_in_a_cluster(time):
    # Four poles 1e-5 apart: the last diagonal entry of the factor is 1e-12 of the first, and what
    # a Cholesky factorisation of the Gramian returns there, if anything, is noise.
    exponents = torch.tensor(
        [-1e-2 + 0.3j, -1.001e-2 + 0.3j, -1e-2 + 0.30001j, -1.0005e-2 + 0.30001j],
        dtype=torch.complex128,
    )
    factor = controllability_factor(exponents, time)
    with mpmath.workdps(oracles.DIGITS):
        modes = [mpc(value) for value in exponents.tolist()]
        gramian = mpmath.matrix(4)
        for i, s in enumerate(modes):
            for j, z in enumerate(modes):
                w = s + mpmath.conj(z)
                gramian[i, j] = -1 / mpmath.expm1(w) if time == "discrete" else -1 / w
        exact = mpmath.cholesky(gramian)
        expected = np.array([[complex(exact[i, j]) for j in range(4)] for i in range(4)])
    # Equal up to the phase of each column.
    magnitudes, wanted = factor.abs().numpy(), np.abs(expected)
    assert wanted[3, 3] < 1e-7 * wanted[0, 0]
    np.testing.assert_allclose(magnitudes, wanted, rtol=1e-9, atol=0)


@given(modal_systems(nearest=1e-2))
def test_real_factors_solve_real_lyapunov_equations(system):
    # One state of every real pole is unused in these coordinates.
    poles, residues, states = system.poles, system.residues, system.states
    size = 2 * system.num_poles
    A, B, C = np.zeros((size, size)), np.zeros(size), np.zeros(size)
    for i in range(system.num_poles):
        a, r, m = poles[i].item(), residues[i].item(), states[i].item()
        A[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[a.real, -a.imag], [a.imag, a.real]]
        B[2 * i] = np.sqrt(2)
        C[2 * i : 2 * i + 2] = m / np.sqrt(2) * np.array([r.real, -r.imag])
    Z_P, Z_Q = (factor.numpy() for factor in real_gramian_factors(system))
    P, Q = Z_P @ Z_P.T, Z_Q @ Z_Q.T
    if system.time == "discrete":
        left = A @ P @ A.T - P + np.outer(B, B), A.T @ Q @ A - Q + np.outer(C, C)
        scale = 1.0
    else:
        left = A @ P + P @ A.T + np.outer(B, B), A.T @ Q + Q @ A + np.outer(C, C)
        scale = np.abs(A).max()
    assert np.abs(left[0]).max() <= 1e-12 * scale * np.abs(P).max()
    assert np.abs(left[1]).max() <= 1e-12 * scale * np.abs(Q).max()


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("seed", range(3))
def test_hankel_singular_values_equal_the_dense_route(time, seed):
    system = seeded_bank((), 3, 2, time=time, seed=seed, decays=(5e-2, 1.0))
    values = hankel_singular_values(system).numpy()
    expected = oracles.hankel_singular_values(system)
    assert len(values) == 10
    np.testing.assert_allclose(values[:8], expected, rtol=0, atol=DENSE * expected[0])
    assert values[8:].max() < ROUNDING * values[0]


@pytest.mark.parametrize(
    "system",
    [
        build([-1e-6 + 0.5j, -2e-6 + 0.5j], [1.0, 1j], [2, 2]),
        build([-1e-6, -1.01e-6, -0.5 + 1j], [1.0, -1.0, 1e-4], [1, 1, 2]),
        build([-1e-6 + 1e-3j, -3.0], [1.0, 2.0], [2, 1], time="continuous"),
        build([-0.1 + 3.14159j, -0.1001 + 3.1415j], [1.0, -1.0], [2, 2]),
    ],
    ids=["boundary", "cancelling cluster", "continuous", "near the Nyquist frequency"],
)
def test_small_hankel_singular_values_keep_their_digits(system):
    expected = oracles.accurate_hankel_singular_values(system)
    values = hankel_singular_values(system).numpy()[: len(expected)]
    np.testing.assert_allclose(values, expected, rtol=1e-8, atol=ROUNDING * expected[0])


def test_they_do_not_depend_on_the_order_of_the_poles():
    system = s4d_bank(4, 16)
    turned = ModalSystem.from_exponents(
        system.exponents.flip(-1), system.residues.flip(-1), system.states.flip(-1)
    )
    first, second = hankel_singular_values(system), hankel_singular_values(turned)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12 * first.max().item())
    assert bool((first.diff(dim=-1) <= 0).all())


@given(modal_banks(nearest=1e-3))
def test_a_batch_equals_a_loop(systems):
    values = hankel_singular_values(systems)
    for index, row in enumerate(values):
        torch.testing.assert_close(
            hankel_singular_values(systems[index]), row, rtol=0, atol=1e-11 * row.max().item()
        )


def test_no_states_no_values():
    nothing = ModalSystem.siso(torch.zeros(2, 0), torch.zeros(2, 0))
    assert hankel_singular_values(nothing).shape == (2, 0)
    padded = bank([nothing[0], build([-1.0], [1.0], [1])])
    assert hankel_singular_values(padded)[0].tolist() == [0, 0]


def test_unstable_systems_have_none():
    system = ModalSystem.siso([1.0], [1.0])
    for function in (hankel_singular_values, controllability_gramian, real_gramian_factors):
        with pytest.raises(UnstableSystemError, match="does not decay"):
            function(system)
