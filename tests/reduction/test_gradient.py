"""Plain gradient descent from balanced truncation."""

import numpy as np
from hypothesis import given, settings

import oracles
from hydropress.reduction.reduce import reduce
from reduction.problems import QUICK
from strategies import modal_banks, s4d_bank


def test_it_improves_on_its_start():
    full = s4d_bank(3, 8, seed=71)
    result, start = reduce(full, 2, "gradient", descent=QUICK), reduce(full, 2, "balanced")
    for row in range(3):
        error = oracles.h2_error(full[row], result.system[row])
        assert error < 0.999 * oracles.h2_error(full[row], start.system[row])
    assert bool((result.relative_error >= reduce(full, 2).relative_error * (1 - 1e-9)).all())


@given(modal_banks(max_systems=2, max_modes=3))
@settings(max_examples=6)
def test_it_never_ends_worse_than_it_started(full):
    order = max(1, int(full.order.max()) // 2)
    result = reduce(full, order, "gradient", descent=QUICK)
    start = reduce(full, order, "balanced")
    for row in range(len(full.D)):
        limit = oracles.h2_error(full[row], start.system[row])
        rounding = 1e-9 * oracles.h2_norm(full[row])
        assert oracles.h2_error(full[row], result.system[row]) <= limit * (1 + 1e-9) + rounding
    assert np.isfinite(result.relative_error.numpy()).all()
