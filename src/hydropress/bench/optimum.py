"""Order 2 against the exhaustive search."""

import time
from collections.abc import Callable
from typing import Any

import torch

from hydropress.bench.exhaustive import Bank, search
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import SISOSystem

AT_ONCE = 64
"""Channels that are searched together; of 16 each takes twice as long (measured)."""


def search_order_two(full: SISOSystem, step: Callable[[float], None]) -> dict[str, Any]:
    """Reduce a discrete bank to order 2 and search it exhaustively.

    Returns
    -------
    dict
        ``channels``, ``seconds`` of the search and per channel ``h2``, ``best`` (relative errors),
        ``mode_energy`` (largest of a mode over the system's) and ``start`` (kind of the search's).
    """
    reduction = reduce(full, 2)
    best: list[float] = []
    kinds: list[str] = []
    seconds = 0.0
    blocks = torch.arange(len(full.D)).split(AT_ONCE)
    for number, block in enumerate(blocks):
        began = time.perf_counter()
        optima = search(Bank.of(full[block]))
        seconds += time.perf_counter() - began
        for channel in range(len(block)):
            place = optima.best(channel)
            best.append(float(optima.error[place]))
            kinds.append(optima.kind[place])
        step((number + 1) / len(blocks))
    return {
        "channels": len(best),
        "seconds": seconds,
        "h2": reduction.relative_error.tolist(),
        "best": best,
        "mode_energy": reduction.certificate.mode_energy.tolist(),
        "start": kinds,
    }
