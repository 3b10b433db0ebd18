"""Peaks of memory, where the system tells them."""

import torch

from hydropress.bench.memory import STATUS, peak_growth, peak_of_process

FLOATS = 2**23


def test_a_peak_counts_though_it_is_freed():
    with peak_growth() as growth:
        block = torch.ones(FLOATS, dtype=torch.float64)
        del block
    with peak_growth() as nothing:
        pass
    if STATUS.exists():
        assert growth.bytes is not None and nothing.bytes is not None
        assert 0.9 * 8 * FLOATS < growth.bytes < 2 * 8 * FLOATS
        assert nothing.bytes < 0.1 * 8 * FLOATS
    else:
        assert growth.bytes is None


def test_a_process_reports_its_own_peak():
    found = peak_of_process(4, (2,), seed=0, threads=1)
    assert (found["channels"], found["orders"]) == (4, [2])
    if STATUS.exists():
        assert 50e6 < found["before_bytes"] <= found["peak_bytes"] < 3e9
