"""How far a model is to be compressed: the ways to say it, and the search for a metric's floor."""

import math
from collections.abc import Callable
from fractions import Fraction
from numbers import Integral
from typing import Literal, cast

import torch
from torch import Tensor, nn

from hydropress.calibration.plan import Plan
from hydropress.errors import InvalidArgumentError

Allocation = Literal["global", "uniform"]
Ratio = float | Fraction
Metric = Callable[[nn.Module], float]
"""How good a model is, for example its accuracy on validation data; more is better."""


def check_order(order: int, largest: int) -> None:
    """Raise :class:`InvalidArgumentError` unless systems can be reduced to an order."""
    if not isinstance(order, Integral) or not 1 <= order <= largest:
        raise InvalidArgumentError(
            f"order={order!r}; required: a whole number from 1 to {largest}, the largest order in "
            "the model"
        )


def _check_ratio(ratio: Ratio) -> None:
    if isinstance(ratio, str) or not 0 < ratio <= 1:
        raise InvalidArgumentError(
            f"ratio={ratio!r}; required: above 0 and at most 1, the share of states to keep; "
            "0.25 keeps a quarter"
        )


def budget_of_ratio(ratio: Ratio, total: int) -> int:
    """Return the states that a share of all states is, rounded down.

    A product that is a whole number but for rounding errors, as of 1/3 or 0.29, is that number.

    Parameters
    ----------
    total
        States of all systems together.

    Raises
    ------
    InvalidArgumentError
        If it is less than one state.
    """
    _check_ratio(ratio)
    wanted = ratio * total
    nearest = round(wanted)
    budget = nearest if abs(wanted - nearest) <= 1e-12 * total else math.floor(wanted)
    if budget < 1:
        raise InvalidArgumentError(
            f"ratio={ratio} of {total:,} states is less than one state; required: at least "
            f"{1 / max(1, total):.4g}"
        )
    return budget


def order_of_ratio(ratio: Ratio, states: Tensor) -> int:
    """Return the order that, given to all systems, keeps about a share of their states.

    Parameters
    ----------
    states
        Of each system, int64; those that have fewer than the order keep them.

    Raises
    ------
    InvalidArgumentError
        If it is less than half a state each.
    """
    _check_ratio(ratio)
    orders = range(1, int(states.max()) + 1)
    totals = torch.stack([states.clamp_max(order).sum() for order in orders])
    wanted = float(ratio) * int(totals[-1])
    if wanted < int(totals[0]) / 2:
        raise InvalidArgumentError(
            f"ratio={ratio} of {int(totals[-1]):,} states is less than one a channel; required: "
            f"at least {int(totals[0]) / int(totals[-1]):.4g}, or allocation='global', with which "
            "channels may lose all their states"
        )
    return orders[int((totals - wanted).abs().argmin())]


def allowed_drop(max_drop: float | str, before: float) -> float:
    """Return a drop in the metric's own units; ``"1%"`` is a share of its value before."""
    text = str(max_drop)
    try:
        drop = float(text.removesuffix("%"))
    except ValueError:
        drop = math.nan
    if not (drop >= 0 and math.isfinite(drop)):
        raise InvalidArgumentError(
            f"max_drop={max_drop!r}; required: a number of at least 0 in the units of the metric, "
            "or a share of the original's value such as '1%'"
        )
    return drop / 100 * abs(before) if text.endswith("%") else drop


def check_target(
    ratio: Ratio | None,
    order: int | None,
    tolerance: float | None,
    max_drop: float | str | None,
    plan: Plan | None,
    metric: Metric | None,
    allocation: str | None,
) -> None:
    """Raise :class:`InvalidArgumentError` unless these arguments of ``compress`` agree."""
    targets = {
        "ratio": ratio,
        "order": order,
        "tolerance": tolerance,
        "max_drop": max_drop,
        "plan": plan,
    }
    given = [name for name, value in targets.items() if value is not None]
    if len(given) != 1:
        raise InvalidArgumentError(
            f"{' and '.join(given) or 'no target'} given; required: exactly one of "
            f"{', '.join(targets)}; ratio is the share of SSM states to keep, order the average "
            "states per channel"
        )
    if (metric is None) != (max_drop is None):
        raise InvalidArgumentError(
            f"max_drop={max_drop!r} {'without' if metric is None else 'with'} a metric; required: "
            "both or neither; metric(model) returns a number of which more is better"
        )
    if max_drop is not None:
        allowed_drop(max_drop, 1.0)
    if plan is not None and not isinstance(cast(object, plan), Plan):
        raise InvalidArgumentError(
            f"plan={plan!r}; required: a Plan, as an earlier compression has it; read a file with "
            "Plan.load"
        )
    if tolerance is not None and (isinstance(tolerance, str) or not tolerance > 0):
        raise InvalidArgumentError(
            f"tolerance={tolerance!r}; required: a number above 0, the relative error that a "
            "channel may have"
        )
    if allocation not in (None, "global", "uniform"):
        raise InvalidArgumentError(
            f"allocation={allocation!r}; required: 'global', 'uniform' or None, which is global "
            "with calibration data and uniform without"
        )
    if allocation is not None and (tolerance is not None or plan is not None):
        raise InvalidArgumentError(
            f"allocation={allocation!r} with {given[0]}; required: ratio, order or max_drop, since "
            f"{given[0]} gives every channel its order; leave allocation out"
        )
