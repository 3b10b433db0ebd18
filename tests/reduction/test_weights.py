"""Errors weighted by a spectrum, and the feedthrough as one more unknown."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import oracles
from hydropress.reduction.reduce import reduce
from hydropress.reduction.weights import SpectralWeight
from hydropress.systems.modal import ModalSystem
from hydropress.systems.norms import h2_norm
from reduction.mimo import as_mimo
from reduction.mimo_problems import hermitian, spectral_error
from reduction.problems import (
    ITERATIVE,
    KEEPING,
    QUICK,
    assert_close_errors,
    error_kernel,
    half_circle,
    independent_error,
    problem,
    reduced,
    response_error,
    weighted_error,
)
from strategies import s4d_bank, seeded_bank, seeded_mimo

FULL = seeded_bank((2,), 4, 1, seed=5, decays=(0.05, 1.0))
FREQUENCIES = half_circle(512)  # kernels have died out, 0.95^512 = 4e-12, before they wrap
LOW = 1 / (0.05 + FREQUENCIES) ** 2


# Singular perturbation makes a pole at -1 here whose kernel is still there when it wraps.
@pytest.mark.parametrize("method", KEEPING)
def test_constant_weight_is_no_weight(method):
    weight = SpectralWeight(FREQUENCIES, torch.full((512,), 3.0))
    weighted = reduce(FULL, 4, method, weight=weight, descent=QUICK)
    plain = reduce(FULL, 4, method, descent=QUICK)
    torch.testing.assert_close(weighted.relative_error, plain.relative_error, rtol=1e-6, atol=0)
    balanced = plain.certificate.balanced_error
    torch.testing.assert_close(weighted.certificate.balanced_error, balanced, rtol=1e-6, atol=0)


def test_weighting_pays_in_its_own_metric_and_costs_in_the_other():
    weight = SpectralWeight(FREQUENCIES, LOW)
    weighted, plain = reduce(FULL, 2, weight=weight), reduce(FULL, 2)
    for row in range(2):
        values = LOW.numpy()
        own = weighted_error(FREQUENCIES, values, FULL[row], weighted.system[row])
        other = weighted_error(FREQUENCIES, values, FULL[row], plain.system[row])
        assert own < 0.99 * other
        assert oracles.h2_error(FULL[row], weighted.system[row]) > oracles.h2_error(
            FULL[row], plain.system[row]
        )
    assert bool((weighted.relative_error <= weighted.certificate.balanced_error).all())


def test_no_small_change_of_a_weighted_optimum_is_better():
    weight = SpectralWeight(FREQUENCIES, LOW)
    result = reduce(FULL[:1], 2, weight=weight, fit_feedthrough=True)
    assert bool(result.converged.all())
    small = result.system[0]
    best = weighted_error(FREQUENCIES, LOW.numpy(), FULL[0], small)
    generator = np.random.default_rng(0)
    for _ in range(50):
        moves = torch.from_numpy(generator.standard_normal((5, small.num_poles))) * 1e-3
        moved = replace(
            small,
            exponents=small.exponents * torch.exp(torch.complex(moves[0], moves[1])),
            residues=small.residues * torch.exp(torch.complex(moves[2], moves[3])),
            D=small.D * (1 + moves[4, 0]),
        )
        assert weighted_error(FREQUENCIES, LOW.numpy(), FULL[0], moved) > best


def test_every_system_has_its_own_weight():
    values = torch.stack([LOW, LOW.flip(0)])
    together = reduce(FULL, 2, weight=SpectralWeight(FREQUENCIES, values))
    for row in range(2):
        weight = SpectralWeight(FREQUENCIES, values[row])
        alone = reduce(FULL[row : row + 1], 2, weight=weight)
        assert_close_errors(together.relative_error[row : row + 1], alone.relative_error)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_weights_of_any_dtype(dtype):
    values = torch.where(FREQUENCIES < 1, 100, 1)
    result = reduce(FULL, 2, weight=SpectralWeight(FREQUENCIES, values.to(dtype)))
    expected = reduce(FULL, 2, weight=SpectralWeight(FREQUENCIES, values.double()))
    assert_close_errors(result.relative_error, expected.relative_error)


def test_frequencies_without_weight_do_not_count():
    band = torch.lt(FREQUENCIES, math.pi / 3)
    weight = SpectralWeight(FREQUENCIES, band.double())
    cropped = SpectralWeight(FREQUENCIES[band], torch.ones(int(band.sum())))
    first, second = reduce(FULL, 2, weight=weight), reduce(FULL, 2, weight=cropped)
    assert_close_errors(first.relative_error, second.relative_error)


@pytest.mark.parametrize("method", ITERATIVE)
def test_fitted_feedthrough_is_never_worse(method):
    free = reduce(FULL, 2, method, fit_feedthrough=True, descent=QUICK)
    fixed = reduce(FULL, 2, method, descent=QUICK)
    assert bool((free.relative_error <= fixed.relative_error * (1 + 1e-9)).all())
    for row in range(2):
        # D stands for one sample of the kernel: the first.
        kernel = error_kernel(FULL[row], free.system[row], 600)
        kernel[0] += float(FULL.D[row] - free.system.D[row])
        expected = np.linalg.norm(kernel) / float(h2_norm(FULL[row]))
        assert float(free.relative_error[row]) == pytest.approx(expected, rel=1e-6)


PLAIN = tuple(name for name in KEEPING if name not in ITERATIVE)
"""Methods that have no D of their own."""


@pytest.mark.parametrize("method", PLAIN)
@pytest.mark.parametrize("kind", ["plain", "horizon", "weight"])
def test_a_free_feedthrough_is_the_best_for_the_same_modes(method, kind):
    options: dict[str, Any] = {
        "plain": {},
        "horizon": {"horizon": 12},
        "weight": {"weight": SpectralWeight(FREQUENCIES, LOW)},
    }[kind]
    fixed = reduce(FULL, 2, method, **options)
    free = reduce(FULL, 2, method, fit_feedthrough=True, **options)
    for field in ("exponents", "residues", "states"):
        assert torch.equal(getattr(free.system, field), getattr(fixed.system, field))
    assert bool((free.relative_error < fixed.relative_error).all())
    for row in range(2):
        full, small = FULL[row], free.system[row]

        def error(change, full=full, small=small):
            moved = replace(small, D=small.D + change)
            if kind == "weight":
                return weighted_error(FREQUENCIES, LOW.numpy(), full, moved)
            length = 12 if kind == "horizon" else 600
            norm = np.linalg.norm(oracles.kernel(full, np.arange(length)))
            return float(np.linalg.norm(response_error(full, moved, length)) / norm)

        best = error(0.0)
        assert float(free.relative_error[row]) == pytest.approx(best, rel=1e-6)
        assert all(error(change) > best for change in (-1e-2, -1e-4, 1e-4, 1e-2))


@pytest.mark.parametrize("method", PLAIN)
def test_a_free_feedthrough_of_many_inputs_is_the_best_for_the_same_modes(method):
    full = seeded_mimo((1,), 2, 3, 3, 1, seed=31)
    frequencies = half_circle(64)
    weight = SpectralWeight(frequencies, hermitian(64, 2, 31))
    small = reduce(full, 3, method, weight=weight, fit_feedthrough=True).system[0]
    best = spectral_error(weight, full[0], small)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        change = 1e-3 * torch.randn(3, 2, dtype=torch.float64, generator=generator)
        assert spectral_error(weight, full[0], replace(small, D=small.D + change)) > best


def test_on_a_horizon_a_slow_pole_and_a_free_feedthrough_do_no_harm():
    # Singular perturbation of a pole on the boundary once gave an error of 125.
    exponents = torch.tensor([[0.0, -0.3 + 1j, -0.05 + 2j]], dtype=torch.complex128)
    residues = torch.tensor([[1.0, 1j, 0.5]], dtype=torch.complex128)
    full = ModalSystem.from_exponents(exponents, residues, torch.tensor([[1, 2, 2]]))
    options: dict[str, Any] = {"horizon": 20, "fit_feedthrough": True}
    for order in (1, 2, 3):
        balanced = reduce(full, order, "balanced", **options).relative_error
        assert float(balanced) <= float(reduce(full, order, "balanced", horizon=20).relative_error)
        assert float(reduce(full, order, "h2", **options).relative_error) <= float(balanced) + 1e-12


def test_fitted_feedthrough_pays():
    full = s4d_bank(3, 8, seed=24)
    free = reduce(full, 2, fit_feedthrough=True).relative_error
    fixed = reduce(full, 2).relative_error
    assert bool((free <= fixed * (1 + 1e-9)).all())
    assert bool((free < 0.999 * fixed).any())


def test_fitted_feedthrough_is_never_worse_under_a_weight():
    posed = problem("weighted")
    free = reduce(posed.system, posed.order, fit_feedthrough=True, **posed.options)
    fixed = reduced("h2", "weighted")
    assert bool((free.relative_error <= fixed.relative_error * (1 + 1e-9)).all())
    for row in range(2):
        full, small = posed.system[row], free.system[row]
        expected = independent_error(posed, row, full, small)
        assert float(free.relative_error[row]) == pytest.approx(expected, rel=1e-6)


def test_a_small_error_with_fitted_feedthrough_is_still_right():
    # The squared error is 1e-16 of what it is a difference of.
    full = seeded_bank((1,), 2, seed=25)
    weak = full.residues * torch.tensor([1.0, 1e-8])
    system = replace(full, residues=weak)
    result = reduce(system, 2, fit_feedthrough=True)
    kernel = error_kernel(system[0], result.system[0], 3000)
    kernel[0] += float(system.D[0] - result.system.D[0])
    expected = np.linalg.norm(kernel) / float(h2_norm(system[0]))
    assert float(result.relative_error[0]) == pytest.approx(expected, rel=1e-3)


MIXED = seeded_bank((1,), 4, 2, seed=1)


def test_with_a_free_feedthrough_a_scalar_system_is_no_worse_than_one_of_one_input():
    scalar = reduce(MIXED, 3, fit_feedthrough=True)
    many = reduce(as_mimo(MIXED), 3, fit_feedthrough=True)
    assert float(scalar.relative_error) <= float(many.relative_error) * (1 + 1e-6)


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_under_a_weight_a_scalar_system_is_no_worse_than_one_of_one_input(order):
    frequencies = half_circle(64)
    values = 1 / (0.1 + frequencies) ** 2
    scalar = reduce(MIXED, order, weight=SpectralWeight(frequencies, values))
    many = reduce(as_mimo(MIXED), order, weight=SpectralWeight(frequencies, values[:, None, None]))
    assert float(scalar.relative_error) <= float(many.relative_error) * (1 + 1e-6)
