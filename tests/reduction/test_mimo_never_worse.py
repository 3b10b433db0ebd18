"""MIMO ``h2`` is no worse than BT, IRKA and TSIA, ours and pyMOR's, to nine digits."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from pymor.core.logger import log_levels
from pymor.models.examples import msd_example
from pymor.reductors.h2 import IRKAReductor, TSIAReductor
from pymor.tools.random import new_rng

import mimo_oracles as oracles
from hydropress.bench.layers import lru_layer, s5_layer
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.irka import irka_solutions
from hydropress.reduction.reduce import reduce
from hydropress.reduction.weights import SpectralWeight
from hydropress.systems.interop import from_pymor
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.norms import relative_h2_error
from reduction.mimo_problems import hermitian, spectral_error
from reduction.problems import half_circle
from strategies import seeded_mimo

NINE_DIGITS = 1 + 1e-9


def rival_error(model: Any, full: MIMOSystem, reductor: Any, order: int) -> float:
    """Return the relative error of one of pyMOR's methods from its own start."""
    with log_levels({"pymor": "ERROR"}), new_rng(0):
        small = from_pymor(reductor(model).reduce(order))
    return float(relative_h2_error(full, small))


@pytest.mark.parametrize("reductor", [IRKAReductor, TSIAReductor])
def test_the_basin_that_pymor_finds_is_found(reductor):
    # BT, the dominant modes and the greedy search all lead to 0.0692, twice as much.
    model = msd_example(60, 2, as_lti=True)
    full = from_pymor(model)
    assert isinstance(full, MIMOSystem)
    error = float(reduce(full, 6).relative_error)
    assert error <= rival_error(model, full, reductor, 6) * NINE_DIGITS


@pytest.mark.slow
def test_a_small_error_is_minimised_to_its_last_digits():
    # The square of an error of 4e-4 has nine digits in the sums that L-BFGS sees.
    model = msd_example(60, 2, as_lti=True)
    full = from_pymor(model)
    assert isinstance(full, MIMOSystem)
    error = float(reduce(full, 16).relative_error)
    assert error <= rival_error(model, full, TSIAReductor, 16) * NINE_DIGITS


def test_no_worse_than_irka_from_any_mode_of_the_system():
    # Many slow modes have more energy together than the fast one that order 2 is best spent on.
    full = s5_layer(24, 3, 4, "discrete")
    error = float(reduce(full, 2).relative_error[0])
    for entry in range(full.num_poles):
        part = slice(entry, entry + 1)
        mode = replace(
            full,
            exponents=full.exponents[:, part],
            B=full.B[:, part],
            C=full.C[..., part],
            states=full.states[:, part],
        )
        found, _ = irka_solutions(full, 2, mode)
        assert error <= float(relative_h2_error(full, found)[0]) * NINE_DIGITS


@pytest.mark.parametrize("time", ["discrete", "continuous"])
@pytest.mark.parametrize("order", [2, 5])
def test_no_worse_than_balanced_truncation_and_irka(time, order):
    layers = [s5_layer(12, 2, 3, time)]
    if time == "discrete":
        layers.append(lru_layer(12, 2, 3))
    for full in layers:
        error = float(reduce(full, order).relative_error[0])
        for method in ("balanced", "irka"):
            assert error <= float(reduce(full, order, method).relative_error[0]) * NINE_DIGITS


@pytest.mark.parametrize("order", [2, 3])
def test_poles_on_the_decay_floor_count_as_converged(order):
    full, floor = seeded_mimo((), 2, 2, 3, 1, seed=3), 0.2
    result = reduce(full, order, descent=DescentConfig(decay_floor=floor))
    small = result.system
    held = small.decay <= floor * (1 + 1e-12)
    assert bool(held.any())
    assert bool(result.converged)
    # Below the floor it would be better, and nowhere else nearby.
    best = oracles.h2_error(full, small)
    slower = torch.where(held, small.exponents * 0.999, small.exponents)
    assert oracles.h2_error(full, replace(small, exponents=slower)) < best
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        turn = 1e-3 * torch.randn(small.exponents.shape, generator=generator)
        turn = torch.where(small.states == 2, turn, 0).to(torch.float64)
        scale = 1 + 1e-3 * torch.rand(turn.shape, dtype=torch.float64, generator=generator)
        exponents = torch.complex(small.exponents.real * scale, small.exponents.imag + turn)
        assert oracles.h2_error(full, replace(small, exponents=exponents)) > best


@pytest.mark.parametrize("seed", [1, 2])
def test_with_a_weight_no_worse_than_the_unweighted_optimum(seed):
    full = seeded_mimo((), 2, 2, 3, 1, seed=seed)
    frequencies = half_circle(16)
    band = 1e-3 + torch.exp(-(((frequencies - 0.4 * seed) / 0.2) ** 2))
    weight = SpectralWeight(frequencies, hermitian(16, 2, seed) * band[:, None, None])
    plain = reduce(full, 2).system
    error = float(reduce(full, 2, weight=weight).relative_error)
    assert error <= spectral_error(weight, full, plain) * NINE_DIGITS
