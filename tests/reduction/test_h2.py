"""The H² method: never worse than balanced truncation, exact where it can be, well conditioned."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pymor.models.iosys import LTIModel
from pymor.reductors.h2 import IRKAReductor

import oracles
from hydropress.data.shipped import find_model
from hydropress.models.checkpoint import load
from hydropress.models.s4d import S4D
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.reduce import reduce, reduce_path
from hydropress.systems.modal import SISOSystem
from layers import own_layers
from strategies import bank, build, modal_banks, s4d_bank, seeded_bank

MODE_ENERGY = 1e4
"""Modes of this share of the system's energy cost two digits of single precision."""


def assert_never_worse_than_balanced(full: SISOSystem, orders: tuple[int, ...]) -> None:
    path, balanced = (
        reduce_path(full, orders=orders),
        reduce_path(full, None, "balanced", orders=orders),
    )
    for result, truncated in zip(path, balanced, strict=True):
        flat, small, other = (one.reshape(-1) for one in (full, result.system, truncated.system))
        for row in range(len(flat.D)):
            error = oracles.h2_error(flat[row], small[row])
            limit = oracles.h2_error(flat[row], other[row])
            rounding = 1e-13 * oracles.h2_norm(flat[row])
            assert error <= limit * (1 + 1e-9) + rounding


@pytest.mark.parametrize(("order", "orders"), [(8, (2, 4, 6)), (32, (2, 8))])
def test_never_worse_than_balanced_on_s4d(order, orders):
    assert_never_worse_than_balanced(s4d_bank(3, order, seed=41), orders)


def test_never_worse_than_balanced_on_real_poles():
    assert_never_worse_than_balanced(seeded_bank((4,), 0, 5, seed=42), (1, 2, 3, 4))


@given(modal_banks(max_systems=2, max_modes=3), st.integers(1, 4))
@settings(max_examples=12)
def test_never_worse_than_balanced_on_awkward_systems(full, order):
    order = min(order, int(full.order.max()))
    assert_never_worse_than_balanced(full, (order,))


def test_two_real_poles_where_they_beat_a_pair():
    # Two decays two orders of magnitude apart and a weak ripple: no pair can follow both.
    full = bank([build([-0.01, -0.8, -0.3 + 2j], [1.0, 8.0, 0.05], [1, 1, 2])])
    result = reduce(full, 2)
    assert result.system.states[0].tolist() == [1, 1]
    np.testing.assert_allclose(np.sort(result.system.decay[0].numpy()), [0.01, 0.8], rtol=0.05)


def test_never_worse_than_irka():
    full = seeded_bank((2,), 5, 2, time="continuous", seed=43, decays=(0.05, 1.0))
    results = reduce_path(full, orders=(2, 4))
    for row in range(2):
        A, B, C, _ = oracles.dense_state_space(full[row])
        model = LTIModel.from_matrices(A, B[:, None], C[None])
        for result in results:
            reduced_model = IRKAReductor(model).reduce(result.order)
            error = (model - reduced_model).h2_norm() / model.h2_norm()
            assert float(result.relative_error[row]) <= error * (1 + 1e-6)


@pytest.mark.parametrize("time", ["discrete", "continuous"])
def test_a_system_of_lower_order_in_disguise_is_recovered(time):
    # Order 4, written as order 10: one pair twice, one that says nothing.
    s = [-0.05 + 1j, -0.3 + 2j, -0.05 + 1j, -0.1 + 2.5j]
    full = bank([build([*s, -0.2 + 0.3j], [1.0, 1j, 0.5, 0.0, 0.0], [2] * 5, 0.7, time)])
    result = reduce(full, 4)
    assert float(result.relative_error[0]) < 1e-7
    kept = result.system.exponents[0, result.system.residues[0].abs() > 1e-5]
    found = sorted(kept.tolist(), key=lambda z: z.imag)
    np.testing.assert_allclose(found, [-0.05 + 1j, -0.3 + 2j], rtol=1e-5)


@given(modal_banks("discrete", max_systems=1, max_modes=2, nearest=1e-3))
@settings(max_examples=10)
def test_a_system_of_the_order_asked_for_is_recovered(full):
    result = reduce(full, int(full.order[0]))
    assert float(result.relative_error[0]) < 1e-7


def test_two_clusters_are_seen_as_two_modes():
    generator = np.random.default_rng(1)
    centres = np.repeat([-0.05 + 0.6j, -0.08 + 2.2j], 4)
    spread = 1e-3 * (generator.standard_normal(8) + 1j * generator.standard_normal(8))
    full = bank([build(list(centres + spread), [1.0, 0.8, 1.2, 0.9] * 2, [2] * 8)])
    result = reduce(full, 4)
    assert float(result.relative_error[0]) < 0.05
    found = sorted(result.system.exponents[0].tolist(), key=lambda z: z.imag)
    np.testing.assert_allclose(found, [centres[0], centres[-1]], atol=0.01)
    assert_never_worse_than_balanced(full, (4,))


def test_poles_at_the_edge_of_stability():
    # Half-lives of 700,000 samples, as close together as they are to the boundary.
    s = [-1e-6 + 0.3j, -2e-6 + 0.300001j, -1e-6 + 1e-6j, -0.05 + 2j]
    full = bank([build(s, [1.0, 0.5j, 0.3, 10.0], [2] * 4)])
    for result in reduce_path(full, 8):
        error = oracles.relative_h2_error(full[0], result.system[0])
        assert float(result.relative_error[0]) == pytest.approx(error, rel=1e-3, abs=1e-9)
        assert bool((result.system.decay > 0).all())
    assert_never_worse_than_balanced(full, (2, 4, 6))


@pytest.mark.parametrize(("order", "orders", "seed"), [(32, (4, 16), 44), (16, (8, 14), 45)])
def test_no_mode_is_absurdly_stronger_than_the_system(order, orders, seed):
    full = s4d_bank(3, order, seed)
    for result in reduce_path(full, orders=orders):
        assert float(result.certificate.mode_energy.max()) <= MODE_ENERGY
        for row in range(3):
            # A closed form can lie where modes cancel; samples of the kernels cannot.
            length = math.ceil(20 / float(full.decay[row].min()))
            times = np.arange(min(length, 60_000))
            kernel = oracles.kernel(full[row], times)
            error = np.linalg.norm(kernel - oracles.kernel(result.system[row], times))
            actual = error / np.linalg.norm(kernel)
            assert float(result.relative_error[row]) == pytest.approx(actual, rel=1e-5)


def test_modes_that_cancel_each_other_are_tamed_for_next_to_nothing():
    # At the optimum of order 8 of this trained channel two poles are close to each other.
    layer = own_layers(load(find_model("s4d-fashion-mnist")))[2][1]
    assert isinstance(layer, S4D)
    full = layer.system()[0, 28:29]
    limit = 10.0
    free = reduce(full, 8, descent=DescentConfig(mode_energy_limit=1e6))
    assert float(free.certificate.mode_energy[0]) > limit
    result = reduce(full, 8, descent=DescentConfig(mode_energy_limit=limit))
    assert float(result.certificate.mode_energy[0]) <= limit
    assert float(result.relative_error[0]) <= float(free.relative_error[0]) * (1 + 1e-3)
    # What is reported is the plain error, on which a tamed result is not stationary.
    error = oracles.relative_h2_error(full[0], result.system[0])
    assert float(result.relative_error[0]) == pytest.approx(error, rel=1e-6)


@pytest.mark.parametrize(("layer", "channel"), [(1, 39), (2, 26), (2, 54)])
def test_a_lower_limit_cannot_pay(layer, channel):
    full = own_layers(load(find_model("s4d-fashion-mnist")))[layer][1].system()[0]
    free, tight = (
        reduce(full[channel : channel + 1], 8, descent=DescentConfig(mode_energy_limit=limit))
        for limit in (1e6, 10.0)
    )
    assert float(free.relative_error[0]) <= float(tight.relative_error[0]) * (1 + 1e-9)


@given(modal_banks(max_systems=2, max_modes=4), st.integers(1, 6), st.sampled_from([1.0, 100.0]))
@settings(max_examples=12)
def test_no_mode_exceeds_the_limit_unless_the_full_system_or_balancing_has_it(full, order, limit):
    order = min(order, int(full.order.max()))
    config = DescentConfig(mode_energy_limit=limit)
    energy = reduce(full, order, descent=config).certificate.mode_energy
    own = reduce(full, int(full.order.max()), "modal").certificate.mode_energy
    balanced = reduce(full, order, "balanced").certificate.mode_energy
    assert bool((energy <= torch.maximum(own, balanced).clamp_min(limit) * (1 + 1e-9)).all())


def test_energy_penalty_tames_the_modes():
    full = s4d_bank(3, 16, seed=46)
    plain = reduce(full, 8)
    tamed = reduce(full, 8, descent=DescentConfig(energy_penalty=1e-2))
    assert bool((tamed.certificate.mode_energy <= plain.certificate.mode_energy * 1.001).all())
    assert float(tamed.certificate.mode_energy.sum()) < 0.99 * float(
        plain.certificate.mode_energy.sum()
    )
    assert bool((tamed.relative_error >= plain.relative_error * (1 - 1e-9)).all())


def test_spread_tells_how_much_the_starts_differ():
    certificate = reduce(s4d_bank(3, 16, seed=41), 2).certificate
    assert bool((certificate.spread > 1e-3).any())


@pytest.mark.parametrize("time", ["discrete", "continuous"])
def test_a_finite_horizon_is_served_better_by_its_own_optimum(time):
    full = seeded_bank((2,), 4, time=time, seed=47, decays=(1e-3, 0.1))
    horizon = 30
    own = reduce(full, 4, horizon=horizon)
    for row in range(2):
        error = oracles.relative_h2_error(full[row], own.system[row], horizon)
        assert float(own.relative_error[row]) == pytest.approx(error, rel=1e-6)
        for method in ("h2", "balanced"):
            other = reduce(full[row : row + 1], 4, method).system[0]
            assert error < oracles.relative_h2_error(full[row], other, horizon)


def test_a_finite_horizon_admits_poles_that_do_not_decay():
    # An integrator, an undamped oscillation and a decay; the sum over 40 samples is finite.
    full = bank([build([0.0, 0.5j, -0.2], [1.0, 2.0, 1.0], [1, 2, 1])])
    result = reduce(full, 3, horizon=40)
    expected = oracles.relative_h2_error(full[0], result.system[0], 40)
    assert float(result.relative_error[0]) == pytest.approx(expected, rel=1e-6)
    assert expected < 0.1
    assert not bool(torch.isnan(result.certificate.stationarity).any())


@pytest.mark.parametrize("horizon", [None, 60])
def test_poles_on_the_decay_floor_count_as_converged(horizon):
    full, floor = build([-0.05 + 1j, -0.3 + 2j], [1.0, 0.5j], [2, 2]), 0.1
    result = reduce(full, 2, horizon=horizon, descent=DescentConfig(decay_floor=floor))
    small = result.system
    assert float(small.decay) == pytest.approx(floor, rel=1e-9)
    assert bool(result.converged)
    # Below the floor it would be better, and nowhere else nearby.
    best = oracles.h2_error(full, small, horizon=horizon)
    for change, is_better in ((1e-4, True), (-1e-4, False), (1e-3j, False), (-1e-3j, False)):
        moved = replace(small, exponents=small.exponents + change)
        assert (oracles.h2_error(full, moved, horizon=horizon) < best) == is_better
