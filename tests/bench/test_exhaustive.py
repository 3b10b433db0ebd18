"""The exhaustive search against another, written apart from it, and against kernels."""

import numpy as np
import pytest
import torch

from hydropress.bench.exhaustive import Bank, captured_energy, relative_error, search
from hydropress.bench.optimum import search_order_two
from reduction.order_two import ExhaustiveSearch
from strategies import bank, build, s4d_bank, seeded_bank


@pytest.mark.parametrize(
    "full",
    [
        s4d_bank(2, 16, seed=3),
        seeded_bank((2,), 2, 2, seed=4),
        bank([build([-0.02, -0.1, -0.5], [1.0, 2.0, 1.0], [1] * 3)]),
    ],
    ids=["s4d", "mixed", "real"],
)
def test_two_searches_agree(full):
    optima = search(Bank.of(full))
    for row in range(len(full.D)):
        best = float(optima.error[optima.best(row)])
        assert best == pytest.approx(ExhaustiveSearch(full[row]).run().relative_error, rel=1e-6)


def test_error_and_captured_energy_are_those_of_the_best_residues():
    full = s4d_bank(1, 8, seed=5)
    s = torch.tensor([-0.03 + 0.2j], dtype=torch.complex128)
    t = np.arange(20_000)
    kernel = full.impulse_response(len(t))[0].numpy()
    mode = np.exp(s.numpy()[0] * t)
    columns = np.stack([mode.real, mode.imag], 1)
    _, rest, *_ = np.linalg.lstsq(columns, kernel, rcond=None)
    total = (kernel**2).sum()
    written = Bank.of(full)
    captured = float(captured_energy(written, s, s.conj())[0])
    assert captured == pytest.approx(total - rest[0], rel=1e-8)
    error = float(relative_error(written, s, s.conj())[0])
    assert error == pytest.approx(np.sqrt(rest[0] / total), rel=1e-8)


def test_h2_and_the_search_are_set_side_by_side():
    full = s4d_bank(3, 8, seed=6)
    shares: list[float] = []
    found = search_order_two(full, shares.append)
    assert found["channels"] == 3
    np.testing.assert_allclose(found["h2"], found["best"], rtol=1e-6)
    assert shares[-1] == 1
