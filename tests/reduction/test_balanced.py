"""Balanced truncation against dense square-root implementations."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from pymor.models.iosys import LTIModel
from pymor.reductors.bt import BTReductor
from scipy import linalg

import oracles
from hydropress.reduction.reduce import reduce
from hydropress.systems.gramians import hankel_singular_values
from strategies import build, modal_systems, s4d_bank, seeded_bank
from tolerances import DENSE

CIRCLE = np.exp(1j * np.linspace(0.01, 3.1, 60))
AXIS = 1j * np.geomspace(1e-2, 1e2, 60)


def dense_truncation(system, order):
    """Return A, B, C truncated by the square-root method, and the Hankel singular values."""
    A, B, C, _ = oracles.dense_state_space(system)
    factors = []
    for gramian in oracles.gramians(system):
        values, vectors = linalg.eigh((gramian + gramian.T) / 2)
        factors.append(vectors * np.sqrt(np.clip(values, 0, None)))
    Z_P, Z_Q = factors
    U, sigma, Vh = linalg.svd(Z_Q.T @ Z_P)
    root = np.sqrt(sigma[:order])
    W, T = Z_Q @ U[:, :order] / root, Z_P @ Vh[:order].T / root
    return (W.T @ A @ T, W.T @ B, C @ T), sigma


def respond(matrices, time, points):
    A, B, C = matrices
    identity = np.eye(len(B))
    inverses = [identity - A / z if time == "discrete" else z * identity - A for z in points]
    return np.array([C @ np.linalg.solve(matrix, B) for matrix in inverses])


def assert_same_truncation(full, order):
    points = CIRCLE if full.time == "discrete" else AXIS
    small = reduce(full.reshape(1), order, "balanced").system[0]
    matrices, sigma = dense_truncation(full, order)
    wanted = respond(matrices, full.time, points)
    actual = oracles.transfer_function(small, points) - float(small.D)
    assert np.abs(actual - wanted).max() <= DENSE * np.abs(wanted).max()
    return sigma


@pytest.mark.parametrize("time", ["discrete", "continuous"])
@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_agrees_with_the_dense_square_root_method(time, order):
    full = seeded_bank((1,), 4, 2, time=time, seed=51, decays=(0.05, 1.0))[0]
    sigma = assert_same_truncation(full, order)
    np.testing.assert_allclose(hankel_singular_values(full)[: len(sigma)], sigma, rtol=DENSE)


@given(modal_systems(max_modes=4, nearest=1e-2))
@settings(max_examples=30)
def test_agrees_with_the_dense_square_root_method_on_awkward_systems(full):
    assume(int(full.order) > 1)
    _, sigma = dense_truncation(full, 1)
    # Where the values fall most, the truncation is well defined.
    order = int(np.argmax(sigma[:-1] / np.maximum(sigma[1:], 1e-300))) + 1
    assume(sigma[order - 1] > 1e-4 * sigma[0])
    assume(sigma[order] < 0.5 * sigma[order - 1])
    assert_same_truncation(full, order)


@pytest.mark.parametrize("order", [1, 3, 4])
def test_agrees_with_pymor(order):
    full = seeded_bank((1,), 4, 1, time="continuous", seed=52, decays=(0.05, 1.0))
    A, B, C, _ = oracles.dense_state_space(full[0])
    model = LTIModel.from_matrices(A, B[:, None], C[None])
    wanted = BTReductor(model).reduce(order)
    small = reduce(full, order, "balanced").system[0]
    for point in AXIS[::6]:
        expected = wanted.transfer_function.eval_tf(point)[0, 0]
        actual = oracles.transfer_function(small, np.array([point]))[0] - float(small.D)
        assert actual == pytest.approx(expected, rel=DENSE, abs=DENSE)
    np.testing.assert_allclose(hankel_singular_values(full[0])[:9], model.hsv(), rtol=1e-6)


@pytest.mark.parametrize("full", [s4d_bank(1, 8, seed=53)[0], seeded_bank((), 3, 2, seed=54)])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_error_is_below_twice_the_tail_of_hankel_singular_values(full, order):
    small = reduce(full.reshape(1), order, "balanced").system[0]
    sigma = hankel_singular_values(full).numpy()
    circle = np.exp(1j * np.linspace(0, np.pi, 2000))
    error = oracles.transfer_function(full, circle) - oracles.transfer_function(small, circle)
    # Enns and Glover: from the next Hankel singular value up to twice the sum of the rest.
    assert np.abs(error).max() <= 2 * sigma[order:].sum() * (1 + 1e-9)
    assert np.abs(error).max() >= sigma[order] * 0.99


def test_an_order_above_the_rank_returns_the_system():
    doubled = build([-0.1 + 1j, -0.1 + 1j, -0.5], [1.0, 2.0, 0.0], [2, 2, 1]).reshape(1)
    result = reduce(doubled, 4, "balanced")
    assert float(result.relative_error[0]) < 1e-7
    assert int(result.system.order[0]) <= 4
