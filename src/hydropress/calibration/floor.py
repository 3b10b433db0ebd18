"""The smallest of several sizes at which a metric stays above a floor, with few evaluations."""

import math
from collections.abc import Callable

from hydropress.errors import NotConvergedError

FIRST_SHARE = 1e-3
"""Predicted loss at which the search starts at least, also if next to no drop is allowed."""

SPARE_EVALUATIONS = 2
"""More than bisection needs; with one, the second size could not be chosen freely."""

LARGEST_FACTOR = 16.0
"""How far one evaluation is extrapolated, in predicted loss."""


def most_evaluations(count: int) -> int:
    """Return how often :func:`smallest_above` measures at most, ⌈log₂(n + 1)⌉ + 2 ≤ 3 + log₂ n."""
    return count.bit_length() + SPARE_EVALUATIONS


def smallest_above(
    measure: Callable[[int], float],
    predict: Callable[[int], float],
    count: int,
    *,
    before: float,
    allowed: float,
) -> int:
    """Return the smallest size whose metric is at least ``before - allowed``.

    Parameters
    ----------
    measure
        Returns the metric at a size, a place from 0 to ``count - 1``, ascending in size; taken to
        be below the floor up to some size and above it from there on.
    predict
        Returns the loss predicted for a size, at least 0 and about the share of the metric that
        will be lost.  Called for small sizes first: large ones may take long to predict.
    count
        n, number of sizes.
    before, allowed
        The original's metric, and how far it may fall.

    Raises
    ------
    NotConvergedError
        If no size passes.

    Notes
    -----
    The first size is the one whose predicted loss is the share of the metric that may be lost.
    From one measured drop the next is found in proportion to the predicted loss, from one on each
    side of the floor by the secant of the drop over the logarithm of the predicted loss.  Where
    this would narrow the interval too little, the place is moved towards its middle so far that
    halving from there still ends within ⌈log₂(n + 1)⌉ + 2 evaluations, two more than bisection
    needs: two predictions may be altogether wrong.
    """
    # The answer lies in (fails, passes]; ``count`` says that no size passes.
    fails, passes = -1, count
    drops: dict[int, float] = {}
    left = most_evaluations(count)
    while passes - fails > 1:
        left -= 1
        aim = _aim(fails, passes, drops, predict, before, allowed)
        place = _first_below(aim, fails, passes, predict)
        place = min(max(place, passes - 2**left), fails + 2**left)
        value = measure(place)
        drops[place] = before - value
        if value >= before - allowed:
            passes = place
        else:
            fails = place
    if passes == count:
        raise NotConvergedError(
            "no order up to the full one keeps the metric above its floor of "
            f"{before - allowed:.6g}; required: a floor that the model meets; allow a larger drop"
        )
    return passes


def _first_below(aim: float, fails: int, passes: int, predict: Callable[[int], float]) -> int:
    inside = range(fails + 1, passes)
    return next((place for place in inside if predict(place) <= aim), inside[-1])


def _aim(
    fails: int,
    passes: int,
    drops: dict[int, float],
    predict: Callable[[int], float],
    before: float,
    allowed: float,
) -> float:
    """Return the predicted loss at which the drop is expected to be as large as allowed."""
    below, above = drops.get(fails), drops.get(passes)
    if below is None and above is None:
        return max(FIRST_SHARE, allowed / abs(before)) if before else 0.5
    if below is not None and above is not None:
        ends = predict(fails), predict(passes)
        if math.isfinite(below) and min(ends) > 0:
            share = (allowed - above) / (below - above)
            return ends[1] * (ends[0] / ends[1]) ** share
        return math.sqrt(ends[0] * ends[1])
    place, drop = (fails, below) if below is not None else (passes, above)
    assert drop is not None
    factor = LARGEST_FACTOR if drop <= 0 else allowed / drop
    if not math.isfinite(factor):
        factor = 1 / LARGEST_FACTOR
    return predict(place) * min(max(factor, 1 / LARGEST_FACTOR), LARGEST_FACTOR)
