"""The lower bound against dense matrices, brute force and the best models there are."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import binom

import mimo_oracles as oracles
import oracles as scalar_oracles
from hydropress.reduction.bounds import lower_bound, spectral_lower_bound
from hydropress.reduction.reduce import reduce
from hydropress.reduction.weights import SpectralWeight
from hydropress.systems.modal import MIMOSystem, SISOSystem
from reduction.mimo import as_mimo
from reduction.mimo_problems import hermitian
from reduction.problems import half_circle, weighted_error
from strategies import build, mimo_systems, seeded_bank, seeded_mimo

TIMES = ["discrete", "continuous"]


def kernel_of(system, times):
    """Return k at integer times as blocks, shape (T, P, M)."""
    if system.D.ndim:
        return oracles.kernel(system, int(times.max()) + 1)[times]
    return scalar_oracles.kernel(system, times)[:, None, None]


def dense_values(system, f, g):
    """Return the singular values of √f[i] k[i + j] √g[j], written out."""
    f, g = (np.asarray(weights, dtype=float) for weights in (f, g))
    # What the proof asks of them.
    assert np.convolve(f, g).max() <= 1 + 1e-12
    p, q = len(f), len(g)
    kernel = kernel_of(system, np.arange(p + q - 1))
    places = np.arange(p)[:, None] + np.arange(q)
    weights = np.sqrt(f)[:, None] * np.sqrt(g)
    blocks = kernel[places] * weights[..., None, None]
    return np.linalg.svd(blocks.transpose(0, 2, 1, 3).reshape(p * blocks.shape[2], -1))[1]


def central(count):
    places = np.arange(count)
    return binom(2 * places, places) / 4.0**places


def tail(values, order):
    return float(np.sqrt((values[order:] ** 2).sum()))


@pytest.mark.parametrize("order", [0, 1, 2, 3, 5])
def test_it_is_the_best_of_the_weighted_matrices_written_out(order):
    decays = torch.tensor([0.2, 0.3, 0.25], dtype=torch.float64)
    scalar = build([-0.2 + 1j, -0.3 + 0.4j, -0.25 + 2j], [1.0, 0.7j, -0.5], [2, 2, 2])
    many = seeded_mimo((), 2, 3, 3, seed=60)
    many = replace(many, exponents=torch.complex(-decays, many.exponents.imag))
    for system in (scalar, many):
        found = [tail(dense_values(system, central(100), central(100)), order)]
        for multiple in (0.1, 0.3, 1.0, 3.0):
            gamma = multiple * 0.25
            damping = np.exp(-2 * gamma * np.arange(100))
            # Over real t, as the bound takes it, (t + 1) e^{-2γt} is larger by a little.
            peak = max(0.0, 1 / (2 * gamma) - 1)
            scale = math.sqrt((peak + 1) * math.exp(-2 * gamma * peak))
            found.append(tail(dense_values(system, damping / scale, damping / scale), order))
        bound = float(lower_bound(system, order))
        if system is scalar and order in (1, 2):
            # There all models of order two are searched, which tells more (``test_order_two.py``).
            assert bound >= max(found) * (1 - 2e-6)
            assert order == 1 or bound > 1.3 * max(found)
        else:
            assert bound == pytest.approx(max(found), rel=2e-6)


@pytest.mark.parametrize("time", TIMES)
def test_of_order_zero_it_is_the_norm(time):
    for full in (
        seeded_bank((3,), 3, 1, time=time, seed=64),
        seeded_mimo((2,), 3, 2, 2, 1, seed=64),
    ):
        for horizon in (None, 1, 2) if full.time == "discrete" else (None,):
            bound = lower_bound(full, 0, horizon)
            for row in range(len(full.D)):
                one = full[row]
                if isinstance(one, MIMOSystem):
                    norm = oracles.h2_norm(one, horizon)
                else:
                    assert isinstance(one, SISOSystem)
                    norm = scalar_oracles.h2_norm(one, horizon)
                least = 1 if horizon is None else 0.7
                assert least * norm * (1 - 1e-6) <= float(bound[row]) <= norm * (1 + 1e-9)


@pytest.mark.parametrize("length", [1, 2, 3, 12, 41])
@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_on_a_horizon_it_is_the_best_of_the_blocks_written_out(length, order):
    p, q = (length + 2) // 2, (length + 1) // 2
    flat = np.ones(max(p, q)) / math.sqrt(q)
    pairs = [(central(p), central(q)), (central(p)[::-1], central(q)[::-1]), (flat[:p], flat[:q])]
    growing = build([0.01 + 0.4j, 0.0, -0.4 + 2j], [1.0, 0.5, 0.1], [2, 1, 2])
    for system in (growing, seeded_bank((), 3, 1, seed=65), seeded_mimo((), 2, 3, 3, 1, seed=65)):
        wanted = max(tail(dense_values(system, f, g), order) for f, g in pairs)
        actual = float(lower_bound(system, order, length))
        scale = float(np.linalg.norm(kernel_of(system, np.arange(length))))
        assert actual == pytest.approx(wanted, rel=1e-9, abs=1e-11 * scale)


def best_of_one_pole(full, length):
    """Return the least error over a fine grid of real poles, each with its best residue."""
    kernel = scalar_oracles.kernel(full, np.arange(length))
    least = math.inf
    for pole in np.linspace(-1.3, 1.3, 4001):
        mode = pole ** np.arange(length)
        residue = mode @ kernel / (mode @ mode)
        least = min(least, float(np.linalg.norm(kernel - residue * mode)))
    return least


def best_of_one_pair(full, length):
    """Return the least error over a grid of complex poles, each pair with its best residue."""
    kernel = scalar_oracles.kernel(full, np.arange(length))
    least = math.inf
    for radius in np.linspace(0.2, 1.1, 46):
        for angle in np.linspace(0.01, 3.13, 79):
            mode = (radius * np.exp(1j * angle)) ** np.arange(length)
            atoms = np.stack([mode.real, mode.imag], 1)
            fitted = atoms @ np.linalg.lstsq(atoms, kernel, rcond=None)[0]
            least = min(least, float(np.linalg.norm(kernel - fitted)))
    return least


@pytest.mark.parametrize("length", [3, 8, 30])
@pytest.mark.parametrize("seed", [66, 67])
def test_on_a_horizon_no_model_of_a_grid_is_better(length, seed):
    full = seeded_bank((), 3, 1, seed=seed, decays=(0.02, 0.5))
    one, pair = best_of_one_pole(full, length), best_of_one_pair(full, length)
    assert 0.2 * one < float(lower_bound(full, 1, length)) <= one
    assert float(lower_bound(full, 2, length)) <= pair
    if length > 4:
        assert float(lower_bound(full, 2, length)) > 0.2 * pair


@pytest.mark.parametrize("horizon", [0.5, 5.5, 20.0])
@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_on_a_continuous_horizon_it_is_the_best_of_fine_discretisations(horizon, order):
    full = seeded_bank((), 3, 1, time="continuous", seed=68)
    count = 400
    step = horizon / 2 / count
    middles = (np.arange(count) + 0.5) * step
    kernel = scalar_oracles.kernel(full, (middles[:, None] + middles).ravel())
    kernel = kernel.reshape(count, count) * step
    # Of 1/√(πx) the mean over each cell, which midpoints would miss at 0.
    edges = np.sqrt(np.arange(count + 1) * step)
    falling = np.sqrt(2 * np.diff(edges) / math.sqrt(math.pi) / step)
    flat = np.full(count, (horizon / 2) ** -0.25)
    found = []
    for weights in (falling, falling[::-1], flat):
        values = np.linalg.svd(kernel * weights[:, None] * weights)[1]
        found.append(tail(values, order))
    norm = scalar_oracles.h2_norm(full, horizon)
    actual = float(lower_bound(full, order, horizon))
    assert actual == pytest.approx(max(found), rel=2e-2, abs=1e-4 * norm)
    if order == 0:
        assert actual > 0.7 * norm


def test_a_long_horizon_is_bounded_by_its_beginning():
    full = seeded_bank((), 4, seed=69, decays=(1e-4, 1e-2))
    bounds = [float(lower_bound(full, 2, length)) for length in (100, 10_000, 1_000_000)]
    assert 0 < bounds[0] < bounds[1] <= scalar_oracles.h2_norm(full, 10_000)
    assert 0 < bounds[2] <= scalar_oracles.h2_norm(full)


def grids(count):
    """Return frequencies whose mirrors complete a circle."""
    whole = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    return {"middles": half_circle(count), "whole": whole, "half": whole[: count // 2 + 1]}


@pytest.mark.parametrize("kind", ["middles", "whole", "half"])
@pytest.mark.parametrize("count", [6, 24])
@pytest.mark.parametrize("free", [False, True])
def test_under_a_spectrum_no_model_of_a_grid_is_better(kind, count, free):
    full = seeded_bank((), 3, 1, seed=70, decays=(0.02, 0.5))
    frequencies = grids(count)[kind]
    values = 1 + torch.rand(len(frequencies), dtype=torch.float64, generator=torch.manual_seed(1))
    bound = float(spectral_lower_bound(full.reshape(1), 1, frequencies, values, free=free)[0])
    points = torch.exp(1j * frequencies).numpy()
    target = scalar_oracles.transfer_function(full, points) - float(full.D)
    root = values.sqrt().numpy()
    least = math.inf
    for pole in np.linspace(-1.3, 1.3, 2001):
        atoms = [1 / (1 - pole / points), np.ones_like(points)][: 1 + free]
        columns = np.stack(atoms, 1) * root[:, None]
        columns = np.concatenate([columns.real, columns.imag])
        right = np.concatenate([(target * root).real, (target * root).imag])
        fitted = columns @ np.linalg.lstsq(columns, right, rcond=None)[0]
        least = min(least, float(np.linalg.norm(right - fitted)))
    assert 0.05 * least < bound <= least


def test_a_constant_spectrum_is_none():
    full = seeded_bank((2,), 3, 1, seed=71, decays=(0.05, 0.5))
    frequencies = half_circle(2000)
    flat = torch.full((2000,), 1 / 2000, dtype=torch.float64)
    bound = spectral_lower_bound(full, 2, frequencies, flat)
    torch.testing.assert_close(bound, lower_bound(full, 2, 4000), rtol=1e-6, atol=0)


def test_frequencies_that_are_not_equidistant_have_no_bound():
    full = seeded_bank((2,), 3, 1, seed=71)
    for frequencies in (torch.tensor([0.1, 0.2, 0.4]), 1.001 * half_circle(16)):
        values = torch.ones(len(frequencies))
        assert bool(spectral_lower_bound(full, 2, frequencies, values).isnan().all())
        weight = SpectralWeight(frequencies, values)
        assert bool(reduce(full, 2, "modal", weight=weight).certificate.lower_bound.isnan().all())


@pytest.mark.parametrize("order", [1, 2, 3])
def test_under_a_weight_it_is_a_share_of_the_weighted_error(order):
    full = seeded_bank((1,), 3, 1, seed=72)
    frequencies = half_circle(64)
    values = 1 + torch.cos(frequencies) / 2
    result = reduce(full, order, weight=SpectralWeight(frequencies, values))
    error = weighted_error(frequencies, values.numpy(), full[0], result.system[0])
    assert 0.05 * error < float(result.certificate.lower_bound) <= error
    many = as_mimo(full)
    cross = SpectralWeight(frequencies, values[:, None, None])
    again = reduce(many, order, "balanced", weight=cross).certificate.lower_bound
    torch.testing.assert_close(again, result.certificate.lower_bound, rtol=1e-6, atol=0)


def test_under_a_cross_spectrum_its_least_eigenvalue_counts():
    full = seeded_mimo((1,), 2, 3, 3, 1, seed=73)
    frequencies = half_circle(32)
    spectra = hermitian(32, 2, 73) + torch.eye(2)
    bound = reduce(full, 2, weight=SpectralWeight(frequencies, spectra)).certificate.lower_bound
    least = torch.linalg.eigvalsh(spectra).min()
    flat = SpectralWeight(frequencies, least * torch.eye(2).expand(32, 2, 2).to(spectra))
    points = torch.exp(1j * frequencies)
    response = full[0].transfer_function(points) - full[0].D
    totals = [
        torch.einsum("kpm,kmn,kpn->", response, one.values, response.conj()).real
        for one in (SpectralWeight(frequencies, spectra), flat)
    ]
    plain = reduce(full, 2, "balanced", weight=flat).certificate.lower_bound
    expected = float(plain) * math.sqrt(float(totals[1] / totals[0]))
    assert float(bound) == pytest.approx(expected, rel=1e-9)


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
