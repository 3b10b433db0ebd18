"""IRKA: fixed points, scalar systems, horizons, and what it does where there is none."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import linalg

import oracles
from hydropress.errors import UnstableSystemError
from hydropress.reduction.fixed_point import FullModes, ReducedModes, project
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import SISOSystem
from hydropress.systems.norms import relative_h2_error
from reduction.mimo import as_mimo
from reduction.test_optimality import interpolation_residuals
from strategies import build, s4d_bank, seeded_bank, seeded_mimo

TIMES = ["discrete", "continuous"]


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("order", [2, 3])
def test_where_it_converges_the_optimality_conditions_hold(time, order):
    full = seeded_bank((4,), 3, 2, time=time, seed=71, decays=(0.05, 1.0))
    result = reduce(full, order, "irka")
    assert bool(result.converged.any())
    for row in range(4):
        residual = interpolation_residuals(full[row], result.system[row]).max()
        assert bool(result.converged[row]) == (residual < 1e-6)


@pytest.mark.parametrize("time", TIMES)
def test_optima_are_fixed_points(time):
    full = seeded_mimo((2,), 2, 3, 3, 1, time=time, seed=72)
    best = reduce(full, 3).system
    projected, sound = project(FullModes.of(full), ReducedModes.of(best, 3))
    assert bool(sound.all())
    moved = projected.to_system(full)
    difference = moved.impulse_response(60) - best.impulse_response(60)
    assert float(difference.norm()) < 1e-5 * float(best.impulse_response(60).norm())


@pytest.mark.parametrize("time", TIMES)
def test_a_scalar_system_is_one_of_one_input_and_output(time):
    full = seeded_bank((6,), 3, 2, time=time, seed=73)
    scalar, many = reduce(full, 4, "irka"), reduce(as_mimo(full), 4, "irka")
    assert torch.equal(scalar.converged, many.converged)
    # What does not converge wanders, and rounding decides where to.
    rows = scalar.converged
    assert int(rows.sum()) >= 3
    torch.testing.assert_close(
        scalar.relative_error[rows], many.relative_error[rows], rtol=1e-6, atol=0
    )
    kernel = many.system.impulse_response(60)[:, 0, 0]
    torch.testing.assert_close(
        scalar.system.impulse_response(60)[rows], kernel[rows], rtol=0, atol=1e-5
    )


def test_the_full_order_is_a_fixed_point_at_once():
    full = s4d_bank(2, 8, seed=74)
    projected, sound = project(FullModes.of(full), ReducedModes.of(full, 8))
    assert bool(sound.all())
    difference = projected.to_system(full).impulse_response(200) - full.impulse_response(200)
    assert float(difference.abs().max()) < 1e-9


def test_a_start_of_a_lower_order_is_kept():
    # BT finds rank 2 in a repeated pole: there is nothing to project for order 4.
    doubled = build([-0.1 + 1j, -0.1 + 1j, -0.5], [1.0, 2.0, 0.0], [2, 2, 1]).reshape(1)
    result = reduce(doubled, 4, "irka")
    assert int(result.system.order[0]) <= 4
    assert float(result.relative_error[0]) < 1e-7


def dense_projection(
    full: SISOSystem, small: SISOSystem, horizon: int
) -> list[NDArray[np.float64]]:
    """Return A_r, B_r and C_r of one iteration on time-limited Sylvester equations."""
    (A, B, C, _), (A_r, B_r, C_r, _) = (oracles.dense_state_space(one) for one in (full, small))

    def solution(A: Any, B: Any, A_r: Any, B_r: Any) -> Any:
        right = np.outer(B, B_r)
        if full.time == "discrete":
            power = np.linalg.matrix_power
            return sum(power(A, t) @ right @ power(A_r, t).T for t in range(horizon))
        left = linalg.expm(A * horizon) @ right @ linalg.expm(A_r * horizon).T - right
        return linalg.solve_sylvester(A, A_r.T, left)

    V, W = solution(A, B, A_r, B_r), solution(A.T, C, A_r.T, C_r)
    pencil = W.T @ V
    return [linalg.solve(pencil, W.T @ A @ V), linalg.solve(pencil, W.T @ B), C @ V]


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("horizon", [30, 90])
def test_on_a_horizon_the_sylvester_equations_end_there(time, horizon):
    full = seeded_bank((1,), 3, 1, time=time, seed=75, decays=(0.02, 0.3))
    start = reduce(full, 3).system
    projected, sound = project(FullModes.of(full, horizon), ReducedModes.of(start, 3))
    assert bool(sound.all())
    A, B, C = dense_projection(full[0], start[0], horizon)
    steps = np.arange(8)
    grow = np.linalg.matrix_power if time == "discrete" else lambda A, t: linalg.expm(A * t)
    expected = np.array([C @ grow(A, t) @ B for t in steps])
    poles = np.linalg.eigvals(A)
    # Those outside would be mirrored.
    assert bool((abs(poles) < 1 if time == "discrete" else poles.real < 0).all())
    actual = projected.to_system(full).impulse_response(8)[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-8, atol=1e-10)


def test_a_horizon_that_is_heeded_pays_within_it():
    full, horizon = seeded_bank((8,), 8, seed=76, decays=(0.001, 0.02)), 40
    heeded = reduce(full, 4, "irka", horizon=horizon)
    unheeded = relative_h2_error(full, reduce(full, 4, "irka").system, horizon=horizon)
    best = reduce(full, 4, horizon=horizon)
    assert float(heeded.relative_error.mean()) < 0.98 * float(unheeded.mean())
    assert bool((best.relative_error <= heeded.relative_error * (1 + 1e-9)).all())


@pytest.mark.parametrize("time", TIMES)
def test_poles_on_the_boundary_have_one_within_a_horizon(time):
    full = build([0.0, -0.3 + 1j], [1.0, 1.0], [1, 2], time=time).reshape(1)
    result = reduce(full, 1, "irka", horizon=20)
    assert float(result.certificate.irka_error) == pytest.approx(float(result.relative_error))
    with pytest.raises(UnstableSystemError, match="horizon"):
        reduce(full, 1, "irka")
