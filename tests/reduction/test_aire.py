"""AIRE-Prune: energies of impulse responses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from hydropress.reduction.aire import aire_scores
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import MIMOSystem, ModalSystem
from reduction.mimo import mimo_bank
from strategies import bank, build, s4d_bank
from tolerances import ROUNDING


def test_by_hand():
    # |ρ|² / (1 - |a|²): 4 / 0.75, 25 / 0.4375, and of a pair, state by state, 1 / 0.36.
    s = [math.log(0.5), math.log(0.75) + math.pi * 1j, math.log(0.8) + 1j]
    scores = aire_scores(bank([build(s, [2.0, -5.0, 1j], [1, 1, 2])]))
    assert scores[0].tolist() == pytest.approx([4 / 0.75, 25 / 0.4375, 1 / 0.36], rel=1e-14)
    # |ρ|² / (-2 Re λ) in continuous time.
    slow = bank([build([-0.5, -0.1 + 3j], [2.0, 1j], [1, 2], time="continuous")])
    assert aire_scores(slow)[0].tolist() == pytest.approx([4, 5], rel=1e-14)
    # Three samples of 0.5^t: 1 + 1/4 + 1/16.
    assert aire_scores(build([math.log(0.5)], [2.0], [1]), horizon=3).item() == pytest.approx(5.25)


def test_several_inputs_and_outputs_by_hand():
    # ‖b‖² = 9, ‖c‖² = 25, 1 - |a|² = 0.75.
    system = ModalSystem.mimo([0.5], B=[[2.0, 2.0, 1.0]], C=[[3.0], [-4.0]])
    assert aire_scores(system).item() == pytest.approx(300)


def test_energies_of_two_directions_add():
    both = mimo_bank((2,), 3, 1, outputs=4, seed=8)
    forward, backward = (
        MIMOSystem(both.exponents, both.B, both.C[:, rows], both.states, both.D[:, rows], both.time)
        for rows in (slice(0, 2), slice(2, 4))
    )
    torch.testing.assert_close(
        aire_scores(both), aire_scores(forward) + aire_scores(backward), rtol=ROUNDING, atol=0
    )


@given(st.integers(0, 100), st.floats(-6, 6))
def test_scaling_b_against_c_does_not_matter(seed, exponent):
    system = mimo_bank((), 3, 2, seed=seed)
    factor = 10.0**exponent * torch.exp(1j * torch.arange(5.0, dtype=torch.float64))
    scaled = MIMOSystem(
        system.exponents,
        system.B * factor[:, None],
        system.C / factor,
        system.states,
        system.D,
        system.time,
    )
    torch.testing.assert_close(aire_scores(scaled), aire_scores(system), rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("horizon", [None, 30])
def test_of_pairs_it_keeps_what_modal_truncation_keeps(horizon):
    full = s4d_bank(3, 16, seed=10)
    aire, modal = (reduce(full, 6, name, horizon=horizon).system for name in ("aire", "modal"))
    for row in range(3):
        assert set(oracles.entries(aire[row])) == set(oracles.entries(modal[row]))


def test_a_pair_competes_by_the_energy_of_one_state():
    # Energies 1 of each state of the pair, 1.5 of the real pole: the pair has 2 in all.
    s, real = math.log(0.6) + 1j, math.log(0.8)
    full = bank([build([s, real], [0.8, math.sqrt(1.5) * 0.6], [2, 1])])
    assert reduce(full, 2, "aire").system.states.tolist() == [[1]]
    assert reduce(full, 2, "modal").system.states.tolist() == [[2]]


def test_a_finite_horizon_counts_what_happens_within_it():
    full = bank([build([-1e-4, -0.5], [1.0, 4.0], [1, 1])])
    assert reduce(full, 1, "aire").system.decay[0, 0] == pytest.approx(1e-4)
    assert reduce(full, 1, "aire", horizon=10).system.decay[0, 0] == pytest.approx(0.5)
