"""The ways to say how far, and the search for the smallest order that passes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydropress.calibration.targets import allowed_drop, smallest_passing
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
