"""The descent on poles and input directions: derivatives, and that it goes down."""

from dataclasses import replace

import pytest
import torch

from hydropress.calibration.mimo_polish import OutputObjective, polish, subsample
from hydropress.calibration.mimo_signals import LayerModes, MIMOSignals
from mimo_layers import layer, noise


def problem(directions: int) -> tuple[OutputObjective, LayerModes]:
    kinds = (0, 1)[:directions]
    full = layer(3, 5, 1, directions=directions, seed=1)
    inputs = noise(6, 3, 40, mean=1.0)
    signals = MIMOSignals.of(full, inputs, inputs, kinds)
    start = layer(3, 2, 1, directions=directions, seed=2)
    return OutputObjective.of(signals, 0.05), LayerModes.of(start, kinds)


def merit(objective: OutputObjective, modes: LayerModes) -> float:
    return objective.evaluate(modes).fitted.merit


@pytest.mark.parametrize("directions", [1, 2])
def test_derivatives_are_those_of_differences(directions):
    objective, modes = problem(directions)
    gradient = objective.evaluate(modes)
    step = 1e-5
    pairs = (modes.states == 2).double()
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)

        def draw(like: torch.Tensor, kind: torch.Tensor, generator=generator) -> torch.Tensor:
            parts = torch.randn(2, *like.shape, generator=generator).double()
            return torch.complex(parts[0], parts[1] * kind)

        by_exponent = draw(modes.exponents, pairs) * -modes.exponents.real
        by_input = draw(modes.B, pairs[:, None])
        moved = [
            merit(
                objective,
                replace(
                    modes,
                    exponents=modes.exponents + sign * step * by_exponent,
                    B=modes.B + sign * step * by_input,
                ),
            )
            for sign in (1, -1)
        ]
        slope = (gradient.by_exponent.conj() * by_exponent).sum().real
        slope = slope + (gradient.by_input.conj() * by_input).sum().real
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(float(slope), rel=1e-5)


@pytest.mark.parametrize("directions", [1, 2])
def test_the_descent_goes_down_and_keeps_to_the_floor(directions):
    objective, modes = problem(directions)
    kinds = objective.signals.directions
    start = layer(3, 2, 1, directions=directions, seed=2)
    floor = 0.02
    moved = polish(start, objective.signals, penalty=0.05, decay_floor=floor, steps=20)
    before = merit(objective, modes)
    assert merit(objective, LayerModes.of(moved, kinds)) < 0.8 * before
    assert float(moved.decay.min()) >= floor * (1 - 1e-12)
    paired = moved.states == 2
    assert bool((moved.exponents.imag[paired] >= 0).all())
    assert torch.equal(moved.states, start.states)


def test_poles_and_inputs_of_the_data_are_found_again():
    truth = layer(2, 2, seed=4)
    inputs = noise(12, 2, 60)
    signals = MIMOSignals.of(truth, inputs, inputs)
    generator = torch.Generator().manual_seed(0)
    shift = 0.05 * torch.randn(truth.B.shape, generator=generator, dtype=torch.complex128)
    start = replace(truth, exponents=truth.exponents * 1.1, B=truth.B + shift)
    moved = polish(start, signals, penalty=0.0, decay_floor=1e-4, steps=200)
    objective = OutputObjective.of(signals, 0.0)
    assert merit(objective, LayerModes.of(start, (0,))) > 1e-3
    assert merit(objective, LayerModes.of(moved, (0,))) < 1e-8
    torch.testing.assert_close(moved.exponents, truth.exponents, rtol=1e-2, atol=1e-3)


def test_long_data_are_sampled():
    inputs = torch.zeros(100, 1, 4096)
    few = subsample(MIMOSignals(inputs, inputs, (0,)))
    assert len(few.inputs) == 2**16 // 4096
    assert len(subsample(MIMOSignals(inputs[:3], inputs[:3], (0,))).inputs) == 3
