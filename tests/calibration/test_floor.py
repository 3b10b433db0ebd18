"""The search for the smallest size whose metric stays above a floor."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydropress.calibration.floor import most_evaluations, smallest_above
from hydropress.errors import NotConvergedError


@given(st.integers(1, 400), st.data())
def test_smallest_size_that_passes_whatever_was_predicted(count, data):
    wanted = data.draw(st.integers(0, count - 1))
    # Metrics rise with the size; predictions may be anything.
    rise = data.draw(st.floats(0, 1))
    number = st.floats(0, 10) | st.just(math.inf)
    predictions = data.draw(st.lists(number, min_size=count, max_size=count))
    tried: list[int] = []

    def measure(place: int) -> float:
        assert 0 <= place < count
        tried.append(place)
        value = 0.9 + rise * (place - wanted) / count
        return value if place >= wanted else min(value, 0.9 - 1e-6)

    found = smallest_above(measure, predictions.__getitem__, count, before=1.0, allowed=0.1 + 1e-9)
    assert found == wanted
    assert len(tried) == len(set(tried)) <= most_evaluations(count) <= 3 + math.log2(count)


@given(st.floats(0.002, 0.5), st.floats(0.3, 3.0), st.integers(0, 3))
def test_proportional_losses_are_found_at_once(allowed, factor, power):
    # 112 sizes, eight to a doubling; what is lost is a factor times what was predicted.
    predicted = [2 ** (-place / 8) for place in range(112)]
    tried: list[int] = []

    def measure(place: int) -> float:
        tried.append(place)
        return 10.0**power * (1 - factor * predicted[place])

    found = smallest_above(
        measure, predicted.__getitem__, 112, before=10.0**power, allowed=10.0**power * allowed
    )
    assert factor * predicted[found] <= allowed * (1 + 1e-9)
    assert found == 0 or factor * predicted[found - 1] > allowed * (1 - 1e-9)
    # The prediction, the correction by the factor, and its neighbour to be sure.
    assert len(tried) <= 4


def test_large_sizes_are_not_looked_at_without_need():
    asked: set[int] = set()

    def predict(place: int) -> float:
        asked.add(place)
        return 1 / (1 + place)

    smallest_above(lambda place: float(place >= 20), predict, 1000, before=1.0, allowed=0.05)
    assert max(asked) < 520


@pytest.mark.parametrize("value", [0.0, math.nan, -math.inf])
def test_nothing_passes(value):
    tried: list[int] = []

    def measure(place: int) -> float:
        tried.append(place)
        return value

    with pytest.raises(NotConvergedError, match=r"floor of 0\.5; required.*larger drop"):
        smallest_above(measure, lambda _: 0.1, 8, before=1.0, allowed=0.5)
    assert max(tried) == 7
    assert len(tried) <= most_evaluations(8)


def test_no_drop_allowed_and_none_there():
    assert smallest_above(lambda _: 0.0, lambda _: 0.0, 30, before=0.0, allowed=0.0) == 0
