"""The verb: a trained model in, a smaller model out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.layer_report import LayerReport
from hydropress.calibration.network import NetworkReducer, find_layers
from hydropress.calibration.plan import Plan, check_plan, missing_orders
from hydropress.calibration.planning import (
    global_plan,
    largest_order,
    search_for_budgets,
    tolerance_plan,
    uniform_plan,
)
from hydropress.calibration.targets import (
    Allocation,
    Metric,
    allowed_drop,
    check_order,
    check_target,
    order_of_ratio,
    smallest_passing,
)
from hydropress.errors import InvalidArgumentError
from hydropress.reduction.registry import get_method

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, what)."""

MINIMUM_CALIBRATION = 8


@dataclass(frozen=True)
class Compression:
    """A compressed model and how it came about.

    Attributes
    ----------
    model
        The new model; its reduced layers hold smaller tensors.
    method, calibrated
        What was asked for.
    plan
        The orders of every system; :attr:`order` is their average, rounded.
    ratio
        The share of SSM states kept.
    layers
        One report a layer.
    seconds
        Wall time.
    trials
        With ``max_drop``: average order and metric of every model that was tried.
    """

    model: nn.Module
    method: str
    calibrated: bool
    plan: Plan
    ratio: float
    layers: tuple[LayerReport, ...]
    seconds: float
    trials: tuple[tuple[int, float], ...] = ()

    @property
    def order(self) -> int:
        """States per system, on average, rounded."""
        return round(self.plan.mean_order)

    @property
    def relative_h2_error(self) -> float:
        """Mean relative H² error over all systems of all layers."""
        return float(torch.cat([layer.relative_h2_error.flatten() for layer in self.layers]).mean())

    def to_dict(self) -> dict[str, Any]:
        """Return what a report shows, ready for JSON."""
        data = "calibrated" if self.calibrated else "no data"
        label = f"{self.method}, {data}" if self.method == "h2" else self.method
        size = f"order {self.order}"
        if self.plan.allocation != "uniform":
            size += " on average"
        return {
            "name": f"{label}, {size}",
            "method": self.method,
            "calibrated": self.calibrated,
            "allocation": self.plan.allocation,
            "order": self.order,
            "ratio": self.ratio,
            "seconds": round(self.seconds, 2),
            "relative_h2_error": self.relative_h2_error,
            "layers": [layer.to_dict() for layer in self.layers],
        }


class _Steps:
    """Counts the steps of a run; the total may grow while it lasts."""

    def __init__(self, progress: Progress | None) -> None:
        self.total = self.done = 0
        self._progress = progress

    def __call__(self, what: str) -> None:
        self.done += 1
        self.total = max(self.total, self.done)
        if self._progress:
            self._progress(self.done, self.total, what)


def _check_calibration(calibration: Tensor | None) -> None:
    if calibration is None:
        return
    if calibration.ndim != 3 or len(calibration) < MINIMUM_CALIBRATION:
        raise InvalidArgumentError(
            f"calibration of shape {tuple(calibration.shape)}; required: (n, length, inputs) with "
            f"n at least {MINIMUM_CALIBRATION}; a few dozen sequences suffice"
        )
    if not bool(torch.isfinite(calibration).all()):
        raise InvalidArgumentError("calibration contains NaN or infinity; required: finite data")


def _network(
    model: nn.Module,
    method: str,
    calibration: Tensor | None,
    settings: CalibratedSettings | None,
    steps: _Steps,
) -> NetworkReducer:
    if not find_layers(model):
        raise InvalidArgumentError(
            "the model holds no linear SSM layer; required: at least one hydropress LinearSSM, "
            "such as S4D"
        )
    get_method(method)
    _check_calibration(calibration)
    chosen = CalibratedSettings() if settings is None else settings
    return NetworkReducer(model, method, calibration, chosen, steps)


def compress(
    model: nn.Module,
    *,
    ratio: float | None = None,
    order: int | None = None,
    tolerance: float | None = None,
    max_drop: float | str | None = None,
    method: str = "h2",
    calibration: Tensor | None = None,
    allocation: Allocation | None = None,
    metric: Metric | None = None,
    plan: Plan | None = None,
    settings: CalibratedSettings | None = None,
    progress: Progress | None = None,
) -> Compression:
    """Replace every linear SSM of a model by one of fewer states.

    Exactly one of ``ratio``, ``order``, ``tolerance``, ``max_drop`` and ``plan`` says how far.

    Parameters
    ----------
    model
        Trained; it is not changed.
    ratio, order
        Share of the SSM states to keep, or states per channel on average.
    tolerance
        Relative error that each channel may have, given the smallest order that meets it: with
        data the error of its output over the output's standard deviation, on held-out sequences;
        without, in the H² norm.
    max_drop
        How far ``metric`` may fall below the original's, in its own units (``0.01``), or as a
        share of its value (``"1%"``); the smallest whole average order that stays above is taken.
    method
        Name of a registered reduction method.
    calibration
        Sequences as the model takes them, ``(n, L, inputs)``; no labels.  With ``h2`` they weight
        the error by what each layer receives in the already compressed prefix, feedthrough and
        bias are fitted, and each system's start is selected by its output error on held-out
        sequences.  Every method has the means of its layers' outputs and of the logits matched.
    allocation
        ``uniform`` gives every channel the same order.  ``global`` spends the same total where it
        does most for the network's outputs, as measured on the calibration data; a channel may
        lose all its states but for its feedthrough.  With ``ratio`` and ``order`` the uniform plan
        is carried out too, and the one with the smaller deviation of the outputs on held-out
        sequences is returned.  If not given: global with calibration data, uniform without.
    metric
        For ``max_drop``: called on the original and on about 2 log₂ of the result's order models.
    plan
        Orders of an earlier compression of this model.
    settings
        How layers are fitted to calibration data.
    progress
        Called after each step; with ``tolerance`` and ``max_drop`` the total is an estimate.

    Returns
    -------
    Compression

    Raises
    ------
    InvalidArgumentError
        If the arguments contradict each other or the model holds no linear SSM.
    UnknownNameError
        If no such method is registered.
    NotConvergedError
        If no order keeps the metric above the floor.
    """
    started = time.monotonic()
    check_target(ratio, order, tolerance, max_drop, plan, metric, allocation)
    steps = _Steps(progress)
    network = _network(model, method, calibration, settings, steps)
    layers = len(network.states)
    if allocation is None:
        allocation = "uniform" if calibration is None else "global"
    if plan is not None:
        check_plan(plan, list(network.states.items()))
        steps.total = layers * (len(plan.searches) + 1)
        for search in plan.searches:
            network.search(search)
        network.search(missing_orders(plan))
        chosen = replace(plan, method=method, calibrated=calibration is not None)
        result = _carry_out(network, chosen)
    elif tolerance is not None:
        steps.total = 3 * layers
        result = _carry_out(network, tolerance_plan(network, tolerance, f"tolerance={tolerance}"))
    elif max_drop is not None:
        assert metric is not None
        steps.total = 10 * layers
        result = _keep_metric(network, max_drop, metric, allocation)
    else:
        target = f"order={order}" if ratio is None else f"ratio={ratio}"
        if order is None:
            assert ratio is not None
            every = torch.cat([states.flatten() for states in network.states.values()])
            order = order_of_ratio(ratio, every)
        check_order(order, largest_order(network))
        steps.total = layers * (2 if allocation == "uniform" else 4 - (calibration is None))
        if allocation == "global":
            search_for_budgets(network, (order,))
        result = _spend(network, order, allocation, target)
    return replace(result, seconds=time.monotonic() - started)


def compress_path(
    model: nn.Module,
    orders: Sequence[int],
    *,
    method: str = "h2",
    calibration: Tensor | None = None,
    allocation: Allocation | None = None,
    settings: CalibratedSettings | None = None,
    progress: Progress | None = None,
) -> list[Compression]:
    """Compress a model to several orders; searches and measurements are shared between them.

    Parameters
    ----------
    orders
        States per channel, on average.
    model, method, calibration, allocation, settings, progress
        As in :func:`compress`.

    Returns
    -------
    list of Compression
        One an order, in the order given; ``seconds`` holds an equal share of the common work.
    """
    check_target(None, 1, None, None, None, None, allocation)
    started = time.monotonic()
    steps = _Steps(progress)
    network = _network(model, method, calibration, settings, steps)
    if not orders:
        raise InvalidArgumentError("no orders; required: at least one order")
    for order in orders:
        check_order(order, largest_order(network))
    if allocation is None:
        allocation = "uniform" if calibration is None else "global"
    layers = len(network.states)
    if allocation == "global":
        steps.total = layers * (2 + (1 if calibration is None else 2) * len(orders))
        search_for_budgets(network, tuple(orders))
        network.errors()
    else:
        steps.total = layers * (1 + len(orders))
        network.search(orders)
    shared = (time.monotonic() - started) / len(orders)
    compressions: list[Compression] = []
    for order in orders:
        started = time.monotonic()
        result = _spend(network, order, allocation, f"order={order}")
        compressions.append(replace(result, seconds=shared + time.monotonic() - started))
    return compressions


def _carry_out(network: NetworkReducer, plan: Plan) -> Compression:
    model, reports = network.reduce(plan)
    before = sum(int(report.full.order.sum()) for report in reports)
    after = sum(int(report.reduced.order.sum()) for report in reports)
    calibrated = network.calibration is not None and network.method == "h2"
    return Compression(model, network.method, calibrated, plan, after / before, tuple(reports), 0.0)


def _spend(network: NetworkReducer, order: int, allocation: str, target: str) -> Compression:
    """Reduce to an average order; of a global and a uniform plan take what deviates less."""
    uniform = uniform_plan(network, order, target)
    if allocation == "uniform":
        return _carry_out(network, uniform)
    result = _carry_out(network, global_plan(network, uniform.budget, target))
    if network.calibration is None:
        return result
    other = _carry_out(network, uniform)
    deviations = network.deviation(result.model), network.deviation(other.model)
    best = result if deviations[0] <= deviations[1] else other
    measured = tuple(zip(("global", "uniform"), deviations, strict=True))
    return replace(best, plan=replace(best.plan, deviations=measured))


def _keep_metric(
    network: NetworkReducer, max_drop: float | str, metric: Metric, allocation: str
) -> Compression:
    """Return the smallest model whose metric stays above the floor."""
    before = float(metric(network.original))
    floor = before - allowed_drop(max_drop, before)
    target = f"max_drop={max_drop}"
    tried: dict[int, tuple[Compression, float]] = {}

    def passes(order: int) -> bool:
        if allocation == "global":
            search_for_budgets(network, (order,))
        uniform = uniform_plan(network, order, target)
        chosen = uniform
        if allocation == "global":
            chosen = global_plan(network, uniform.budget, target)
        result = _carry_out(network, chosen)
        tried[order] = result, float(metric(result.model))
        return tried[order][1] >= floor

    order = smallest_passing(passes, largest_order(network))
    trials = tuple((one, value) for one, (_, value) in tried.items())
    return replace(tried[order][0], trials=trials)
