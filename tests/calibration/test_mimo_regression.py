"""Least squares on the states of a layer, against NumPy on the dense regression matrix."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hydropress.calibration import mimo_signals
from hydropress.calibration.mimo_regression import (
    Regression,
    SignalMoments,
    solve_ridge,
    to_system,
)
from hydropress.calibration.mimo_signals import LayerModes, MIMOSignals, respond
from hydropress.systems.modal import MIMOSystem
from mimo_layers import layer, noise, recur


def case(directions: int) -> tuple[MIMOSystem, MIMOSignals]:
    """Return small systems and what a larger layer makes of other inputs."""
    kinds = (0, 1)[:directions]
    full = layer(3, 6, 2, directions=directions, seed=1)
    inputs = noise(8, 3, 40, mean=2.0)
    original = inputs + 0.1 * noise(8, 3, 40, seed=5)
    return layer(3, 2, 1, directions=directions, seed=2), MIMOSignals.of(
        full, original, inputs, kinds
    )


def columns(system: MIMOSystem, signals: MIMOSignals) -> np.ndarray:
    """Return Re and Im of all states as columns, simulated sample by sample."""
    found = []
    for direction in range(len(system.D)):
        for place in range(system.num_poles):
            for factor in (1, 1j) if system.states[direction, place] == 2 else (1,):
                C = torch.zeros_like(system.C)
                C[direction, 0, place] = factor / system.states[direction, place]
                probe = MIMOSystem(
                    system.exponents, system.B, C, system.states, 0 * system.D, "discrete"
                )
                found.append(recur(probe, signals.inputs)[:, 0].ravel())
    return np.stack(found, -1)


def outputs(system: MIMOSystem, bias: Tensor, signals: MIMOSignals) -> np.ndarray:
    return respond(system, signals.directions, signals.inputs).numpy() + bias.numpy()[:, None]


@pytest.mark.parametrize("directions", [1, 2])
def test_the_fit_is_that_of_dense_least_squares(directions):
    system, signals = case(directions)
    states = columns(system, signals)
    moments = SignalMoments.of(signals)
    modes = LayerModes.of(system, signals.directions)
    regression = Regression.of(modes, signals, moments)
    fitted = regression.solve(0.0)
    found = to_system(system, signals.directions, modes, fitted.weights, fitted.D)
    actual = outputs(found, fitted.bias, signals)
    u = signals.inputs.numpy().transpose(1, 0, 2).reshape(3, -1)
    missed = 0.0
    for p in range(3):
        wanted = signals.outputs[:, p].numpy().ravel()
        matrix = np.column_stack([states, u[p], np.ones(len(wanted))])
        solution, *_ = np.linalg.lstsq(matrix, wanted)
        np.testing.assert_allclose(
            actual[:, p].ravel(), matrix @ solution, rtol=0, atol=1e-6 * np.abs(wanted).max()
        )
        missed += np.square(wanted - matrix @ solution).sum()
    energy = np.square(signals.outputs.numpy() - signals.outputs.numpy().mean((0, 2))[:, None])
    assert fitted.merit == pytest.approx(missed / energy.sum(), rel=1e-5)


def test_the_penalty_is_a_price_on_what_modes_contribute():
    system, signals = case(1)
    modes = LayerModes.of(system, (0,))
    # Phases of b that the modes have, so that C can be compared.
    states = columns(replace(system, B=modes.B[None]), signals)
    moments = SignalMoments.of(signals)
    fitted = Regression.of(modes, signals, moments).solve(0.3)
    centred = states - states.mean(0)
    energies = np.square(centred).sum(0)
    # Columns: Re and Im of the two pairs, then the real pole.
    prices = np.array([energies[:2].mean()] * 2 + [energies[2:4].mean()] * 2 + [energies[4]])
    u = signals.inputs.numpy().transpose(1, 0, 2).reshape(3, -1)
    C = modes.outputs_of(fitted.weights).numpy()
    for p in range(3):
        wanted = signals.outputs[:, p].numpy().ravel()
        matrix = np.column_stack([states, u[p], np.ones(len(wanted))])
        rows = np.column_stack([np.diag(np.sqrt(0.3 * prices)), np.zeros((5, 2))])
        solution, *_ = np.linalg.lstsq(
            np.vstack([matrix, rows]), np.concatenate([wanted, np.zeros(5)])
        )
        # The factors of a pair's Re x and -Im x stand for 2 Re c and 2 Im c.
        pairs = 2 * np.stack([C[p, :2].real, C[p, :2].imag], -1).ravel()
        mine = np.concatenate([pairs, C[p, 2:].real])
        np.testing.assert_allclose(mine, solution[:5], rtol=1e-5)
        assert float(fitted.D[p]) == pytest.approx(solution[5], rel=1e-5)
        assert float(fitted.bias[p]) == pytest.approx(solution[6], rel=1e-5)


def test_parts_make_the_same_sums(monkeypatch):
    system, signals = case(2)
    modes = LayerModes.of(system, (0, 1))
    whole = Regression.of(modes, signals, SignalMoments.of(signals))
    monkeypatch.setattr(mimo_signals, "ENTRIES_AT_ONCE", 2 * 20 * 40)
    parts = Regression.of(modes, signals, SignalMoments.of(signals))
    for name in ("gram", "by_input", "by_output", "means"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
    torch.testing.assert_close(parts.moments.cross, whole.moments.cross)


def test_without_states_there_is_feedthrough_and_bias():
    system, signals = case(1)
    empty = MIMOSystem(
        system.exponents, system.B, system.C, 0 * system.states, system.D, "discrete"
    )
    modes = LayerModes.of(empty, (0,))
    fitted = Regression.of(modes, signals, SignalMoments.of(signals)).solve(1e-4)
    for p in range(3):
        u, y = signals.inputs[:, p].numpy().ravel(), signals.outputs[:, p].numpy().ravel()
        slope, intercept = np.polyfit(u, y, 1)
        assert float(fitted.D[p]) == pytest.approx(slope)
        assert float(fitted.bias[p]) == pytest.approx(intercept)


def test_a_state_that_nothing_drives_has_no_output():
    system, signals = case(1)
    B = system.B.clone()
    B[0, 1] = 0
    silent = MIMOSystem(system.exponents, B, system.C, system.states, system.D, "discrete")
    modes = LayerModes.of(silent, (0,))
    fitted = Regression.of(modes, signals, SignalMoments.of(signals)).solve(0.0)
    C = modes.outputs_of(fitted.weights)
    assert bool((C[:, 1] == 0).all())
    assert bool((C[:, [0, 2]] != 0).all())


def test_products_that_rounding_left_indefinite_are_solved_where_they_say_something():
    gram = torch.diag(torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64))
    gram[0, 1] = gram[1, 0] = 1 + 1e-12
    right = torch.tensor([[2.0], [2.0], [4.0]], dtype=torch.float64)
    found = solve_ridge(gram, torch.zeros(3, dtype=torch.float64), right)
    torch.testing.assert_close(found[:, 0], torch.tensor([1.0, 1.0, 2.0]).double())
