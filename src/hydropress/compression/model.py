"""The verb: a trained model in, a smaller model out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import nn

from hydropress.calibration.allocation import budget_ladder, order_ladder
from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.floor import smallest_above
from hydropress.calibration.layer_report import LayerReport
from hydropress.calibration.network import NetworkReducer, dtype_of
from hydropress.calibration.plan import Orders, Plan, check_plan, missing_orders
from hydropress.calibration.planning import (
    global_plan,
    ladder_for,
    predicted_loss,
    ranked_plan,
    search_for_budgets,
    tolerance_plan,
    total_states,
    uniform_budget,
    uniform_order,
    uniform_plan,
)
from hydropress.calibration.sequences import Calibration, as_sequences
from hydropress.calibration.targets import (
    Allocation,
    Metric,
    Ratio,
    allowed_drop,
    budget_of_ratio,
    check_order,
    check_target,
    order_of_ratio,
)
from hydropress.compression.result import Compression
from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.registry import find_layers
from hydropress.reduction.registry import get_method, get_scores

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, what)."""


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


def _network(
    model: nn.Module,
    method: str,
    calibration: Calibration | None,
    settings: CalibratedSettings | None,
    steps: _Steps,
) -> NetworkReducer:
    find_layers(model)
    get_method(method)
    sequences = None if calibration is None else as_sequences(calibration, dtype_of(model))
    chosen = CalibratedSettings() if settings is None else settings
    return NetworkReducer(model, method, sequences, chosen, steps)


def compress(
    model: nn.Module,
    *,
    ratio: Ratio | None = None,
    order: int | None = None,
    tolerance: float | None = None,
    max_drop: float | str | None = None,
    method: str = "h2",
    calibration: Calibration | None = None,
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
        Trained; it is not changed.  The two directions of a bidirectional layer are reduced apart:
        each gets poles of its own, also where the original shares one set, which leaves a smaller
        error at the same number of states (``benchmarks/directions.py``).  A layer whose channels
        share their states, as S5 and LRU do, is one system in each direction: what is said of
        channels below is said of it then.
    ratio, order
        Share of the SSM states to keep, or states per channel on average.  A ratio of all states
        that is no whole number of them is rounded down; with ``allocation="uniform"``, to the
        order that comes nearest.
    tolerance
        Relative error that each channel may have, given the smallest order that meets it: without
        data in the H² norm; with data the error of its output over the output's standard
        deviation, on held-out sequences (with methods other than ``h2``, which fit nothing to the
        data but a bias, on all), as measured in the compressed network.  For that, what a
        layer gets there counts: channels that exceed the tolerance on it are given more states.
        Where the layers before have changed a channel's input by more than that, even all its
        states do not help; it keeps those that err least, and ``above_tolerance`` counts it.
    max_drop
        How far ``metric`` may fall below the original's, in its own units (``0.01``), or as a
        share of its value (``"1%"``).  Of the models tried, the one of the fewest states that
        stays above is returned.  Sizes are tried in steps of 2^(1/8) in the total, or with
        ``allocation="uniform"`` by every order up to 16 and in steps of an eighth above.
    method
        Name of a registered reduction method.
    calibration
        Sequences as the model takes them, ``(n, L, inputs)``, or tokens, ``(n, L)``; all of one
        length, no labels; a tensor or a NumPy array.  With ``h2`` they weight
        the error by what each layer receives in the already compressed prefix, the model's dropout
        acting, feedthrough and bias are fitted, and each system's start is selected by its output
        error on held-out sequences.  Every method has the means of its layers' outputs and of the
        logits matched.
    allocation
        ``uniform`` gives every channel the same order.  ``global`` spends the same total where it
        does most for the network's outputs, as measured on the calibration data; a channel may
        lose all its states but for its feedthrough.  With ``ratio`` and ``order`` the uniform plan
        is carried out too, and the one with the smaller deviation of the outputs on held-out
        sequences is returned.  ``last`` and ``aire`` spend it by the rule of their papers instead,
        with data or without: scores normalised within each layer, one ranking of the whole model
        (:mod:`hydropress.reduction.layer_adaptive`), and no uniform plan beside it.  If not given:
        global with calibration data, uniform without.
    metric
        For ``max_drop``: called on the original and, of n sizes, on at most 3 + log₂ n models; the
        first is that whose predicted loss is the drop allowed, see
        :func:`~hydropress.calibration.floor.smallest_above`.
    plan
        Orders of an earlier compression of this model.  With the same model, method, calibration
        sequences and settings the same tensors come out, bit for bit.
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
    ranked = get_scores(method) is not None
    targets_outputs = plan is None and tolerance is None and allocation == "global" and not ranked
    if targets_outputs or max_drop is not None:
        network.check_gradients()
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
        result = _tolerate(network, tolerance)
    elif max_drop is not None:
        assert metric is not None
        steps.total = 10 * layers
        result = _keep_metric(network, max_drop, metric, allocation)
    else:
        target = f"order={order}" if ratio is None else f"ratio={ratio}"
        size = _size_of(network, ratio, order, allocation)
        steps.total = layers * (2 if allocation == "uniform" or ranked else 4)
        if allocation == "global" and not ranked:
            search_for_budgets(network, (max(1, uniform_order(network, size)),))
            steps.total -= layers * (calibration is None)
        result = _spend(network, size, allocation, target)
    return replace(result, seconds=time.monotonic() - started)


def compress_path(
    model: nn.Module,
    orders: Sequence[int],
    *,
    method: str = "h2",
    calibration: Calibration | None = None,
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
        check_order(order, network.largest_order)
    if allocation is None:
        allocation = "uniform" if calibration is None else "global"
    layers = len(network.states)
    if allocation == "global" and get_scores(method) is None:
        network.check_gradients()
        steps.total = layers * (2 + (1 if calibration is None else 2) * len(orders))
        search_for_budgets(network, tuple(orders))
        network.errors()
    elif allocation == "uniform":
        steps.total = layers * (1 + len(orders))
        network.search(orders)
    shared = (time.monotonic() - started) / len(orders)
    compressions: list[Compression] = []
    for order in orders:
        started = time.monotonic()
        size = _size_of(network, None, order, allocation)
        result = _spend(network, size, allocation, f"order={order}")
        compressions.append(replace(result, seconds=shared + time.monotonic() - started))
    return compressions


def _size_of(
    network: NetworkReducer, ratio: Ratio | None, order: int | None, allocation: str
) -> int:
    """Return what an allocation counts in: the order of all systems, or the states of all."""
    if order is not None:
        check_order(order, network.largest_order)
        return order if allocation == "uniform" else uniform_budget(network, order)
    assert ratio is not None
    if allocation == "global":
        return budget_of_ratio(ratio, total_states(network))
    return order_of_ratio(ratio, torch.cat([one.flatten() for one in network.states.values()]))


def _carry_out(network: NetworkReducer, plan: Plan) -> Compression:
    model, reports = network.reduce(plan)
    return _compression(network, plan, model, reports)


def _compression(
    network: NetworkReducer, plan: Plan, model: nn.Module, reports: list[LayerReport]
) -> Compression:
    before = sum(int(report.full.order.sum()) for report in reports)
    after = sum(int(report.reduced.order.sum()) for report in reports)
    calibrated = network.calibration is not None and network.method == "h2"
    return Compression(model, network.method, calibrated, plan, after / before, tuple(reports), 0.0)


def _tolerate(network: NetworkReducer, tolerance: float) -> Compression:
    """Reduce every system as far as its error is tolerated."""
    first = tolerance_plan(network, tolerance, f"tolerance={tolerance}")
    model, reports, plan = network.reduce_within(first, tolerance)
    # Searches that were made on the way count too: with them the plan can be carried out again.
    plan = replace(plan, searches=tuple(network.searches))
    above = {
        report.name: int((report.output_error > tolerance).sum())
        for report in reports
        if report.output_error is not None
    }
    result = _compression(network, plan, model, reports)
    return replace(
        result, above_tolerance={name: number for name, number in above.items() if number}
    )


def _spend(
    network: NetworkReducer,
    size: int,
    allocation: str,
    target: str,
    orders: tuple[int, ...] | None = None,
    uniforms: dict[int, Compression] | None = None,
) -> Compression:
    """Reduce to a size; of a global and a uniform plan take what deviates less.

    Parameters
    ----------
    size
        See :func:`_size_of`.
    orders
        On offer to global plans; all that were searched if not given.
    uniforms
        Uniform reductions by order, shared by calls for several sizes.
    """
    known = {} if uniforms is None else uniforms

    def uniform(order: int) -> Compression:
        if order not in known:
            known[order] = _carry_out(network, uniform_plan(network, order, target))
        return known[order]

    if allocation == "uniform":
        return uniform(size)
    if get_scores(network.method) is not None:
        plan = ranked_plan(network, size, target)
        network.search(missing_orders(plan))
        return _carry_out(network, replace(plan, searches=tuple(network.searches)))
    result = _carry_out(network, global_plan(network, size, target, orders))
    # Less than one state each cannot be spent uniformly.
    equal = uniform_order(network, size)
    if orders is not None:
        equal = max((order for order in orders if order <= equal), default=0)
    if network.calibration is None or equal == 0:
        return result
    other = uniform(equal)
    deviations = network.deviation(result.model), network.deviation(other.model)
    best = result if deviations[0] <= deviations[1] else other
    measured = tuple(zip(("global", "uniform"), deviations, strict=True))
    return replace(best, plan=replace(best.plan, deviations=measured))


def _keep_metric(
    network: NetworkReducer, max_drop: float | str, metric: Metric, allocation: str
) -> Compression:
    """Return the smallest model tried whose metric stays above the floor."""
    before = float(metric(network.original))
    allowed = allowed_drop(max_drop, before)
    target = f"max_drop={max_drop}"
    uniform = allocation == "uniform"
    sizes = order_ladder(network.largest_order) if uniform else budget_ladder(total_states(network))
    systems = sum(states.numel() for states in network.states.values())
    uniforms: dict[int, Compression] = {}
    results: dict[tuple[Orders, ...], tuple[Compression, float]] = {}

    def orders(place: int) -> tuple[int, ...]:
        size = sizes[place]
        if uniform:
            return network.search_up_to(size)
        return ladder_for(network, -(-size // systems))

    @cache
    def predict(place: int) -> float:
        size, ladder = sizes[place], orders(place)
        if uniform:
            plan = uniform_plan(network, size, target)
        elif get_scores(network.method) is not None:
            plan = ranked_plan(network, size, target)
        else:
            plan = global_plan(network, size, target, ladder)
        return predicted_loss(network, plan, ladder)

    def measure(place: int) -> float:
        result = _spend(network, sizes[place], allocation, target, orders(place), uniforms)
        tried = tuple(layer.orders for layer in result.plan.layers)
        if tried not in results:
            results[tried] = result, float(metric(result.model))
        return results[tried][1]

    smallest_above(measure, predict, len(sizes), before=before, allowed=allowed)
    trials = tuple((result.plan.budget, value) for result, value in results.values())
    passing = [result for result, value in results.values() if value >= before - allowed]
    return replace(min(passing, key=lambda result: result.plan.budget), trials=trials)
