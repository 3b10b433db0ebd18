"""The lower bound against hand-worked cases, random models and the best model there is."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mimo_oracles as oracles
from hydropress.reduction.bounds import lower_bound
from hydropress.reduction.reduce import reduce
from reduction.mimo import as_mimo
from strategies import build, mimo_systems, seeded_bank, seeded_mimo

TIMES = ["discrete", "continuous"]


def test_by_hand_for_order_zero_of_one_pole():
    # k = a^t, γ = m d with d = -log a the median decay: σ_1 = 1 / (1 - a² e^{-2γ}), and the bound
    # is σ_1 over the root of the largest (t + 1) e^{-2γt}, the best of m = 0.1, 0.3, 1 and 3.
    a = 0.9
    system = build([math.log(a)], [1.0], [1])
    bounds = []
    for multiple in (0.1, 0.3, 1.0, 3.0):
        gamma = -multiple * math.log(a)
        value = 1 / (1 - a**2 * math.exp(-2 * gamma))
        peak = max(0.0, 1 / (2 * gamma) - 1)
        bounds.append(value / math.sqrt((peak + 1) * math.exp(-2 * gamma * peak)))
    bound = float(lower_bound(system, 0))
    assert bound == pytest.approx(max(bounds), rel=1e-9)
    norm = 1 / math.sqrt(1 - a**2)
    assert 0.5 * norm < bound <= norm  # a useful bound, and no more than the error


def test_by_hand_in_continuous_time():
    # k = e^{-t}: σ_1 = 1 / (2 (1 + γ)), the weight 1 / (2 e γ): largest at γ = 1, √(2e) / 4.
    system = build([-1.0], [1.0], [1], time="continuous")
    bound = float(lower_bound(system, 0))
    assert bound == pytest.approx(math.sqrt(2 * math.e) / 4, rel=1e-9)
    assert bound <= math.sqrt(0.5)


def test_it_is_tight_for_a_single_sample():
    # A kernel that has decayed after its first sample: the error of order 0 is that sample.
    system = build([-20.0], [3.0], [1])
    assert float(lower_bound(system, 0)) == pytest.approx(3, rel=1e-9)
    wide = replace(as_mimo(system), C=torch.full((4, 1), 1.5, dtype=torch.complex128))
    wide = replace(wide, B=torch.full((1, 1), 2.0, dtype=torch.complex128), D=torch.zeros(4, 1))
    assert float(lower_bound(wide, 0)) == pytest.approx(6, rel=1e-9)


@given(mimo_systems(nearest=1e-6), st.integers(0, 6), st.integers(0, 2**16))
@settings(max_examples=40)
def test_no_model_of_that_order_is_better(full, order, seed):
    bound = float(lower_bound(full, order))
    assert math.isfinite(bound)
    norm = oracles.h2_norm(full)
    if order >= int(full.order):
        assert bound <= 1e-9 * norm
        return
    outputs, inputs = full.D.shape
    for pairs in {0, order // 2}:
        guess = seeded_mimo((), inputs, outputs, pairs, order - 2 * pairs, seed=seed)
        guess = replace(guess, time=full.time)
        # Random poles with best residues, nearly: along its own direction.
        for scale in (0.01, 0.3, 1.0):
            scaled = replace(guess, C=guess.C * scale)
            assert bound <= oracles.h2_error(full, scaled) * (1 + 1e-9)
    small = reduce(full, order, "modal").system
    assert bound <= oracles.h2_error(full, small) * (1 + 1e-9) + 1e-12 * norm


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("order", [1, 2, 4])
def test_it_is_below_the_optimum_and_not_by_orders(time, order):
    scalar = seeded_bank((), 3, 1, time=time, seed=61, decays=(0.05, 1.0))
    many = seeded_mimo((), 12, 10, 3, 1, time=time, seed=62)
    for full in (scalar, many):
        result = reduce(full, order)
        bound = float(result.certificate.lower_bound)
        error = float(result.relative_error)
        assert 0.05 * error < bound <= error


def test_many_inputs_of_a_system_that_is_not_minimal_have_no_bound_from_rounding():
    # Hankel singular values of more than eight inputs carry rounding of 1e-8 of the largest.
    full = seeded_mimo((), 12, 12, 2, 1, seed=63)
    doubled = replace(
        full,
        exponents=full.exponents.repeat(2),
        B=full.B.repeat(2, 1),
        C=full.C.repeat(1, 2),
        states=full.states.repeat(2),
    )
    assert float(lower_bound(doubled, 5)) <= 1e-9 * float(oracles.h2_norm(doubled))
    result = reduce(doubled, 6, "balanced")
    assert float(result.certificate.lower_bound) <= float(result.relative_error)
