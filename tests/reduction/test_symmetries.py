"""Changes to a problem that must not change, or must change simply, what a method returns."""

import math
from dataclasses import replace

import pytest
import torch

from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import ModalSystem, SISOSystem
from reduction.problems import KEEPING, METHODS, QUICK, assert_close_errors, problem, reduced

LENGTH = 400

all_methods = pytest.mark.parametrize("method", METHODS)


def assert_same_kernels(actual: SISOSystem, expected: SISOSystem, tolerance: float) -> None:
    wanted = expected.impulse_response(LENGTH)
    difference = (actual.impulse_response(LENGTH) - wanted).norm(dim=-1)
    assert float((difference / wanted.norm(dim=-1)).max()) <= tolerance


@all_methods
def test_a_second_run_gives_the_same_bits(method):
    again = reduce(problem("s4d").system, 2, method, descent=QUICK)
    first = reduced(method, "s4d")
    for field in ("exponents", "residues", "states", "D"):
        assert torch.equal(getattr(again.system, field), getattr(first.system, field))
    assert torch.equal(again.relative_error, first.relative_error)


@all_methods
def test_a_bank_is_reduced_as_its_members_are(method):
    full = problem("s4d").system
    together = reduced(method, "s4d")
    for row in range(2):
        alone = reduce(full[row : row + 1], 2, method, descent=QUICK)
        assert_same_kernels(alone.system, together.system[row : row + 1], 1e-5)
        assert float(alone.relative_error[0]) == pytest.approx(
            float(together.relative_error[row]), rel=1e-9
        )


@all_methods
def test_order_of_the_poles_does_not_matter(method):
    full, together = problem("s4d").system, reduced(method, "s4d")
    shuffled = torch.tensor([2, 0, 3, 1])
    moved = replace(
        full,
        exponents=full.exponents[:, shuffled],
        residues=full.residues[:, shuffled],
        states=full.states[:, shuffled],
    )
    assert_same_kernels(reduce(moved, 2, method, descent=QUICK).system, together.system, 1e-5)


@all_methods
@pytest.mark.parametrize("factor", [-1e-9, 1e6])
def test_scaling_the_system_scales_the_result(method, factor):
    full = problem("s4d").system
    scaled = replace(full, residues=factor * full.residues, D=factor * full.D)
    result, plain = reduce(scaled, 2, method, descent=QUICK), reduced(method, "s4d")
    expected = replace(plain.system, residues=factor * plain.system.residues)
    assert_same_kernels(result.system, expected, 1e-5)
    torch.testing.assert_close(result.relative_error, plain.relative_error, rtol=1e-9, atol=0)
    if method in KEEPING:
        assert torch.equal(result.system.D, scaled.D)
    else:
        wanted = factor * plain.system.D
        torch.testing.assert_close(result.system.D, wanted, rtol=1e-6, atol=0)


# Singular perturbation tells the gain at zero frequency from that at the highest.
@pytest.mark.parametrize("method", KEEPING)
def test_alternating_the_sign_of_the_kernel_mirrors_the_result(method):
    # (-1)^t k[t] has the poles -a: the error of the best reduced system is the same.
    full, plain = problem("mixed").system, reduced(method, "mixed")
    turned = torch.where(full.states == 2, math.pi - full.exponents.imag, full.exponents.imag)
    turned = torch.where(full.states == 1, math.pi - turned, turned)
    mirrored = replace(
        full,
        exponents=torch.complex(full.exponents.real, turned),
        residues=full.residues.conj().resolve_conj(),
    )
    result = reduce(mirrored, 2, method, descent=QUICK)
    sign = 1 - 2.0 * (torch.arange(LENGTH) % 2)
    expected = plain.system.impulse_response(LENGTH) * sign
    actual = result.system.impulse_response(LENGTH)
    assert float((actual - expected).norm()) <= 1e-5 * float(expected.norm())


@pytest.mark.parametrize("method", [name for name in KEEPING if name != "gradient"])
@pytest.mark.parametrize("speed", [1e-3, 1e3])
def test_the_unit_of_time_does_not_matter(method, speed):
    # k(ct) has the poles cλ.  (Steepest descent is steepest in one unit of frequency only.)
    full, plain = problem("continuous").system, reduced(method, "continuous")
    faster = replace(full, exponents=speed * full.exponents)
    result = reduce(faster, 4, method, descent=QUICK)
    assert_close_errors(result.relative_error, plain.relative_error)


@all_methods
def test_single_precision_input(method):
    full = problem("grid").system
    poles, residues = full.poles.to(torch.complex64), full.residues.to(torch.complex64)
    result = reduce(ModalSystem.siso(poles, residues), 4, method, descent=QUICK)
    assert result.system.exponents.dtype == torch.complex128
    assert result.relative_error.dtype == torch.float64
    # Rounding a pole to float32 moves it by 6e-8 / |1 - a|, at most 1e-5, of its distance to the
    # boundary.
    expected = reduced(method, "grid").relative_error
    torch.testing.assert_close(result.relative_error, expected, rtol=1e-4, atol=0)


@all_methods
def test_numpy_input(method):
    full = problem("grid").system
    system = ModalSystem.siso(full.poles.numpy(), full.residues.numpy(), full.D.numpy())
    expected = reduced(method, "grid").relative_error
    assert_close_errors(reduce(system, 4, method, descent=QUICK).relative_error, expected)
