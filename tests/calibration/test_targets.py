"""The ways to say how far."""

import math
from decimal import Decimal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hydropress.calibration.targets import allowed_drop, budget_of_ratio, order_of_ratio
from hydropress.errors import InvalidArgumentError


@given(st.integers(1, 20000), st.data())
def test_budgets_are_whole_states_rounded_down(total, data):
    budget = data.draw(st.integers(1, total))
    assert budget_of_ratio(budget / total, total) == budget
    ratio = Decimal(data.draw(st.integers(1, 1000))).scaleb(-3)
    if ratio * total >= 1:
        assert budget_of_ratio(float(ratio), total) == math.floor(ratio * total)


@pytest.mark.parametrize("ratio", [0.0, -1.0, 1.1, math.nan, 0.06])
def test_ratios_of_no_budget(ratio):
    with pytest.raises(InvalidArgumentError, match="ratio=.*required"):
        budget_of_ratio(ratio, 16)


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
