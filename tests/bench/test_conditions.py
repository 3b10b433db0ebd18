"""Interpolation conditions against sums of sampled kernels."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hydropress.bench.conditions import interpolation_residuals
from hydropress.reduction.reduce import reduce
from hydropress.reduction.weights import InputCovariance, SpectralWeight
from reduction.mimo import mimo_bank
from strategies import build, seeded_bank

SAMPLES = 4000


def summed_residual(full, reduced) -> float:
    """The largest of ‖K b‖, ‖Kᵀ c‖, |cᵀ K' b|, scaled, from samples of discrete kernels."""
    E = (full.impulse_response(SAMPLES) - reduced.impulse_response(SAMPLES)).numpy()
    k = full.impulse_response(SAMPLES).numpy()
    size = np.sqrt((k**2).sum())
    t = np.arange(SAMPLES)
    found = []
    for s, b, c, states in zip(
        reduced.exponents.numpy(),
        reduced.B.numpy(),
        reduced.C.numpy().T,
        reduced.states.numpy(),
        strict=True,
    ):
        if states == 0:
            continue
        mode = np.exp(s * t)
        K, slope = (E * mode).sum(-1), (E * t * mode).sum(-1)
        norms = np.sqrt((abs(mode) ** 2).sum()), np.sqrt((abs(t * mode) ** 2).sum())
        b_size, c_size = np.linalg.norm(b), np.linalg.norm(c)
        found += [
            np.linalg.norm(K @ b) / (b_size * norms[0]),
            np.linalg.norm(c @ K) / (c_size * norms[0]),
            abs(c @ slope @ b) / (b_size * c_size * norms[1]),
        ]
    return max(found) / size


def test_residuals_are_those_of_the_sampled_kernels():
    full = mimo_bank((2,), 4, 2, seed=11)
    for method in ("balanced", "modal"):
        reduced = reduce(full, 4, method).system
        actual = interpolation_residuals(full, reduced)
        for row in range(2):
            expected = summed_residual(full[row], reduced[row])
            assert expected > 1e-3
            assert actual[row] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("time", ["discrete", "continuous"])
@pytest.mark.parametrize("make", [mimo_bank, seeded_bank])
def test_an_optimum_meets_them_and_its_neighbour_does_not(make, time):
    full = make((2,), 4, 1, time=time, seed=12)
    result = reduce(full, 4)
    assert bool(result.converged.all())
    assert interpolation_residuals(full, result.system).max() < 1e-6
    moved = replace(result.system, exponents=result.system.exponents * 1.01)
    assert interpolation_residuals(full, moved).min() > 1e-5


def test_a_pole_on_the_decay_floor_meets_them_where_only_the_floor_holds_it():
    # A growing kernel's best model of one real pole would grow: over 20 samples it may not.
    full = build([-1e-3 + 0.05j], [-1.0j], [2]).reshape(1)
    result = reduce(full, 1, horizon=20)
    assert float(result.system.decay.min()) == pytest.approx(1e-12)
    assert bool(result.converged)
    assert interpolation_residuals(full, result.system, horizon=20)[0] < 1e-6
    # Above the floor nothing holds it, and a slower pole would be better.
    faster = replace(result.system, exponents=result.system.exponents - 1e-3)
    assert interpolation_residuals(full, faster, horizon=20)[0] > 1e-3


def test_a_system_without_states_has_nothing_to_meet():
    full = seeded_bank((1,), 2, seed=1)
    empty = replace(full, states=torch.zeros_like(full.states))
    assert interpolation_residuals(full, empty)[0] == 0


def summed_on_a_horizon(full, reduced, length: int) -> float:
    """The conditions on the first samples of scalar systems, from sampled kernels."""
    k = full.impulse_response(length).numpy().ravel()
    e = k - reduced.impulse_response(length).numpy().ravel()
    t = np.arange(length)
    modes = np.exp(reduced.exponents.numpy()[reduced.states.numpy() > 0][:, None] * t)
    return max(
        abs(e @ derivative) / np.linalg.norm(k) / np.linalg.norm(derivative)
        for mode in modes
        for derivative in (mode, t * mode)
    )


def test_on_a_finite_horizon_residuals_are_those_of_the_first_samples():
    full = seeded_bank((2,), 5, 1, seed=13)
    reduced = reduce(full, 4, "balanced").system
    actual = interpolation_residuals(full, reduced, horizon=30)
    for row in range(2):
        expected = summed_on_a_horizon(full[row], reduced[row], 30)
        assert expected > 1e-3
        assert actual[row] == pytest.approx(expected, rel=1e-8)


def test_in_the_metric_of_a_white_spectrum_nothing_changes():
    # Many frequencies of equal weight: a sum over the samples of kernels that have died out.
    count = 2048
    frequencies = torch.pi * (torch.arange(count, dtype=torch.float64) + 0.5) / count
    for make in (seeded_bank, mimo_bank):
        full = make((2,), 5, 1, seed=14)
        values = torch.ones(count, dtype=torch.float64)
        if make is mimo_bank:
            values = values[:, None, None] * torch.eye(full.num_inputs)
        weight = SpectralWeight(frequencies, values)
        reduced = reduce(full, 4, "balanced").system
        actual = interpolation_residuals(full, reduced, weight=weight)
        np.testing.assert_allclose(actual, interpolation_residuals(full, reduced), rtol=1e-6)


@pytest.mark.parametrize("kind", ["horizon", "covariance", "spectrum", "cross-spectrum"])
def test_an_optimum_meets_them_in_its_own_metric_only(kind):
    scalar = kind in ("horizon", "spectrum")
    full = seeded_bank((1,), 4, 1, seed=15) if scalar else mimo_bank((1,), 4, 1, seed=15)
    width = 1 if scalar else full.num_inputs
    mixing = torch.eye(width, dtype=torch.float64) + torch.ones(width, width).double().tril(-1)
    frequencies = torch.linspace(0, torch.pi, 64, dtype=torch.float64)
    power = 1 / (1.2 - torch.cos(frequencies))
    options: dict[str, Any] = {
        "horizon": {"horizon": 20},
        "covariance": {"weight": InputCovariance(mixing @ mixing.mT)},
        "spectrum": {"weight": SpectralWeight(frequencies, power)},
        "cross-spectrum": {
            "weight": SpectralWeight(frequencies, power[:, None, None] * (mixing @ mixing.mT))
        },
    }[kind]
    result = reduce(full, 4, **options)
    assert bool(result.converged.all())
    assert interpolation_residuals(full, result.system, **options).max() < 1e-6
    assert interpolation_residuals(full, result.system).min() > 1e-4
