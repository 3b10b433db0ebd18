"""Systems that are not minimal: h2 returns the minimal one where that is small enough."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import oracles
from hydropress.reduction.minimal import minimal
from hydropress.reduction.reduce import reduce, reduce_path
from reduction.mimo import as_mimo
from strategies import bank, build, seeded_bank, seeded_mimo

PAIR, OTHER, REAL = -0.1 + 1j, -0.3 + 2j, -0.2 + 0j
TIMES = ["discrete", "continuous"]


def mcmillan_degree(system):
    """Return the rank of a block Hankel matrix of (scaled) samples."""
    samples = 12 if system.time == "discrete" else 12.0
    step = {} if system.time == "discrete" else {"step": 1.0}
    kernel = system.impulse_response(int(2 * samples), **step).numpy()
    kernel = kernel.reshape(-1, *kernel.shape[-3:])[0] if kernel.ndim > 1 else kernel[None, None]
    places = np.arange(12)[:, None] + np.arange(12)
    blocks = kernel[..., places].transpose(2, 0, 3, 1)
    matrix = blocks.reshape(12 * kernel.shape[0], -1)
    return int(np.linalg.matrix_rank(matrix, tol=1e-9 * np.linalg.norm(matrix)))


CASES = {
    "repeated pair": ([PAIR, PAIR, OTHER, REAL], [1.0, 2j, 1 - 1j, 0.5], [2, 2, 2, 1], 5),
    "repeated real": ([PAIR, REAL, REAL], [1.0, 2.0, 0.5], [2, 1, 1], 3),
    "silent": ([PAIR, OTHER, REAL], [1.0, 0.0, 0.5], [2, 2, 1], 3),
    "cancelled": ([PAIR, PAIR, PAIR, REAL], [1.0, -0.3, -0.7, 0.5], [2, 2, 2, 1], 1),
    "silent and repeated": ([PAIR, REAL, PAIR, OTHER], [1.0, 0.0, 1j, 0.0], [2, 1, 2, 2], 2),
}


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("name", CASES)
def test_a_scalar_system_comes_back_at_its_minimal_order(name, time):
    exponents, residues, states, order = CASES[name]
    full = build(exponents, residues, states, 0.5, time)
    assert mcmillan_degree(full) == order
    stored = int(full.order)
    for one in (full, as_mimo(full)):
        path = reduce_path(one, orders=tuple(range(order, stored + 1)))
        for result in path:
            assert int(result.system.order) == order
            assert float(result.relative_error) < 1e-14
            kernel, wanted = result.system.impulse_response(40), one.impulse_response(40)
            torch.testing.assert_close(kernel, wanted, rtol=0, atol=1e-14)
            assert torch.equal(result.system.D, one.D)
            assert bool(result.converged)


@pytest.mark.parametrize("options", [{}, {"fit_feedthrough": True}, {"horizon": 20}])
def test_in_a_bank_each_has_its_own(options):
    full = bank([build(*CASES[name][:3], 0.5) for name in CASES] + [seeded_bank((), 3, 1, seed=91)])
    before = full.exponents.clone()
    result = reduce(full, 5, **options)
    assert result.system.order.tolist()[:-1] == [case[3] for case in CASES.values()]
    assert int(result.system.order[-1]) <= 5
    assert float(result.relative_error[:-1].max()) < 1e-14
    assert torch.equal(full.exponents, before)


def test_below_the_minimal_order_the_repeated_system_is_reduced_as_the_minimal_one():
    exponents, residues, states, _ = CASES["repeated pair"]
    full = build(exponents, residues, states, 0.5)
    merged = build([PAIR, OTHER, REAL], [1 + 2j, 1 - 1j, 0.5], [2, 2, 1], 0.5)
    for order in (1, 2, 3, 4):
        result, expected = reduce(full, order), reduce(merged, order)
        torch.testing.assert_close(
            result.relative_error, expected.relative_error, rtol=1e-9, atol=0
        )
        error = oracles.relative_h2_error(full, result.system)
        assert float(result.relative_error) == pytest.approx(error, rel=1e-6)


def repeated(full, *more):
    """Append modes of the first pole with these C and B."""
    exponents, B, C, states = full.exponents, full.B, full.C, full.states
    for c, b in more:
        exponents = torch.cat([exponents, full.exponents[:1]])
        states = torch.cat([states, full.states[:1]])
        C = torch.cat([C, c[:, None]], 1)
        B = torch.cat([B, b[None, :]], 0)
    return replace(full, exponents=exponents, B=B, C=C, states=states)


@pytest.mark.parametrize("time", TIMES)
def test_many_inputs_keep_as_many_modes_of_a_pole_as_its_residue_has_rank(time):
    full = seeded_mimo((), 3, 2, 2, time=time, seed=92)
    c, b = full.C[:, 0], full.B[0]
    other = torch.tensor([1.0, -2.0, 0.5j], dtype=torch.complex128)
    third = torch.tensor([2.0, 1j], dtype=torch.complex128)
    parallel = repeated(full, (2j * c, b))
    shared_input = repeated(full, (other[: len(c)], b))
    distinct = repeated(full, (other[: len(c)], third[: len(b)] if len(b) == 2 else other))
    crowded = repeated(distinct, (c - other[: len(c)], 2 * b), (1j * c, b))
    for system, order in ((parallel, 4), (shared_input, 4), (distinct, 6), (crowded, 6)):
        assert mcmillan_degree(system) == order
        stored = int(system.order)
        result = reduce(system, stored)
        assert int(result.system.order) == order
        assert float(result.relative_error) < 1e-13
        kernel, wanted = result.system.impulse_response(40), system.impulse_response(40)
        torch.testing.assert_close(kernel, wanted, rtol=0, atol=1e-12)


def test_silent_modes_of_many_inputs_are_left_out():
    full = seeded_mimo((2,), 3, 2, 2, 1, seed=93)
    B, C = full.B.clone(), full.C.clone()
    B[0, 0], C[1, :, 1], C[1, :, 2] = 0, 0, 0
    result = reduce(replace(full, B=B, C=C), 5)
    assert result.system.order.tolist() == [3, 2]
    assert float(result.relative_error.max()) < 1e-14


def test_a_minimal_system_is_the_same_record():
    for full in (seeded_bank((3,), 3, 1, seed=94), seeded_mimo((2,), 2, 2, 2, 1, seed=94)):
        assert minimal(full) is full


def test_equal_poles_with_residues_of_full_rank_stay():
    full = seeded_mimo((), 2, 2, 1, seed=95)
    b = torch.tensor([1.0, 5j], dtype=torch.complex128)
    doubled = repeated(full, (torch.tensor([1j, 3.0], dtype=torch.complex128), b)).reshape(1)
    assert minimal(doubled) is doubled
