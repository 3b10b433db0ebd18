"""Fits of layers of several inputs and outputs to the data that they see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.mimo_fit import MIMOFit
from hydropress.calibration.mimo_signals import MIMOSignals
from hydropress.calibration.mimo_starts import mimo_starts
from hydropress.reduction.reduce import reduce
from hydropress.systems.assembly import stack
from hydropress.systems.modal import MIMOSystem
from mimo_layers import layer, noise, recur, relative_error

SETTINGS = CalibratedSettings(search_iterations=1)
COUNT, HELD_OUT = 20, 5


def signals_of(full: MIMOSystem, seed: int = 0) -> MIMOSignals:
    inputs = noise(COUNT, 3, 60, mean=2.0, seed=seed)
    return MIMOSignals.of(full, inputs, inputs)


def starts_of(full: MIMOSystem, order: int, signals: MIMOSignals) -> dict[str, MIMOSystem]:
    found = mimo_starts(full, (order,), signals, SETTINGS)[order]
    return {name: stack([one[name] for one in found]) for name in found[0]}


def held_out(system: MIMOSystem, bias: Tensor, full: MIMOSystem, inputs: Tensor) -> float:
    last = inputs[-HELD_OUT:]
    return relative_error(recur(full, last), recur(system, last) + bias.numpy()[:, None])


@pytest.mark.parametrize("directions", [1, 2])
def test_the_error_is_that_of_the_outputs_on_held_out_sequences(directions):
    full = layer(3, 5, directions=directions)
    signals = signals_of(full)
    result = MIMOFit.of(full, signals, SETTINGS).reduce(starts_of(full, 4, signals))
    assert result.system.order.tolist() == [4] * directions
    wanted = held_out(result.system, result.bias, full, signals.inputs)
    assert result.output_error == pytest.approx(wanted, rel=1e-7)
    assert result.by_output.shape == (3,)
    assert 0 < result.output_error < 0.5


@pytest.mark.parametrize("directions", [1, 2])
def test_the_bias_matches_the_means_of_all_sequences(directions):
    full = layer(3, 5, directions=directions)
    signals = signals_of(full)
    result = MIMOFit.of(full, signals, SETTINGS).reduce(starts_of(full, 4, signals))
    wanted, actual = recur(full, signals.inputs), recur(result.system, signals.inputs)
    shift = (wanted - actual).mean((0, 2))
    np.testing.assert_allclose(result.bias.numpy(), shift, rtol=0, atol=1e-8)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("directions", [1, 2])
def test_it_is_no_worse_than_any_start_with_matched_means(seed, directions):
    full = layer(3, 5, directions=directions, seed=seed)
    signals = signals_of(full, seed)
    starts = starts_of(full, 4, signals)
    result = MIMOFit.of(full, signals, SETTINGS).reduce(starts)
    wanted = recur(full, signals.inputs)
    for start in starts.values():
        shift = torch.from_numpy((wanted - recur(start, signals.inputs)).mean((0, 2)))
        assert result.output_error <= held_out(start, shift, full, signals.inputs) * (1 + 1e-9)


@pytest.mark.parametrize("directions", [1, 2])
def test_a_layer_that_is_reducible_is_recovered(directions):
    small = layer(3, 2, directions=directions, seed=3)
    # Twice the poles, every other one without effect.
    twice = torch.cat([small.exponents, small.exponents * 1.3], -1)
    full = replace(
        small,
        exponents=twice,
        B=torch.cat([small.B, small.B], -2),
        C=torch.cat([small.C, 0 * small.C], -1),
        states=torch.cat([small.states, small.states], -1),
    )
    signals = signals_of(full)
    settings = replace(SETTINGS, energy_penalty=0.0)
    result = MIMOFit.of(full, signals, settings).reduce(starts_of(full, 4, signals))
    assert result.output_error < 1e-6
    fresh = noise(4, 3, 60, mean=-1.0, seed=9)
    actual = recur(result.system, fresh) + result.bias.numpy()[:, None]
    assert relative_error(recur(full, fresh), actual) < 1e-5


def test_present_inputs_that_differ_are_made_up_for():
    full = layer(3, 4)
    original = noise(COUNT, 3, 60, seed=1)
    present = 0.5 * original - 0.3
    signals = MIMOSignals.of(full, original, present)
    starts = starts_of(full, 4, MIMOSignals.of(full, original, original))
    result = MIMOFit.of(full, signals, SETTINGS).reduce(starts)
    plain = reduce(full, 4, "balanced").system
    wanted = recur(full, original)
    unaware = relative_error(wanted, recur(plain, present))
    aware = recur(result.system, present) + result.bias.numpy()[:, None]
    assert relative_error(wanted, aware) < 0.5 * unaware


def test_a_layer_that_keeps_all_its_states_is_left_alone():
    full = layer(3, 3, 1, directions=2)
    signals = signals_of(full)
    result = MIMOFit.of(full, signals, SETTINGS).reduce(starts_of(full, 7, signals))
    for name in ("exponents", "B", "C", "D"):
        assert torch.equal(getattr(result.system, name), getattr(full, name))
    assert result.output_error < 1e-10
    assert not result.is_refitted
    assert not result.is_polished


def test_no_states_leave_feedthrough_and_bias():
    full = layer(3, 3)
    signals = signals_of(full)
    empty = replace(full, states=torch.zeros_like(full.states))
    result = MIMOFit.of(full, signals, SETTINGS).reduce({"empty": empty})
    assert result.system.order.tolist() == [0]
    assert 0.05 < result.output_error < 1


def test_half_lives_are_bounded_by_the_settings():
    full = layer(3, 6)
    signals = signals_of(full)
    settings = replace(SETTINGS, half_life=0.1)
    starts = mimo_starts(full, (4,), signals, settings)[4][0]
    result = MIMOFit.of(full, signals, settings).reduce(
        {name: one.reshape(1) for name, one in starts.items()}
    )
    assert float(full.decay.min()) < np.log(2) / 6
    assert float(result.system.decay.min()) >= np.log(2) / 6 * (1 - 1e-9)


@pytest.mark.parametrize("directions", [1, 2])
def test_the_descent_lowers_the_error_on_sequences_that_it_has_not_seen(directions):
    full = layer(3, 5, directions=directions, seed=2)
    signals = signals_of(full)
    fit, starts = MIMOFit.of(full, signals, SETTINGS), starts_of(full, 4, signals)
    plain, polished = fit.reduce(starts, polishing=False), fit.reduce(starts)
    assert not plain.is_polished
    assert polished.is_polished
    assert polished.is_refitted
    assert polished.output_error < plain.output_error
