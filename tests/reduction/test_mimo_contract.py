"""What every reduction method promises of systems of several inputs and outputs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import mimo_oracles as oracles
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import MIMOSystem
from reduction.mimo import as_mimo
from reduction.mimo_problems import (
    MIMO_PROBLEMS,
    QUICK,
    MimoProblem,
    each,
    independent_error,
    mimo_problem,
    mimo_reduced,
    response_error,
)
from reduction.problems import KEEPING, METHODS
from strategies import seeded_bank, seeded_mimo
from tolerances import ROUNDING

grid = pytest.mark.parametrize(
    ("method", "name"),
    [
        (method, name)
        for method in METHODS
        for name in MIMO_PROBLEMS
        if method in KEEPING or mimo_problem(name).horizon is None
    ],
)
all_methods = pytest.mark.parametrize("method", METHODS)


@grid
def test_result_is_real_stable_and_small_enough(method, name):
    posed, result = mimo_problem(name), mimo_reduced(method, name)
    system = result.system
    assert system.batch_shape == posed.system.batch_shape
    assert system.time == posed.system.time
    assert bool((system.order <= posed.order).all())
    assert bool((system.decay > 0).all())
    for part in (system.exponents, system.B, system.C):
        assert part.dtype == torch.complex128
        assert bool(torch.isfinite(torch.view_as_real(part)).all())
    pairs, reals = system.states == 2, system.states == 1
    assert bool((pairs | reals | (system.states == 0)).all())
    assert bool((system.poles.imag[pairs] > 0).all())
    assert bool((system.poles.imag[reals] == 0).all())
    assert bool((system.B.imag[reals] == 0).all())
    assert bool((system.C.mT.imag[reals] == 0).all())


@grid
def test_reported_error_is_the_error(method, name):
    posed, result = mimo_problem(name), mimo_reduced(method, name)
    for row, full, small in each(posed, result):
        actual = result.relative_error.flatten()[row].item()
        expected = independent_error(posed, full, small)
        assert actual == pytest.approx(expected, rel=1e-6, abs=1e-9)


@grid
def test_feedthrough_is_kept_unless_free(method, name):
    posed = mimo_problem(name)
    changed = not torch.equal(mimo_reduced(method, name).system.D, posed.system.D)
    assert changed == (posed.fit_feedthrough or method not in KEEPING)


@grid
def test_input_is_not_changed(method, name):
    posed = mimo_problem(name)
    mimo_reduced(method, name)
    mimo_problem.cache_clear()
    for field in ("exponents", "B", "C", "states", "D"):
        assert torch.equal(getattr(posed.system, field), getattr(mimo_problem(name).system, field))


@grid
def test_certificate_is_sane(method, name):
    posed, result = mimo_problem(name), mimo_reduced(method, name)
    batch, certificate = posed.system.batch_shape, result.certificate
    assert result.relative_error.shape == result.converged.shape == result.iterations.shape == batch
    for values in (
        result.relative_error,
        certificate.stationarity,
        certificate.balanced_error,
        certificate.amplification,
        certificate.mode_energy,
        certificate.spread,
    ):
        assert values.shape == batch
        if method in KEEPING or posed.system.time == "discrete":
            assert bool(torch.isfinite(values).all())
        assert bool((values >= 0).all())
    assert torch.equal(result.converged, certificate.stationarity <= 1e-6)
    assert bool((certificate.lower_bound <= result.relative_error * (1 + 1e-9)).all())
    assert bool((certificate.lower_bound > 0).all())
    balanced = mimo_reduced("balanced", name).relative_error
    torch.testing.assert_close(certificate.balanced_error, balanced, rtol=1e-9, atol=0)
    irka = mimo_reduced("irka", name).relative_error
    torch.testing.assert_close(certificate.irka_error, irka, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", MIMO_PROBLEMS)
def test_h2_is_never_worse_than_the_others(name):
    posed, result = mimo_problem(name), mimo_reduced("h2", name).relative_error
    for method in METHODS if posed.fit_feedthrough else KEEPING:
        assert bool((result <= mimo_reduced(method, name).relative_error * (1 + 1e-9)).all())


@grid
def test_amplification_bounds_the_outputs(method, name):
    posed, result = mimo_problem(name), mimo_reduced(method, name)
    for row, full, small in each(posed, result):
        actual = result.certificate.amplification.flatten()[row].item()
        expected = response_error(full, small, posed.horizon)
        assert actual == pytest.approx(expected, rel=1e-6, abs=1e-9 * oracles.h2_norm(full))


@all_methods
@pytest.mark.parametrize("name", ["square", "continuous"])
def test_a_bank_is_reduced_as_its_members_are(method, name):
    posed, together = mimo_problem(name), mimo_reduced(method, name)
    for row in range(2):
        alone = reduce(posed.system[row], posed.order, method, **posed.options)
        assert alone.system.batch_shape == alone.relative_error.shape == ()
        assert float(alone.relative_error) == pytest.approx(
            float(together.relative_error[row]), rel=1e-9
        )


@all_methods
@pytest.mark.parametrize("time", ["discrete", "continuous"])
def test_full_order_returns_the_system(method, time):
    full = seeded_mimo((2,), 2, 3, 2, 1, time=time, seed=6)
    result = reduce(full, 5, method, descent=QUICK)
    assert float(result.relative_error.max()) < 1e-8
    difference = full.impulse_response(50) - result.system.impulse_response(50)
    assert float(difference.abs().max()) < 1e-7


@all_methods
def test_order_zero_is_the_feedthrough_alone(method):
    posed = mimo_problem("square")
    result = reduce(posed.system, 0, method)
    assert bool((result.system.order == 0).all())
    assert torch.equal(result.system.D, posed.system.D)
    assert result.relative_error.tolist() == pytest.approx([1.0] * 2)
    free = reduce(posed.system, 0, method, fit_feedthrough=True)
    first = posed.system.impulse_response(1)[..., 0] + posed.system.D
    torch.testing.assert_close(free.system.D, first, rtol=1e-12, atol=0)
    certificate = free.certificate
    torch.testing.assert_close(certificate.balanced_error, free.relative_error)
    torch.testing.assert_close(certificate.irka_error, free.relative_error)


@all_methods
def test_order_one_of_a_system_of_pairs(method):
    full = seeded_mimo((1,), 2, 2, 3, seed=15)
    result = reduce(full, 1, method, descent=QUICK)
    assert int(result.system.order) <= 1
    expected = independent_error(MimoProblem(full, 1), full[0], result.system[0])
    assert float(result.relative_error) == pytest.approx(expected, rel=1e-6)


@all_methods
def test_a_system_of_no_response_is_no_trouble(method):
    full = mimo_problem("square").system
    silent = replace(full, C=full.C * torch.tensor([0.0, 1.0])[:, None, None])
    result = reduce(silent, 2, method, descent=QUICK)
    assert float(result.relative_error[0]) == 0
    assert bool((result.system.impulse_response(20)[0] == 0).all())
    assert bool(torch.isfinite(result.certificate.stationarity).all())
    alone = mimo_reduced(method, "square").relative_error[1]
    torch.testing.assert_close(result.relative_error[1], alone, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", ["h2", "gradient"])
def test_settings_of_the_descent_count(method):
    full = mimo_problem("square").system
    few = reduce(full, 2, method, descent=replace(QUICK, max_iterations=3))
    assert int(few.iterations.max()) <= 10  # evaluations, a line search has a few
    slow = reduce(full, 2, method, descent=replace(QUICK, decay_floor=0.2))
    assert float(slow.system.decay.min()) >= 0.2 * (1 - 1e-9)


@pytest.mark.parametrize("method", [name for name in KEEPING if name != "gradient"])
@pytest.mark.parametrize("time", ["discrete", "continuous"])
@pytest.mark.parametrize(("order", "horizon"), [(1, 20), (2, None), (3, None), (4, None)])
def test_one_input_and_output_agrees_with_the_scalar_method(method, time, order, horizon):
    scalar = seeded_bank((1,), 3, 2, time=time, seed=2)
    options = {"horizon": horizon}
    expected = reduce(scalar, order, method, **options).relative_error
    actual = reduce(as_mimo(scalar), order, method, **options).relative_error
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", MIMO_PROBLEMS)
def test_the_gradient_leads_downhill_from_balanced_truncation(name):
    posed, result = mimo_problem(name), mimo_reduced("gradient", name)
    start = reduce(posed.system, posed.order, "balanced", horizon=posed.horizon)
    for row, full, small in each(posed, start):
        before = independent_error(posed, full, small)
        assert float(result.relative_error.flatten()[row]) <= before * (1 + 1e-9)
    assert bool((result.iterations > 0).all())


@all_methods
def test_scaling_inputs_against_outputs_changes_nothing(method):
    posed = mimo_problem("wide")
    full, plain = posed.system, mimo_reduced(method, "wide")
    scales = torch.tensor([1e-3, 1e2, 7.0, 1e4], dtype=torch.float64).to(torch.complex128)
    turned = scales * torch.exp(torch.tensor([1j, 0.3j, 2j, 0]))  # the last pole is real
    scaled = replace(full, B=full.B * turned[:, None], C=full.C / turned)
    result = reduce(scaled, posed.order, method, **posed.options)
    torch.testing.assert_close(result.relative_error, plain.relative_error, rtol=1e-6, atol=0)


@all_methods
def test_mixing_inputs_and_outputs_orthogonally_changes_no_error(method):
    posed = mimo_problem("wide")
    full, plain = posed.system, mimo_reduced(method, "wide")
    generator = torch.Generator().manual_seed(3)

    def turn(size: int) -> torch.Tensor:
        drawn = torch.randn(size, size, dtype=torch.float64, generator=generator)
        return torch.linalg.qr(drawn).Q.to(torch.complex128)

    mixed = replace(full, B=full.B @ turn(3), C=turn(2) @ full.C)
    result = reduce(mixed, posed.order, method, **posed.options)
    torch.testing.assert_close(result.relative_error, plain.relative_error, rtol=1e-6, atol=0)


@pytest.mark.parametrize("factor", [-1e-9, 1e6])
@all_methods
def test_scaling_the_system_scales_the_result(method, factor):
    posed, plain = mimo_problem("tall"), mimo_reduced(method, "tall")
    scaled = replace(posed.system, C=factor * posed.system.C, D=factor * posed.system.D)
    result = reduce(scaled, posed.order, method, **posed.options)
    torch.testing.assert_close(result.relative_error, plain.relative_error, rtol=1e-6, atol=0)
    kernel, wanted = (one.system.impulse_response(200) for one in (result, plain))
    assert isinstance(result.system, MIMOSystem)
    difference = kernel / factor - wanted
    assert float(difference.norm()) <= 1e-4 * float(wanted.norm())


def test_the_worst_input_reaches_the_amplification():
    posed, result = mimo_problem("wide"), mimo_reduced("h2", "wide")
    (_, full, small), *_ = each(posed, result)
    kernel = oracles.kernel(full, 3000) - oracles.kernel(small, 3000)
    guarantee = float(result.certificate.amplification)
    signals = np.random.default_rng(0).standard_normal((5, 3000, 3))
    for signal in signals:
        output = np.einsum("tpm,tm->p", kernel, signal[::-1])
        assert np.linalg.norm(output) <= guarantee * np.linalg.norm(signal) * (1 + ROUNDING)
