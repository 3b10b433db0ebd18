"""How long a reduction takes: against pyMOR's IRKA, and as banks and systems grow."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hydropress.bench import rivals
from hydropress.bench.banks import bank, new_layer
from hydropress.bench.cases import has_pymor
from hydropress.bench.config import ReduceConfig
from hydropress.reduction.reduce import reduce, reduce_path
from hydropress.systems.modal import SISOSystem
from hydropress.systems.moments import Time

Step = Callable[[float], None]
PATIENCE = 20.0
"""Seconds after which a timing is not repeated."""
WARM_UP = 4
TIMES: tuple[Time, ...] = "discrete", "continuous"


def time_order(order: int, config: ReduceConfig, step: Step) -> dict[str, Any]:
    """Reduce a large S4D-Lin bank to one order in discrete and in continuous time, and by IRKA.

    pyMOR's IRKA is continuous and takes one system at a time: it gets evenly spaced channels of
    the continuous bank, and its time is scaled to all of them.
    """
    layer = new_layer(config.speed_channels, config.seed)
    banks = {name: bank(layer, name) for name in TIMES}
    result: dict[str, Any] = {"order": order, "channels": config.speed_channels}
    errors: dict[str, list[float]] = {}
    for number, (name, full) in enumerate(banks.items()):
        seconds, reduction = _least(lambda full=full: reduce(full, order), full, config.rounds)
        errors[name] = reduction.relative_error.tolist()
        result[name] = {"seconds": seconds, "median_error": statistics.median(errors[name])}
        step((number + 1) / 3)
    if has_pymor():
        result["irka"] = _time_irka(banks["continuous"], order, errors["continuous"], config, step)
    return result


def _least(run: Callable[[], Any], full: SISOSystem, rounds: int) -> tuple[list[float], Any]:
    """Time a piece of work several times; libraries load and threads start before."""
    reduce(full[:WARM_UP], 2)
    seconds: list[float] = []
    while True:
        began = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - began)
        if len(seconds) >= rounds or sum(seconds) > PATIENCE:
            return seconds, result


def _time_irka(
    full: SISOSystem, order: int, ours: list[float], config: ReduceConfig, step: Step
) -> dict[str, Any]:
    total = len(full.D)
    count = min(config.irka_channels, total)
    channels = np.linspace(0, total - 1, count).round().astype(int).tolist()
    errors: list[float] = []
    seconds, converged = 0.0, 0
    with rivals.quietly(config.seed):
        rivals.run("pymor-irka", rivals.to_model(full[0]), order)
        for number, channel in enumerate(channels):
            found = rivals.run("pymor-irka", rivals.to_model(full[channel]), order)
            seconds += found.seconds
            converged += found.converged
            errors.append(rivals.error_of(full[channel], found.model))
            step((2 + (number + 1) / count) / 3)
    margins = [error / ours[channel] - 1 for error, channel in zip(errors, channels, strict=True)]
    return {
        "channels": count,
        "seconds": seconds,
        "seconds_for_all": seconds * total / count,
        "scaled": count < total,
        "converged": converged,
        "unstable": sum(math.isinf(error) for error in errors),
        "median_error": statistics.median(errors),
        "least_margin": min(margins),
        "worse": sum(margin > 1e-6 for margin in margins),
    }


def time_path(config: ReduceConfig, step: Step) -> dict[str, Any]:
    """Time the whole path 2, 4, …, ``path_order`` in discrete and in continuous time."""
    layer = new_layer(config.speed_channels, config.seed)
    count = min(config.path_channels, config.speed_channels)
    scale = config.speed_channels / count
    result: dict[str, Any] = {
        "orders": list(range(2, config.path_order + 1, 2)),
        "channels": count,
        "all": config.speed_channels,
        "scaled": scale > 1,
    }
    for number, time_of_bank in enumerate(TIMES):
        full = bank(layer, time_of_bank)[:count]
        seconds, _ = _least(lambda full=full: reduce_path(full, config.path_order), full, 1)
        result[time_of_bank] = {"seconds": seconds[0], "seconds_for_all": seconds[0] * scale}
        step((number + 1) / len(TIMES))
    return result


def time_growth(config: ReduceConfig, step: Step) -> dict[str, Any]:
    """Time order 2 on banks of more and more channels, and of larger and larger systems."""
    layer = new_layer(max(config.growth_channels), config.seed)
    largest = bank(layer)
    work = [largest[:count] for count in config.growth_channels]
    work += [
        bank(new_layer(config.growth_bank, config.seed, state_size=size))
        for size in config.growth_states
    ]
    sizes = [len(full.D) * int(full.order.max()) for full in work]
    seconds: list[float] = []
    for number, full in enumerate(work):
        times, _ = _least(lambda full=full: reduce(full, 2), full, max(2, config.rounds))
        seconds.append(min(times))
        step(sum(sizes[: number + 1]) / sum(sizes))
    split = len(config.growth_channels)
    return {
        "channels": _growth(config.growth_channels, seconds[:split]),
        "states": _growth(config.growth_states, seconds[split:]) | {"bank": config.growth_bank},
    }


def _growth(sizes: tuple[int, ...], seconds: list[float]) -> dict[str, Any]:
    """Fit seconds ~ size^p by least squares of the logarithms."""
    slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    return {"sizes": list(sizes), "seconds": seconds, "exponent": float(slope)}
