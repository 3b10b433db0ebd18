"""Systems whose modes act one sample late: the same sums, written out with NumPy."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg

from hydropress.errors import InvalidArgumentError
from hydropress.models.modal_ssm import ModalSSM
from hydropress.systems.assembly import compact, concatenate, stack, where, without_silent_modes
from hydropress.systems.delay import with_delay
from hydropress.systems.gramians import (
    controllability_gramian,
    hankel_singular_values,
    observability_gramian,
)
from hydropress.systems.modal import MIMOSystem, ModalSystem
from hydropress.systems.norms import h2_error, h2_inner_product, h2_norm, relative_h2_error
from strategies import mimo_systems, modal_systems, seeded_bank, seeded_mimo
from tolerances import DENSE, NORM, ROUNDING


def late(system: Any) -> Any:
    return replace(system, delay=1)


def scalar(seed: int = 0, batch: tuple[int, ...] = ()) -> Any:
    return late(seeded_bank(batch, 2, 2, seed=seed, decays=(0.05, 1.0)))


def mimo(seed: int = 0, batch: tuple[int, ...] = ()) -> Any:
    return late(seeded_mimo(batch, 2, 3, 2, 1, seed=seed))


KINDS = {"scalar": scalar, "mimo": mimo}


def respond(system: ModalSystem, length: int) -> Any:
    """Return h[t] of x[t+1] = A x[t] + B u[t], y = C x + D u, ``(P, M, L)``, step by step."""
    assert system.delay == 1
    A, B, C, D = (part.numpy() for part in system.to_state_space())
    samples, x = [D], B
    while len(samples) < length:
        samples.append(C @ x)
        x = A @ x
    return np.stack(samples, -1)


def kernel(system: ModalSystem, length: int) -> Any:
    response = respond(system, length)
    response[..., 0] = 0
    return response


def whole(system: ModalSystem, length: int) -> Any:
    """Return k + D δ of the record, ``(P, M, L)``."""
    response, D = system.impulse_response(length).clone(), system.D
    response[..., 0] += D
    return response.reshape(*(D.shape or (1, 1)), length).numpy()


# The record


def test_by_hand():
    # h = 7, 3, 1.5, … + 2 Re(1/2 (i/2)^{t-1}) = 7, 4, 1.5, 0.5, …
    system = ModalSystem.siso([0.5, 0.5j], [3.0, 0.5], 7.0, delay=1)
    expected = [0, 4, 1.5, 0.75 - 0.25, 0.375]
    assert system.impulse_response(5).tolist() == pytest.approx(expected, rel=ROUNDING)
    z = 2.0
    value = 7 + 3 / (z - 0.5) + 0.5 / (z - 0.5j) + 0.5 / (z + 0.5j)
    assert system.transfer_function([z]).item() == pytest.approx(value)
    at_zero = 7 - 3 / 0.5 - 0.5 / 0.5j + 0.5 / 0.5j
    assert system.transfer_function([0.0]).item() == pytest.approx(at_zero)
    assert h2_norm(system).item() == pytest.approx(np.linalg.norm(kernel(system, 200)))
    A, B, C, D = system.to_state_space()
    again = ModalSystem.from_state_space(A, B, C, D, delay=1)
    torch.testing.assert_close(again.impulse_response(9), system.impulse_response(9))


@pytest.mark.parametrize("kind", KINDS)
def test_responses_are_those_of_the_recurrence(kind):
    system = KINDS[kind](1)
    for length in (0, 1, 2, 50):
        assert system.impulse_response(length).shape[-1] == length
    np.testing.assert_allclose(whole(system, 50), respond(system, 50), rtol=0, atol=1e-13)
    points = np.array([1.0, np.exp(0.7j), -1.3, 0.0, 1e-9])
    A, B, C, D = (part.numpy() for part in system.to_state_space())
    expected = [C @ np.linalg.solve(z * np.eye(len(A)) - A, B) + D for z in points]
    values = system.transfer_function(points).reshape(len(points), *D.shape).numpy()
    np.testing.assert_allclose(values, expected, rtol=1e-11, atol=1e-11)


def test_a_pole_at_zero_is_one_sample():
    system = ModalSystem.siso([0.0, 0.5], [4.0, 1.0], delay=1)
    assert system.impulse_response(4).tolist() == pytest.approx([0, 5, 0.5, 0.25])
    assert system.poles.tolist() == [0, 0.5]
    assert h2_norm(system).item() == pytest.approx(np.sqrt(25 + 1 / 3))
    with pytest.raises(InvalidArgumentError, match="no finite value at 0"):
        system.transfer_function([0.0])
    with pytest.raises(InvalidArgumentError, match=r"pole is 0.*delay=1"):
        ModalSystem.siso([0.0], [1.0])


@pytest.mark.parametrize("delay", [2, -1, True, 0.5, None])
def test_other_delays_are_refused(delay):
    with pytest.raises(InvalidArgumentError, match="delay=.*required: 0 or 1"):
        ModalSystem.siso([0.5], [1.0], delay=delay)


def test_continuous_time_has_none():
    for make in (
        lambda: ModalSystem.siso([-1.0], [1.0], time="continuous", delay=1),
        lambda: ModalSystem.mimo([-1.0], [[1.0]], [[1.0]], time="continuous", delay=1),
        lambda: ModalSystem.from_state_space([[-1.0]], [1], [1], time="continuous", delay=1),
        lambda: with_delay(seeded_bank((), 1, time="continuous"), 1),
    ):
        with pytest.raises(InvalidArgumentError, match="continuous time; required: 0"):
            make()


def test_a_layer_acts_at_once():
    bank = scalar(2, (1, 3))
    with pytest.raises(InvalidArgumentError, match=r"delay 1; required: delay 0.*with_delay"):
        ModalSSM.from_system(bank)
    ModalSSM.from_system(with_delay(bank, 0))


# From one form to the other


@given(st.one_of(modal_systems("discrete", nearest=1e-2), mimo_systems("discrete", nearest=1e-2)))
def test_both_forms_have_one_response(system):
    later = with_delay(system, 1)
    assert (later.delay, system.delay) == (1, 0)
    sizes = system.D.abs().max() + (system.residues.abs()).flatten().sum()
    difference = whole(later, 60) - whole(system, 60)
    assert abs(difference).max() <= 1e-12 * sizes
    back = with_delay(later, 0)
    assert back.delay == 0
    assert (back.D - system.D).abs().max() <= 1e-12 * sizes
    assert (back.residues - system.residues).abs().max() <= 1e-12 * sizes


@pytest.mark.parametrize("kind", KINDS)
def test_a_strictly_proper_bank_stays_one(kind):
    bank = KINDS[kind](3, (4,))
    bank = replace(bank, D=torch.zeros_like(bank.D))
    there = with_delay(bank, 0)
    assert (there.D != 0).all()
    assert (with_delay(there, 1).D == 0).all()
    assert with_delay(bank, 1) is bank


# Norms and Gramians


@pytest.mark.parametrize("horizon", [None, 1, 2, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_norms_are_sums_over_the_samples(kind, horizon):
    first, second = KINDS[kind](4), KINDS[kind](5)
    length = horizon or 2000
    k, kk = kernel(first, length), kernel(second, length)
    assert h2_norm(first, horizon=horizon).item() == pytest.approx(np.linalg.norm(k), rel=NORM)
    error = h2_error(first, second, horizon=horizon).item()
    assert error == pytest.approx(np.linalg.norm(k - kk), rel=NORM)
    product = h2_inner_product(first, second, horizon=horizon).item()
    assert product == pytest.approx((k * kk).sum(), rel=1e-9, abs=1e-12)
    # Close to each other, where the closed form would cancel.
    near = replace(first, exponents=first.exponents * (1 + 1e-9))
    error = h2_error(first, near, horizon=horizon).item()
    expected = np.linalg.norm(k - kernel(near, length))
    assert error == pytest.approx(expected, rel=1e-4, abs=1e-15)


@pytest.mark.parametrize("horizon", [None, 1, 2, 9])
@pytest.mark.parametrize("kind", KINDS)
def test_hankel_singular_values_are_those_of_dense_gramians(kind, horizon):
    system = KINDS[kind](6)
    values = hankel_singular_values(system, horizon).numpy()
    A, B, C, _ = (part.numpy() for part in system.to_state_space())
    n = len(A)
    if horizon is None:
        P = linalg.solve_discrete_lyapunov(A, B @ B.T)
        Q = linalg.solve_discrete_lyapunov(A.T, C.T @ C)
    else:
        # Of all that the first samples h[0], …, h[horizon - 1] see of the states: one power less.
        powers = [np.linalg.matrix_power(A, t) for t in range(horizon - 1)]
        P = sum([p @ B @ B.T @ p.T for p in powers], np.zeros((n, n)))
        Q = sum([p.T @ C.T @ C @ p for p in powers], np.zeros((n, n)))
    eigenvalues = np.sort(np.linalg.eigvals(np.asarray(P @ Q)).real)[::-1]
    expected = np.sqrt(np.clip(eigenvalues, 0, None))
    scale = max(expected.max(), 1e-300)
    np.testing.assert_allclose(values[:n] / scale, expected / scale, rtol=0, atol=1e-7)


def test_gramians_over_a_horizon_see_one_sample_less():
    system = mimo(7)
    at_once = replace(system, delay=0)
    for gramian in (controllability_gramian, observability_gramian):
        torch.testing.assert_close(gramian(system, 6), gramian(at_once, 5))
        torch.testing.assert_close(gramian(system), gramian(at_once))


# Several systems


@pytest.mark.parametrize("kind", KINDS)
def test_different_delays_do_not_mix(kind):
    first = KINDS[kind](8, (3,))
    second = replace(first, delay=0)
    condition = torch.tensor([True, False, True])
    for mix in (
        lambda: h2_error(first, second),
        lambda: relative_h2_error(second, first),
        lambda: h2_inner_product(first, second),
        lambda: concatenate([first, second]),
        lambda: stack([second, first]),
        lambda: where(condition, first, second),
    ):
        with pytest.raises(InvalidArgumentError, match=r"delays 0 and 1; required.*with_delay"):
            mix()
    assert relative_h2_error(with_delay(second, 1), with_delay(second, 1)).max() < ROUNDING


@pytest.mark.parametrize("kind", KINDS)
def test_banks_keep_their_delay(kind):
    first, second = KINDS[kind](9, (2, 2)), KINDS[kind](10, (2, 2))
    row = first.reshape(-1)
    made = {
        "index": (first[1], first[1]),
        "reshape": (row[:2], first[0]),
        "concatenate": (concatenate([first, second])[:2], first),
        "stack": (stack([first, second])[1], second),
        "where": (where(torch.tensor([True] * 4), row, second.reshape(-1)), row),
        "compact": (compact(row), row),
        "silent": (without_silent_modes(row), row),
    }
    for name, (actual, expected) in made.items():
        assert actual.delay == 1, name
        torch.testing.assert_close(
            actual.impulse_response(20), expected.impulse_response(20), rtol=DENSE, atol=1e-12
        )
    assert isinstance(first, MIMOSystem) == (kind == "mimo")
