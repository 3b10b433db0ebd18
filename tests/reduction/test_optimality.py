"""What makes a reduced system H²-optimal, checked by other formulas than those of the search."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from numpy.typing import NDArray

import oracles
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import ModalSystem, SISOSystem
from reduction.order_two import ExhaustiveSearch
from strategies import bank, build, modal_systems, s4d_bank, seeded_bank

Array = NDArray[Any]


def generating_function(system: SISOSystem, points: Array) -> tuple[Array, Array]:
    """Return K and its derivative at ``points``, the transfer function at the mirrored points.

    K(x) = Σ k[t] e^{xt} or ∫ k(t) e^{xt} dt, so that G(1/e^x) = K(x), or G(-x) = K(x).
    """
    value, slope = np.zeros(len(points), complex), np.zeros(len(points), complex)
    for exponent, residue, states in oracles.entries(system):
        for s, rho in ((exponent, residue), (np.conj(exponent), np.conj(residue))):
            w = s + points
            if system.time == "discrete":
                value += states / 2 * rho / -np.expm1(w)
                slope += states / 2 * rho * np.exp(w) / np.expm1(w) ** 2
            else:
                value += states / 2 * rho / -w
                slope += states / 2 * rho / w**2
    return value, slope


def interpolation_residuals(full: SISOSystem, small: SISOSystem) -> Array:
    """Return |K - K_r| and |K' - K_r'| at the reduced poles, over ‖k‖ ‖t^j e^{st}‖."""
    poles = np.array([row[0] for row in oracles.entries(small)])
    (value, slope), (own_value, own_slope) = (
        generating_function(system, poles) for system in (full, small)
    )
    decay = -2 * poles.real
    if full.time == "discrete":
        norms = (
            -1 / np.expm1(-decay),
            np.exp(-decay) * (1 + np.exp(-decay)) / -(np.expm1(-decay) ** 3),
        )
    else:
        norms = 1 / decay, 2 / decay**3
    scale = oracles.h2_norm(full)
    residuals = [np.abs(value - own_value), np.abs(slope - own_slope)]
    return np.stack([r / np.sqrt(n) for r, n in zip(residuals, norms, strict=True)]) / scale


BANKS = {
    "s4d": (s4d_bank(3, 16, seed=31), 4),
    "odd": (seeded_bank((2,), 3, 2, seed=32), 3),
    "real": (bank([build([-0.02, -0.1, -0.5, -1.5], [1.0, 2.0, 1.0, 3.0], [1] * 4)]), 2),
    "continuous": (seeded_bank((2,), 4, 2, time="continuous", seed=33), 4),
}


@pytest.mark.parametrize("name", BANKS)
def test_value_and_derivative_match_at_the_mirrored_poles(name):
    full, order = BANKS[name]
    result = reduce(full, order)
    assert bool(result.converged.all())
    assert result.status == "converged"
    for row in range(len(full.D)):
        residuals = interpolation_residuals(full[row], result.system[row])
        assert residuals.max() < 1e-6
        # The truncation that is not optimal misses them by far: the check can fail.
        truncated = reduce(full[row : row + 1], order, "modal").system[0]
        assert interpolation_residuals(full[row], truncated).max() > 1e-3


@pytest.mark.parametrize("name", ["s4d", "continuous"])
def test_transfer_functions_agree_at_the_mirrored_poles(name):
    full, order = BANKS[name]
    result = reduce(full, order)
    for row in range(len(full.D)):
        poles = result.system.poles[row].conj().resolve_conj()
        points = 1 / poles if full.time == "discrete" else -poles
        wanted, actual = (
            one[row].transfer_function(points) - one.D[row] for one in (full, result.system)
        )
        size = oracles.h2_norm(full[row]) / float(result.system.decay[row].min()) ** 0.5
        assert float((wanted - actual).abs().max()) < 1e-6 * size


@pytest.mark.parametrize("name", BANKS)
def test_stationarity_measures_the_interpolation_conditions(name):
    full, order = BANKS[name]
    for method in ("balanced", "modal"):
        result = reduce(full, order, method)
        for row in range(len(full.D)):
            residuals = interpolation_residuals(full[row], result.system[row])
            # |Re| and |Im| of the same residuals, over norms that differ by the phase at most.
            ratio = float(result.certificate.stationarity[row]) / residuals.max()
            assert 0.2 < ratio < 5


@pytest.mark.parametrize("name", BANKS)
def test_error_is_what_the_reduced_system_does_not_hold(name):
    # Pythagoras: the error is orthogonal to the reduced kernel.
    full, order = BANKS[name]
    result = reduce(full, order)
    for row in range(len(full.D)):
        total = oracles.h2_norm(full[row]) ** 2
        expected = total - oracles.h2_norm(result.system[row]) ** 2
        error = oracles.h2_error(full[row], result.system[row]) ** 2
        assert error == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("order", "seed"), [(8, 34), (32, 35)])
def test_order_two_is_the_global_optimum_of_s4d(order, seed):
    full = s4d_bank(3, order, seed)
    result = reduce(full, 2)
    for row in range(3):
        best = ExhaustiveSearch(full[row]).run()
        assert float(result.relative_error[row]) <= best.relative_error * (1 + 1e-6)


def test_order_two_is_the_global_optimum_of_real_poles():
    full = seeded_bank((2,), 0, 5, seed=36)
    mirrored = build([-0.03, -0.2 + math.pi * 1j, -0.4 + math.pi * 1j], [1.0, -1.0, 2.0], [1] * 3)
    full = bank([full[0], full[1], mirrored])
    result = reduce(full, 2)
    for row in range(3):
        best = ExhaustiveSearch(full[row]).run()
        assert float(result.relative_error[row]) <= best.relative_error * (1 + 1e-6)


@given(modal_systems("discrete", max_modes=4, nearest=1e-3))
@settings(max_examples=12)
def test_order_two_is_the_global_optimum_of_awkward_systems(full):
    assume(int(full.order) > 2)
    best = ExhaustiveSearch(full).run()
    assume(best.relative_error > 1e-3)  # below, the oracle's difference of energies has no digits
    result = reduce(full.reshape(1), 2)
    assert float(result.relative_error[0]) <= best.relative_error * (1 + 1e-6)


def test_the_oracle_knows_the_error_of_given_poles():
    # Two yardsticks that share no formula: captured energy and the norm of the difference.
    full = s4d_bank(2, 8, seed=34)
    result = reduce(full, 2)
    for row in range(2):
        search = ExhaustiveSearch(full[row])
        s = result.system.exponents[row, :1].numpy()
        error = math.sqrt(1 - float(search.captured(s, s.conj())[0]) / search.total)
        assert error == pytest.approx(float(result.relative_error[row]), rel=1e-7)


@pytest.mark.parametrize("time", ["discrete", "continuous"])
def test_no_small_change_is_better(time):
    full = seeded_bank((1,), 4, 1, time=time, seed=37)
    small = reduce(full, 4).system
    best = oracles.h2_error(full[0], small[0])
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        noise = 1e-3 * torch.randn(4, small.num_poles, generator=generator, dtype=torch.float64)
        pairs = small.states[0] == 2
        noise[1::2, ~pairs] = 0  # a real pole stays real
        moved = ModalSystem.from_exponents(
            small.exponents[0] * (1 + noise[0]) + 1j * noise[1],
            small.residues[0] * torch.exp(torch.complex(noise[2], noise[3])),
            small.states[0],
            time=small.time,
        )
        assert oracles.h2_error(full[0], moved) > best
