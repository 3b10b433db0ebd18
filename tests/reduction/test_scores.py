"""Norms and energies of single modes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracles
from hydropress.errors import InvalidArgumentError, UnstableSystemError
from hydropress.reduction.scores import mode_energies, residue_norms, state_energies
from hydropress.systems.modal import ModalSystem
from reduction.mimo import as_mimo, mimo_bank, only_mode
from strategies import bank, build, modal_banks
from tolerances import NORM, ROUNDING

LENGTH = 3_000
"""Samples after which the slowest mode of these banks, of decay 0.01, is at e^-30."""


def test_norms_of_a_residue_by_hand():
    scalar = bank([build([-0.1 + 1j, -0.2], [3 - 4j, -2.0], [2, 1])])
    assert residue_norms(scalar).tolist() == [[5.0, 2.0]]
    # C = [forward; backward] of one output each: ‖c‖ = 5, and 3.5 on average over directions.
    several = ModalSystem.mimo([0.5], B=[[2.0, 2.0, 1.0]], C=[[3.0], [-4.0]])
    assert residue_norms(several).tolist() == [15.0]
    assert residue_norms(several, directions=2).tolist() == [10.5]


def test_a_residue_is_of_rank_one_in_every_norm():
    system = mimo_bank((4,), 3, 2, seed=1)
    singular = torch.linalg.svdvals(system.residues)
    torch.testing.assert_close(residue_norms(system), singular[..., 0], rtol=ROUNDING, atol=0)
    frobenius = torch.linalg.matrix_norm(system.residues)
    torch.testing.assert_close(residue_norms(system), frobenius, rtol=ROUNDING, atol=0)


@pytest.mark.parametrize("directions", [0, -1, 2])
def test_outputs_divide_among_the_directions(directions):
    for system in (mimo_bank((1,), 2, outputs=3), bank([build([-0.1], [1.0], [1])])):
        with pytest.raises(InvalidArgumentError, match=rf"directions={directions}.*divisor"):
            residue_norms(system, directions=directions)


@pytest.mark.parametrize("horizon", [None, 1, 37])
def test_energies_are_those_of_sampled_responses(horizon):
    system = mimo_bank((2,), 3, 2, seed=2)
    times = np.arange(LENGTH if horizon is None else horizon)
    residues, exponents = system.residues.numpy(), system.exponents.numpy()
    responses = residues[..., None] * np.exp(exponents[..., None, None, None] * times)
    expected = (np.abs(responses) ** 2).sum((-3, -2, -1))
    actual = state_energies(system, horizon=horizon)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=NORM)


@pytest.mark.parametrize("horizon", [None, 12])
def test_energy_of_a_pair_is_the_mean_over_two_phases_of_its_real_kernel(horizon):
    # cos² + sin² = 1: the kernels of R and of iR have twice the mean energy between them.
    system = mimo_bank((2,), 3, seed=3)
    energies = mode_energies(system, horizon=horizon)
    for index in range(3):
        mode = only_mode(system, index)
        turned = replace(mode, B=1j * mode.B)
        both = [part.impulse_response(horizon or LENGTH).numpy() for part in (mode, turned)]
        expected = sum((kernel**2).sum((-3, -2, -1)) for kernel in both) / 2
        np.testing.assert_allclose(energies[:, index].numpy(), expected, rtol=NORM)


@pytest.mark.parametrize("horizon", [None, 2.5])
def test_energy_of_a_real_mode_is_its_norm_squared(horizon):
    for exponent in (-0.3, -1e-6):
        mode = build([exponent], [-1.7], [1], time="continuous")
        expected = oracles.h2_norm(mode, horizon) ** 2
        assert mode_energies(mode, horizon=horizon).item() == pytest.approx(expected, rel=NORM)


def test_a_mode_on_the_boundary_has_energy_on_a_horizon_only():
    forever = bank([build([0.0 + 1j, -0.1], [0.5, 1.0], [2, 1])])
    assert state_energies(forever, horizon=8)[0, 0].item() == pytest.approx(8 * 0.25)
    with pytest.raises(UnstableSystemError, match="does not decay"):
        state_energies(forever)


@given(modal_banks(), st.sampled_from([None, 9]))
def test_one_input_and_one_output_are_a_scalar_system(scalar, horizon):
    several = as_mimo(scalar)
    for score in (state_energies, mode_energies):
        torch.testing.assert_close(
            score(several, horizon=horizon), score(scalar, horizon=horizon), rtol=ROUNDING, atol=0
        )


def test_empty_entries_count_for_nothing():
    padded = bank([build([-0.1 + 1j, -0.5], [1.0, 2.0], [2, 1]), build([-0.2], [3.0], [1])])
    assert residue_norms(padded)[1].tolist() == [3.0, 0.0]
    assert state_energies(padded)[1, 1].item() == 0
    # Whatever an empty entry holds does not matter, not even a pole that does not decay.
    dirty = replace(
        padded,
        exponents=torch.where(padded.states > 0, padded.exponents, 0.0),
        residues=torch.where(padded.states > 0, padded.residues, math.pi),
    )
    assert torch.equal(state_energies(dirty), state_energies(padded))
