"""What every reduction method promises, whatever the problem: methods x problems."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import oracles
from hydropress.errors import InvalidArgumentError
from hydropress.reduction.reduce import reduce
from hydropress.reduction.registry import method_names
from hydropress.systems.modal import ModalSystem
from reduction.problems import (
    ITERATIVE,
    KEEPING,
    METHODS,
    OWN_FEEDTHROUGH,
    PROBLEMS,
    QUICK,
    each,
    enough_samples,
    independent_error,
    problem,
    reduced,
    response_error,
)
from strategies import bank, build, s4d_bank, seeded_bank
from tolerances import ROUNDING

grid = pytest.mark.parametrize(
    ("method", "name"),
    [
        (method, name)
        for method in METHODS
        for name in PROBLEMS
        if method in KEEPING or problem(name).horizon is None
    ],
)
all_methods = pytest.mark.parametrize("method", METHODS)
endless = pytest.mark.parametrize("name", [name for name in PROBLEMS if not problem(name).horizon])


def test_every_registered_method_is_in_the_suite():
    assert set(METHODS) == set(method_names())


@grid
def test_result_is_real_stable_and_small_enough(method, name):
    posed, result = problem(name), reduced(method, name)
    system = result.system
    assert system.batch_shape == posed.system.batch_shape
    assert system.time == posed.system.time
    assert (system.exponents.dtype, system.residues.dtype) == (torch.complex128,) * 2
    assert bool((system.order <= posed.order).all())
    assert bool((system.order <= posed.system.order).all())
    assert bool((system.decay > 0).all())
    assert bool(torch.isfinite(torch.view_as_real(system.residues)).all())
    pairs, reals = system.states == 2, system.states == 1
    assert bool((pairs | reals | (system.states == 0)).all())
    assert bool((system.poles.imag[pairs] > 0).all())
    assert bool((system.poles.imag[reals] == 0).all())
    assert bool((system.residues.imag[reals] == 0).all())


@grid
def test_reported_error_is_the_error(method, name):
    posed, result = problem(name), reduced(method, name)
    for row, full, small in each(posed, result):
        expected = independent_error(posed, row, full, small)
        actual = result.relative_error.flatten()[row].item()
        assert actual == pytest.approx(expected, rel=1e-6, abs=ROUNDING)


@grid
def test_input_is_not_changed(method, name):
    posed = problem(name)
    reduced(method, name)
    problem.cache_clear()
    for field in ("exponents", "residues", "states", "D"):
        assert torch.equal(getattr(posed.system, field), getattr(problem(name).system, field))


@grid
def test_feedthrough_is_kept(method, name):
    kept = torch.equal(reduced(method, name).system.D, problem(name).system.D)
    assert kept == (method in KEEPING)


@pytest.mark.parametrize("method", OWN_FEEDTHROUGH)
@pytest.mark.parametrize("name", [name for name in PROBLEMS if not problem(name).horizon])
def test_singular_perturbation_keeps_the_gain_at_zero_frequency(method, name):
    full, small = problem(name).system, reduced(method, name).system
    direct = [1.0] if full.time == "discrete" else [0.0]
    torch.testing.assert_close(
        small.transfer_function(direct), full.transfer_function(direct), rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize("method", OWN_FEEDTHROUGH)
@pytest.mark.parametrize("name", [name for name in PROBLEMS if problem(name).horizon])
def test_singular_perturbation_refuses_a_horizon(method, name):
    with pytest.raises(InvalidArgumentError, match=r"singular-perturbation.*horizon.*balanced"):
        reduced(method, name)


@grid
def test_shapes_and_certificate_are_sane(method, name):
    posed, result = problem(name), reduced(method, name)
    batch, certificate = posed.system.batch_shape, result.certificate
    assert (result.method, result.order) == (method, posed.order)
    assert result.relative_error.shape == result.converged.shape == result.iterations.shape == batch
    for values in (
        result.relative_error,
        certificate.stationarity,
        certificate.amplification,
        certificate.mode_energy,
        certificate.spread,
    ):
        assert values.shape == batch
        if method in KEEPING or posed.system.time == "discrete":
            assert bool(torch.isfinite(values).all())
        assert bool((values >= 0).all())
    assert bool((result.iterations >= 0).all())
    assert isinstance(result.status, str)


@grid
def test_certificate_compares_with_balanced_truncation(method, name):
    certificate = reduced(method, name).certificate
    expected = reduced("balanced", name).relative_error
    torch.testing.assert_close(certificate.balanced_error, expected, rtol=1e-9, atol=0)


@endless
@all_methods
def test_certificate_compares_with_irka(method, name):
    certificate = reduced(method, name).certificate
    expected = reduced("irka", name).relative_error
    torch.testing.assert_close(certificate.irka_error, expected, rtol=1e-9, atol=0)


@grid
def test_no_method_beats_the_lower_bound(method, name):
    posed, result = problem(name), reduced(method, name)
    bound = result.certificate.lower_bound
    assert bool((bound <= result.relative_error * (1 + 1e-9)).all())
    # The problems are minimal: a lower order has an error.
    assert torch.equal(bound > 0, posed.system.order > posed.order)


@pytest.mark.parametrize("name", ["s4d", "grid", "horizon", "weighted"])
@all_methods
def test_no_method_with_a_free_feedthrough_beats_the_lower_bound(method, name):
    posed = problem(name)
    if method in OWN_FEEDTHROUGH and posed.horizon is not None:
        return
    result = reduce(posed.system, posed.order, method, fit_feedthrough=True, **posed.options)
    bound = result.certificate.lower_bound
    assert bool((bound <= result.relative_error * (1 + 1e-9)).all())
    assert bool((bound > 0).all())


@all_methods
def test_order_zero_is_the_feedthrough_alone(method):
    posed = problem("mixed")
    result = reduce(posed.system, 0, method)
    assert bool((result.system.order == 0).all())
    assert torch.equal(result.system.D, posed.system.D)
    assert result.relative_error.tolist() == pytest.approx([1.0] * 3)
    assert float(result.system.impulse_response(5).abs().max()) == 0
    free = reduce(posed.system, 0, method, fit_feedthrough=True)
    first = posed.system.impulse_response(1)[:, 0] + posed.system.D
    torch.testing.assert_close(free.system.D, first, rtol=1e-12, atol=0)


@endless
@all_methods
def test_mode_energy_is_the_largest_energy_of_a_mode(method, name):
    posed, result = problem(name), reduced(method, name)
    for row, full, small in each(posed, result):
        energies = []
        for exponent, residue, states in oracles.entries(small):
            decay = -2 * exponent.real
            total = -1 / math.expm1(-decay) if full.time == "discrete" else 1 / decay
            energies.append(states * abs(residue) ** 2 * total)
        expected = max(energies) / oracles.h2_norm(full) ** 2
        actual = result.certificate.mode_energy.flatten()[row].item()
        assert actual == pytest.approx(expected, rel=1e-8)


@endless
@all_methods
def test_amplification_is_the_error_norm(method, name):
    posed, result = problem(name), reduced(method, name)
    unweighted = replace(posed, weight=None)
    for row, full, small in each(posed, result):
        norm = oracles.h2_norm(full)
        expected = independent_error(unweighted, row, full, small) * norm
        actual = result.certificate.amplification.flatten()[row].item()
        assert actual == pytest.approx(expected, rel=1e-6, abs=ROUNDING * norm)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("name", ["s4d", "mixed", "real", "alternating", "weighted"])
@all_methods
def test_outputs_differ_by_no_more_than_the_guarantee(method, name, free):
    posed, result = problem(name), reduced(method, name)
    if free:
        result = reduce(posed.system, posed.order, method, fit_feedthrough=True, **posed.options)
    generator = np.random.default_rng(0)
    for row, full, small in each(posed, result):
        guarantee = result.certificate.amplification.flatten()[row].item()
        kernel = response_error(full, small, enough_samples(full, small))
        signals = [generator.standard_normal(400), generator.choice([-1.0, 1.0], 400), np.ones(400)]
        for signal in signals:
            peak = np.abs(np.convolve(kernel[:400], signal)[:400]).max()
            assert peak <= guarantee * np.linalg.norm(signal)
        # The worst input is the error kernel run backwards, and it reaches the bound.
        peak = np.convolve(kernel, kernel[::-1])[len(kernel) - 1]
        assert peak == pytest.approx(guarantee * np.linalg.norm(kernel), rel=1e-6)


@all_methods
@pytest.mark.parametrize("time", ["discrete", "continuous"])
def test_full_order_returns_the_system(method, time):
    full = seeded_bank((2,), 2, 1, time=time, seed=6)
    result = reduce(full, 5, method, descent=QUICK)
    assert float(result.relative_error.max()) < 1e-8
    difference = full.impulse_response(50) - result.system.impulse_response(50)
    assert float(difference.abs().max()) < 1e-7


@all_methods
def test_a_system_already_small_enough_stays(method):
    small, large = build([-0.3 + 1j], [1 - 2j], [2], 0.5), seeded_bank((1,), 4, seed=7)[0]
    full = bank([small, large])
    result = reduce(full, 4, method, descent=QUICK)
    assert float(result.relative_error[0]) < 1e-8
    assert int(result.system.order[0]) <= 2


@all_methods
def test_a_system_of_no_response_is_no_trouble(method):
    full = s4d_bank(2, 8, seed=1)
    silent = ModalSystem.from_exponents(
        full.exponents, full.residues * torch.tensor([[0.0], [1.0]]), full.states, full.D
    )
    result = reduce(silent, 2, method, descent=QUICK)
    assert float(result.relative_error[0]) == 0
    assert bool((result.system.impulse_response(20)[0] == 0).all())
    alone = reduced(method, "s4d")
    torch.testing.assert_close(result.relative_error[1], alone.relative_error[1], rtol=1e-6, atol=0)


@all_methods
def test_one_system_without_batch_axes(method):
    full = problem("s4d").system
    result = reduce(full[0], 2, method, descent=QUICK)
    assert result.system.batch_shape == result.relative_error.shape == ()
    together = reduced(method, "s4d").relative_error[0]
    torch.testing.assert_close(result.relative_error, together, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", ITERATIVE)
def test_no_pole_decays_slower_than_the_floor(method):
    # Slower poles than the floor are the system's best: only the floor keeps them out.
    full = bank([build([-1e-3 + 0.5j, -0.01 + 1.2j, -0.4 + 2j], [1.0, 1.0, 1j], [2, 2, 2])])
    result = reduce(full, 2, method, descent=replace(QUICK, decay_floor=0.05))
    assert float(result.system.decay.min()) >= 0.05 * (1 - 1e-9)


@pytest.mark.parametrize("method", ITERATIVE)
def test_iterations_end_where_they_are_told_to(method):
    full = problem("s4d").system
    result = reduce(full, 2, method, descent=replace(QUICK, max_iterations=3))
    assert int(result.iterations.max()) <= 3
