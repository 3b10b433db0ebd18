"""Balanced coordinates: MIMO, time-limited, and singular perturbation, against dense matrices."""

import numpy as np
import pytest
import torch
from scipy import linalg

import mimo_oracles as oracles
from hydropress.reduction.balancing import Balancing
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import ModalSystem, SISOSystem
from reduction.mimo import as_mimo
from strategies import build, seeded_bank, seeded_mimo
from tolerances import DENSE

TIMES = ["discrete", "continuous"]
CIRCLE = np.exp(1j * np.linspace(0, 3.1, 40))
AXIS = 1j * np.concatenate([[0.0], np.geomspace(1e-2, 1e2, 40)])


def dense_balancing(system, horizon=None):
    """Return A, B, C in balanced coordinates by the square-root method."""
    A, B, C = oracles.dense_state_space(system)
    factors = []
    for gramian in oracles.gramians(system, horizon):
        values, vectors = linalg.eigh((gramian + gramian.T) / 2)
        factors.append(vectors * np.sqrt(np.clip(values, 0, None)))
    Z_P, Z_Q = factors
    U, sigma, Vh = linalg.svd(Z_Q.T @ Z_P)
    W, T = Z_Q @ U / np.sqrt(sigma), Z_P @ Vh.T / np.sqrt(sigma)
    return W.T @ A @ T, W.T @ B, C @ T


def respond(A, B, C, D, time, points):
    """Return C (I - A/z)^-1 B + D, or C (sI - A)^-1 B + D."""
    identity = np.eye(len(A))
    inverses = [identity - A / z if time == "discrete" else z * identity - A for z in points]
    return np.array([C @ np.linalg.solve(matrix, B) + D for matrix in inverses])


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize(("inputs", "outputs", "horizon"), [(2, 3, None), (2, 3, 9), (9, 10, None)])
def test_truncation_agrees_with_the_dense_one(time, order, inputs, outputs, horizon):
    full = seeded_mimo((1,), inputs, outputs, 3, 1, time=time, seed=81)
    points = CIRCLE if time == "discrete" else AXIS
    A, B, C = dense_balancing(full[0], horizon)
    A, B, C = A[:order, :order], B[:order], C[:, :order]
    poles = np.linalg.eigvals(A)
    assert (abs(poles) < 1 if time == "discrete" else poles.real < 0).all()  # none is mirrored
    wanted = respond(A, B, C, full.D[0].numpy(), time, points)
    small = Balancing.of(full, horizon).truncate(order)[0]
    actual = oracles.transfer_function(small, points)
    assert np.abs(actual - wanted).max() <= DENSE * np.abs(wanted).max()


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("order", [1, 2, 4, 7])
def test_singular_perturbation_agrees_with_the_dense_one_and_keeps_the_gain(time, order):
    full = seeded_mimo((1,), 2, 3, 3, 1, time=time, seed=82)
    discrete = time == "discrete"
    points = CIRCLE if discrete else AXIS
    A, B, C = dense_balancing(full[0])
    D = full.D[0].numpy()
    if discrete:
        # k[t] = C A^t B from t = 0 on is the textbook's from t = 1 on with D + CB and CA.
        D, C = D + C @ B, C @ A
    one, two = slice(None, order), slice(order, None)
    rest = np.eye(len(A) - order) - A[two, two] if discrete else -A[two, two]
    reach = np.linalg.solve(rest, np.hstack([A[two, one], B[two]]))
    A_r = A[one, one] + A[one, two] @ reach[:, :order]
    B_r, C_r = B[one] + A[one, two] @ reach[:, order:], C[:, one] + C[:, two] @ reach[:, :order]
    D_r = D + C[:, two] @ reach[:, order:]
    wanted = np.array([C_r @ np.linalg.solve(z * np.eye(order) - A_r, B_r) + D_r for z in points])
    small = Balancing.of(full).residualize(order)[0]
    assert bool((small.decay > 0).all())
    actual = oracles.transfer_function(small, points)
    assert np.abs(actual - wanted).max() <= DENSE * np.abs(wanted).max()
    gain = oracles.transfer_function(full[0], points[:1])
    np.testing.assert_allclose(actual[:1], gain, rtol=0, atol=1e-9 * np.abs(gain).max())


@pytest.mark.parametrize("time", TIMES)
def test_one_input_and_output_is_the_scalar_system(time):
    scalar = seeded_bank((2,), 3, 1, time=time, seed=83)
    for shorten in (Balancing.truncate, Balancing.residualize):
        for order in (1, 3):
            one, many = (shorten(Balancing.of(full), order) for full in (scalar, as_mimo(scalar)))
            kernel = many.impulse_response(40)[:, 0, 0]
            torch.testing.assert_close(one.impulse_response(40), kernel, rtol=0, atol=1e-9)
            torch.testing.assert_close(one.D, many.D[:, 0, 0], rtol=0, atol=1e-9)


def test_a_system_of_lower_rank_comes_back_at_its_rank():
    doubled = build([-0.1 + 1j, -0.1 + 1j, -0.5], [1.0, 2.0, 0.0], [2, 2, 1]).reshape(1)
    for full in (doubled, as_mimo(doubled)):
        for order in (3, 4, 5):
            small = Balancing.of(full).truncate(order)
            assert small.order.tolist() == [2]


@pytest.mark.parametrize("time", TIMES)
def test_a_growing_system_is_reduced_on_a_horizon(time):
    full = build([0.01 + 0.4j, -0.2, -0.4 + 2j], [1.0, 0.5, 0.1], [2, 1, 2], 1.0, time).reshape(1)
    for one in (full, as_mimo(full)):
        result = reduce(one, 2, "balanced", horizon=10)
        assert bool((result.system.decay > 0).all())
        assert float(result.relative_error) < 0.5


def test_a_truncation_with_a_pole_at_zero_is_a_system_too():
    # k = 1, 0, -1/4, 0, 1/16, …: the first balanced state is not fed back to itself at all.
    full = build([complex(np.log(0.5), np.pi / 2)], [0.5], [2]).reshape(1)
    for one in (full, as_mimo(full)):
        result = reduce(one, 1, "balanced")
        assert bool((result.system.decay > 0).all())
        assert float(result.relative_error) < 0.3


@pytest.mark.parametrize(("length", "last"), [(4, 2), (6, 3), (8, 5)])
def test_a_leaking_ring_of_delays_is_truncated_to_a_line_of_delays(length, last):
    # State j of a ring that halves at every step is reached after j steps and heard after
    # last - j more, so that the states are balanced but for scales.  Those behind the last are
    # dropped, and of the kernel the first pulse stays, whose poles are all 0.
    A, identity = 0.5 * np.roll(np.eye(length), 1, axis=0), np.eye(length)
    ring = ModalSystem.from_state_space(A, identity[0], identity[last], delay=1)
    line = reduce(ring, last + 1, method="balanced").system
    pulse = 0.5**last * torch.eye(3 * length).double()[last + 1]
    # Rounding moves the poles away from 0 and each other, which makes residues large: the samples
    # are right to the rounding of their sum.
    assert isinstance(line, SISOSystem)
    rounding = 10 * np.finfo(float).eps * (line.states * line.residues.abs()).sum()
    assert (line.impulse_response(3 * length) - pulse).abs().max() < rounding
