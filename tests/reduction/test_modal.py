"""Modal truncation: dominant modes, as they were."""

import cmath
import math
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from hydropress.reduction.modal import modal_method
from hydropress.reduction.problem import Problem
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import ModalSystem
from strategies import bank, build, modal_systems, s4d_bank


def mode_set(system):
    return set(oracles.entries(system))


def energy(entry, time):
    exponent, residue, states = entry
    decay = -2 * exponent.real
    return (
        states * abs(residue) ** 2 * (1 / -math.expm1(-decay) if time == "discrete" else 1 / decay)
    )


def test_by_hand():
    # Energies ρ² / (1 - a²): 1 / 0.75, 4 / 0.19, 0.01 / 0.0199, of a pair 2 |ρ|² / (1 - |a|²).
    s = [math.log(0.5), math.log(0.9), math.log(0.99), math.log(0.8) + 1j]
    full = bank([build(s, [1.0, -2.0, 0.1, 3j], [1, 1, 1, 2], 0.5)])
    assert mode_set(reduce(full, 1, "modal").system[0]) == {(s[1], -2.0, 1)}
    assert mode_set(reduce(full, 2, "modal").system[0]) == {(s[3], 3j, 2)}
    assert mode_set(reduce(full, 3, "modal").system[0]) == {(s[3], 3j, 2), (s[1], -2.0, 1)}
    assert mode_set(reduce(full, 4, "modal").system[0]) == mode_set(
        reduce(full, 3, "modal").system[0]
    ) | {(s[0], 1.0, 1)}


@given(modal_systems(), st.integers(1, 8))
def test_poles_and_residues_are_the_systems_own(full, order):
    order = min(order, int(full.order))
    small = reduce(full.reshape(1), order, "modal").system[0]
    assert mode_set(small) <= mode_set(full)
    # Modes left out are weaker than every mode kept, or no longer fitted in.
    room = order - int(small.order)
    kept = mode_set(small)
    for left in mode_set(full) - kept:
        weaker = {mode for mode in kept if energy(mode, full.time) >= energy(left, full.time)}
        assert left[2] > room or len(weaker) == len(kept)


@pytest.mark.parametrize("order", [2, 4, 6])
def test_of_pairs_it_keeps_the_most_energetic_set(order):
    full = s4d_bank(2, 8, seed=61)
    result = reduce(full, order, "modal")
    for row in range(2):
        modes = oracles.entries(full[row])
        best = max(
            combinations(modes, order // 2),
            key=lambda some: sum(energy(mode, "discrete") for mode in some),
        )
        assert mode_set(result.system[row]) == set(best)


def test_a_finite_horizon_counts_what_happens_within_it():
    # Over ten samples the fast and strong mode has more energy than the slow one, in all less.
    full = bank([build([-1e-4, -0.5], [1.0, 4.0], [1, 1])])
    assert reduce(full, 1, "modal").system.decay[0, 0] == pytest.approx(1e-4)
    assert reduce(full, 1, "modal", horizon=10).system.decay[0, 0] == pytest.approx(0.5)


def test_it_does_not_iterate():
    result = reduce(s4d_bank(2, 8, seed=61), 2, "modal")
    assert result.status == "direct"
    assert torch.equal(result.iterations, torch.zeros(2, dtype=torch.int64))


def test_several_inputs_and_outputs_by_hand():
    # m ‖b‖² ‖c‖² / (1 - |a|²): 25 / 0.75, 4 / 0.19, of the pair 2 · 9 · 2 / 0.36 = 100.
    full = ModalSystem.mimo(
        [[0.5, 0.9, 0.8 * cmath.exp(1j)]],
        B=[[[3.0, 4.0], [1.0, 0.0], [3j, 0.0]]],
        C=[[[1.0, 0.0, 1.0], [0.0, 2.0, 1j]]],
    )
    problem = Problem(full, (1, 2, 3, 4))  # pyright: ignore[reportArgumentType]
    one, two, three, four = (outcome.system for outcome in modal_method(problem))
    pair = pytest.approx(0.8 * cmath.exp(1j))
    assert one.poles[0].tolist() == pytest.approx([0.5])
    assert two.poles[0].tolist() == [pair]
    assert three.poles[0].tolist() == [pair, pytest.approx(0.5)]
    assert four.poles[0].tolist() == [pair, pytest.approx(0.5), pytest.approx(0.9)]
