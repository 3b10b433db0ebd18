"""Random restarts are sound starts, and find what a worse method missed."""

import torch

from hydropress.bench import restarts
from hydropress.bench.restarts import random_starts, try_restarts
from hydropress.reduction.reduce import reduce
from strategies import s4d_bank, seeded_bank


def test_starts_have_the_order_and_differ():
    full = s4d_bank(3, 16, seed=1)
    energies = full.residues.abs() ** 2
    starts = random_starts(full, 6, 8, energies, torch.Generator().manual_seed(0))
    assert starts.states.shape == (24, 4)
    assert bool((starts.states.sum(1) == 6).all())
    # Every fourth has two real poles.
    assert (starts.states == 1).any(1).reshape(3, 8).sum(1).tolist() == [2, 2, 2]
    assert len({round(value, 9) for value in starts.log_decay[:, 0].tolist()}) == 24


def test_restarts_reach_the_optimum_that_h2_found():
    full = seeded_bank((3,), 5, 1, seed=4)
    found = try_restarts(full, 4, 40, 0, lambda share: None)
    for h2, best, hits in zip(found["h2"], found["best"], found["hits"], strict=True):
        assert abs(best / h2 - 1) < 1e-6
        assert 0 < hits <= 40


def test_restarts_find_a_better_optimum_than_a_worse_method(monkeypatch):
    monkeypatch.setattr(restarts, "reduce", lambda full, order: reduce(full, order, "balanced"))
    found = try_restarts(s4d_bank(2, 16, seed=3), 4, 20, 0, lambda share: None)
    for h2, best in zip(found["h2"], found["best"], strict=True):
        assert best < h2 * (1 - 1e-3)
