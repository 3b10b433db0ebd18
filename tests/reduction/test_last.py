"""LAST: squared H∞ norms of one-state subsystems."""

import math
from functools import partial
from typing import Any

import control
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from hydropress.errors import UnstableSystemError
from hydropress.reduction import registry
from hydropress.reduction.last import last_method, last_scores
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import MIMOSystem, ModalSystem
from reduction.mimo import as_mimo, mimo_bank, only_mode
from strategies import bank, build, modal_banks, s4d_bank
from tolerances import QUADRATURE, ROUNDING

both_times = pytest.mark.parametrize("time", ["discrete", "continuous"])


def peak_of_the_real_system(system: MIMOSystem) -> float:
    """Return the H∞ norm by bisection on a Hamiltonian (python-control)."""
    kind: Any = "inf"
    step = True if system.time == "discrete" else 0
    matrices = (matrix.numpy() for matrix in system.to_state_space())
    return float(control.system_norm(control.ss(*matrices, step), p=kind, tol=1e-9))


def test_by_hand():
    # |ρ|² / (1 - |a|)²: (2 / 0.5)², (5 / 0.25)², and of a pair (1 / 0.2)².
    s = [math.log(0.5), math.log(0.75) + math.pi * 1j, math.log(0.8) + 1j]
    scores = last_scores(bank([build(s, [2.0, -5.0, 1j], [1, 1, 2])]))
    assert scores[0].tolist() == pytest.approx([16, 400, 25], rel=1e-14)
    # |ρ|² / (Re λ)² in continuous time.
    slow = bank([build([-0.5, -0.1 + 3j], [2.0, 1j], [1, 2], time="continuous")])
    assert last_scores(slow)[0].tolist() == pytest.approx([16, 100], rel=1e-14)


@both_times
def test_score_is_the_peak_over_all_frequencies(time):
    # c bᵀ / (1 - a e^{-iω}) or c bᵀ / (iω - λ), on a grid that every resonance is near to.
    system = mimo_bank((), 3, 2, seed=5, time=time, decays=(5e-2, 1.0))
    grid = np.linspace(-np.pi, np.pi, 2**20 + 1)
    for index, score in enumerate(last_scores(system).tolist()):
        s = complex(system.exponents[index])
        size = np.linalg.norm(system.residues[index].numpy(), 2)
        denominator = 1 - np.exp(s - 1j * grid) if time == "discrete" else 1j * grid - s
        peak = (size / np.abs(denominator)).max()
        assert math.sqrt(score) == pytest.approx(peak, rel=QUADRATURE)


@both_times
def test_score_of_a_real_pole_is_the_norm_of_its_real_system(time):
    system = mimo_bank((), 0, 4, inputs=2, seed=6, time=time)
    for index, score in enumerate(last_scores(system).tolist()):
        assert math.sqrt(score) == pytest.approx(
            peak_of_the_real_system(only_mode(system, index)), rel=1e-6
        )


@both_times
def test_peak_of_a_pair_is_at_most_twice_that_of_a_state(time):
    system = mimo_bank((), 8, inputs=2, seed=7, time=time)
    for index, score in enumerate(last_scores(system).tolist()):
        peak, state = peak_of_the_real_system(only_mode(system, index)), math.sqrt(score)
        # At the resonance of one state the other adds or takes away its own response there.
        s = complex(system.exponents[index])
        size = np.linalg.norm(system.residues[index].numpy(), 2)
        apart = (
            abs(1 - np.exp(s.conjugate() - 1j * s.imag))
            if time == "discrete"
            else abs(1j * s.imag - s.conjugate())
        )
        assert (state - size / apart) * (1 - 1e-6) <= peak <= 2 * state * (1 + 1e-6)


def test_near_the_boundary_no_digit_is_lost():
    # 1 - a = 1e-9 cannot be formed from a; from the exponent it is 1e-9 (1 - 5e-10).
    (score,) = last_scores(build([-1e-9], [1.0], [1])).tolist()
    assert score == pytest.approx(1e18 * (1 + 1e-9), rel=1e-13)


def test_two_directions_by_hand():
    # Forward c = (3, 4), backward (0, 1), b = 2, a = 0.5: ((5 + 1) / 2 · 2 / 0.5)² = 12².
    layer = ModalSystem.mimo([0.5], B=[[2.0]], C=[[3.0], [4.0], [0.0], [1.0]])
    assert last_scores(layer, directions=2).tolist() == pytest.approx([144])
    assert last_scores(layer).tolist() == pytest.approx([26 * 16])


def test_the_two_directions_of_a_layer_can_be_told_to_reduce(monkeypatch):
    # Norms of c: (4, 0) and (3, 2); b = 1, |a| = 0.5.  As plain outputs 4² + 0 against 3² + 2², as
    # two directions ((4 + 0) / 2)² against ((3 + 2) / 2)².
    layer = ModalSystem.mimo([0.5, -0.5], B=[[1.0], [1.0]], C=[[4.0, 3.0], [0.0, 2.0]])
    assert last_scores(layer).tolist() == pytest.approx([16 * 4, 13 * 4])
    assert last_scores(layer, directions=2).tolist() == pytest.approx([4 * 4, 6.25 * 4])
    monkeypatch.setattr(registry, "_METHODS", {})
    registry.register_method("last", last_method)
    registry.register_method("both ways", partial(last_method, directions=2))
    assert reduce(layer, 1, "last").system.poles.real.item() == pytest.approx(0.5)
    assert reduce(layer, 1, "both ways").system.poles.real.item() == pytest.approx(-0.5)


def test_equal_directions_are_one():
    forward = mimo_bank((2,), 3, 1, seed=8)
    both = MIMOSystem(
        forward.exponents,
        forward.B,
        torch.cat([forward.C, -1j * forward.C], -2),
        forward.states,
        torch.cat([forward.D, forward.D], -2),
        forward.time,
    )
    torch.testing.assert_close(
        last_scores(both, directions=2), last_scores(forward), rtol=ROUNDING, atol=0
    )


@given(modal_banks())
def test_one_input_and_one_output_are_a_scalar_system(scalar):
    torch.testing.assert_close(
        last_scores(as_mimo(scalar)), last_scores(scalar), rtol=ROUNDING, atol=0
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
    torch.testing.assert_close(last_scores(scaled), last_scores(system), rtol=ROUNDING, atol=0)


def test_it_keeps_the_states_of_the_highest_peaks():
    full = s4d_bank(2, 16, seed=9)
    small = reduce(full, 6, "last").system
    for row in range(2):
        modes = oracles.entries(full[row])
        modes.sort(key=lambda mode: abs(mode[1]) / (1 - math.exp(mode[0].real)), reverse=True)
        assert set(oracles.entries(small[row])) == set(modes[:3])


def test_slow_weak_modes_outrank_fast_strong_ones_here_and_not_by_energy():
    # Peaks 1 / 0.01 and 20 / 0.5, energies 1 / 0.02 and 400 / 0.75.
    full = bank([build([math.log(0.99), math.log(0.5)], [1.0, 20.0], [1, 1])])
    assert reduce(full, 1, "last").system.poles.real.item() == pytest.approx(0.99)
    assert reduce(full, 1, "aire").system.poles.real.item() == pytest.approx(0.5)


def test_the_horizon_is_ignored():
    full = s4d_bank(2, 16, seed=9)
    endless, short = reduce(full, 4, "last").system, reduce(full, 4, "last", horizon=3).system
    assert torch.equal(endless.poles, short.poles)


def test_a_peak_is_infinite_without_decay_whatever_the_horizon():
    full = bank([build([0.0 + 1j, -0.1], [0.5, 1.0], [2, 1])])
    with pytest.raises(UnstableSystemError, match="does not decay.*another method"):
        reduce(full, 2, "last", horizon=20)
