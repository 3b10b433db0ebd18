"""The ways to say how far, and the search for the smallest order that passes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hydropress.calibration.targets import allowed_drop, order_of_ratio, smallest_passing
from hydropress.errors import InvalidArgumentError, NotConvergedError


@given(st.integers(1, 128), st.data())
def test_smallest_order_that_passes_with_few_trials(largest, data):
    wanted = data.draw(st.integers(1, largest))
    tried: list[int] = []

    def passes(order: int) -> bool:
        tried.append(order)
        return order >= wanted

    assert smallest_passing(passes, largest) == wanted
    assert len(tried) == len(set(tried)) <= 2 * math.log2(wanted + 1) + 2
    assert max(tried) <= max(2, 2 * wanted)
    assert all(1 <= order <= largest for order in tried)


def test_nothing_passes():
    with pytest.raises(NotConvergedError, match="full 8.*required.*larger drop"):
        smallest_passing(lambda _: False, 8)


@pytest.mark.parametrize(
    ("drop", "before", "expected"),
    [(0.01, 0.9, 0.01), (0, 0.9, 0.0), ("1%", 0.9, 0.009), ("50%", -2.0, 1.0), ("0.5", 3.0, 0.5)],
)
def test_drops_are_in_units_or_shares(drop, before, expected):
    assert allowed_drop(drop, before) == pytest.approx(expected)


@pytest.mark.parametrize("drop", [-0.1, math.nan, math.inf, "much", "-1%", "%", ""])
def test_drops_that_are_none(drop):
    with pytest.raises(InvalidArgumentError, match="max_drop.*required"):
        allowed_drop(drop, 1.0)


@pytest.mark.parametrize(
    ("states", "ratio", "order"),
    [
        ([8, 8, 8], 0.25, 2),
        ([8, 8, 8], 1.0, 8),
        ([8, 8, 8], 0.3, 2),  # 7.2 states: 6 are nearer than 9
        ([8, 8, 8], 0.34, 3),
        ([1, 1, 16], 0.5, 7),  # 9 of 18: two systems keep their one state
        ([0, 2, 4], 0.5, 2),  # 3 of 6: totals are 2, 4, 5, 6
    ],
)
def test_order_of_a_ratio_counts_what_systems_have(states, ratio, order):
    totals = {k: sum(min(k, own) for own in states) for k in range(1, max(states) + 1)}
    found = order_of_ratio(ratio, torch.tensor(states))
    distance = {k: abs(total - ratio * sum(states)) for k, total in totals.items()}
    assert distance[found] == distance[order] == min(distance.values())


@pytest.mark.parametrize("ratio", [0.0, -1.0, 1.1, math.nan, 0.06])
def test_ratios_that_leave_nothing_or_add(ratio):
    with pytest.raises(InvalidArgumentError, match="ratio=.*required"):
        order_of_ratio(ratio, torch.tensor([8, 8]))
