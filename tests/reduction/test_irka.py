"""IRKA: fixed points, scalar systems, and what it does where there is none."""

import pytest
import torch

from hydropress.reduction.fixed_point import FullModes, ReducedModes, project
from hydropress.reduction.reduce import reduce
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


@pytest.mark.parametrize("time", TIMES)
def test_poles_on_the_boundary_have_none(time):
    full = build([0.0, -0.3 + 1j], [1.0, 1.0], [1, 2], time=time).reshape(1)
    certificate = reduce(full, 1, "balanced", horizon=20).certificate
    assert bool(certificate.irka_error.isnan().all())
