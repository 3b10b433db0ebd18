"""Random restarts of the descent, to see whether any of them finds a better optimum.

Starts are drawn around the poles of the full system, since that is where reduced poles end: modes
picked at random (by energy in every other start, else all alike), each moved in frequency by about
its new decay, and more damped than it was, since one reduced mode stands for several; in every
fourth start two real poles take the place of the last pair.  Residues are the best for those poles.
How many of the starts end at the best optimum known is recorded: starts that never do would prove
nothing.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hydropress.reduction.descent import DescentConfig, descend
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.merit import mode_energies
from hydropress.reduction.problem import Problem
from hydropress.reduction.reduce import reduce
from hydropress.reduction.residues import refit_residues
from hydropress.systems.modal import SISOSystem
from hydropress.systems.norms import relative_h2_error

LOG_DAMPING = -0.5, 3.0
"""Log decay of a start beyond that of the mode it was drawn from, uniform."""
IMPROVEMENT, SAME = 1e-3, 1e-6
"""Relative to the error of ``h2``: what counts as better, and as the same optimum."""
AT_ONCE = 16
"""Channels whose starts descend together: some hundred MB."""


def random_starts(
    full: SISOSystem, order: int, count: int, energies: Tensor, generator: torch.Generator
) -> Iterate:
    """Draw starts for K systems, residues zero.

    Parameters
    ----------
    full
        Batch shape ``(K,)``.
    order
        Even.
    count
        Starts for each system.
    energies
        Of the full system's modes, shape ``(K, n)``, zero for empty entries.

    Returns
    -------
    Iterate
        K ``count`` systems of ``order / 2 + 1`` slots; those of one system are neighbours.
    """
    pairs, total = order // 2, len(full.D) * count
    number = torch.arange(total) % count
    rows = torch.arange(total) // count
    used = (full.states > 0).to(torch.float64)
    weights = torch.where((number % 2 == 0)[:, None], energies[rows] + 1e-12 * used[rows], 0)
    weights = torch.where((number % 2 == 1)[:, None], used[rows], weights)
    chosen = torch.multinomial(weights, pairs, generator=generator)

    def uniform(low: float, high: float) -> Tensor:
        draw = torch.rand(total, pairs, dtype=torch.float64, generator=generator)
        return low + (high - low) * draw

    noise = torch.randn(total, pairs, dtype=torch.float64, generator=generator)
    exponents = full.exponents[rows].gather(1, chosen)
    log_decay = torch.log(-exponents.real) + uniform(*LOG_DAMPING)
    frequency = exponents.imag + noise * log_decay.exp()
    states = torch.full_like(chosen, 2)
    empty = torch.zeros(total, 1, dtype=torch.float64)
    start = Iterate(
        torch.cat([log_decay, empty], 1),
        torch.cat([frequency, empty], 1),
        torch.zeros(total, pairs + 1, dtype=torch.complex128),
        torch.cat([states, empty.to(states)], 1),
        torch.zeros(total, dtype=torch.float64),
    )
    return _with_real_poles(start, number % 4 == 3, uniform(-1.5, 1.5), full.time, generator)


def _with_real_poles(
    start: Iterate, chosen: Tensor, apart: Tensor, time: str, generator: torch.Generator
) -> Iterate:
    """Replace the last pair of the chosen starts by two real poles around its decay."""
    log_decay, states, frequency = (
        values.clone() for values in (start.log_decay, start.states, start.frequency)
    )
    column = chosen[:, None]
    both = torch.stack([log_decay[:, -2] - apart[:, -1], log_decay[:, -2] + apart[:, -1]], 1)
    # In discrete time one in four alternates in sign.
    at_pi = torch.rand(len(both), 2, generator=generator) < (0.25 if time == "discrete" else 0)
    log_decay[:, -2:] = torch.where(column, both, log_decay[:, -2:])
    frequency[:, -2:] = torch.where(
        column, torch.where(at_pi, math.pi, 0.0).to(frequency), frequency[:, -2:]
    )
    states[:, -2:] = torch.where(column, 1, states[:, -2:])
    return replace(start, log_decay=log_decay, frequency=frequency, states=states)


def try_restarts(
    full: SISOSystem, order: int, count: int, seed: int, step: Callable[[float], None]
) -> dict[str, Any]:
    """Compare ``h2`` with the best of so many random starts, channel by channel.

    Returns
    -------
    dict
        ``order``, ``starts``, ``channels``, ``seconds`` and per channel ``h2`` (relative error),
        ``best`` (of the starts whose modes stay below the energy limit that ``h2`` keeps; None if
        no start does) and ``hits`` (starts within 1e-6 of the better of the two).
    """
    generator = torch.Generator().manual_seed(seed)
    began = time.perf_counter()
    lists: dict[str, list[float]] = {name: [] for name in ("h2", "best", "hits")}
    blocks = torch.arange(len(full.D)).split(AT_ONCE)
    for number, block in enumerate(blocks):
        for name, values in _try_block(full[block], order, count, generator).items():
            lists[name] += values.tolist()
        step((number + 1) / len(blocks))
    return {
        "order": order,
        "starts": count,
        "channels": len(full.D),
        "seconds": time.perf_counter() - began,
        **lists,
    }


def _try_block(
    full: SISOSystem, order: int, count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    problem = Problem(full, (order,))
    config = DescentConfig()
    own = mode_energies(Iterate.from_system(full), problem.energy, full.time)
    own = torch.where(full.states > 0, own, 0.0)
    limit = own.amax(-1).clamp_min(config.mode_energy_limit)
    rows = torch.arange(len(full.D)).repeat_interleave(count)
    objective = problem.objective.select(rows)
    drawn = random_starts(full, order, count, own, generator)
    start = refit_residues(objective, drawn, penalty=0.0, time=full.time)
    found = descend(objective, start, config, time=full.time)
    largest = mode_energies(found.iterate, problem.energy[rows], full.time)
    errors = found.error.clamp_min(0).sqrt().nan_to_num(torch.inf).reshape(-1, count)
    tame = errors.masked_fill(largest.amax(-1).reshape(-1, count) > limit[:, None], torch.inf)
    h2 = reduce(full, order).relative_error
    best = _checked(full, found.iterate, tame)
    hits = (tame <= torch.minimum(h2, best)[:, None] * (1 + SAME)).sum(1)
    return {"h2": h2, "best": best, "hits": hits}


def _checked(full: SISOSystem, iterate: Iterate, errors: Tensor) -> Tensor:
    """Return the error of each system's best start as the norm of the difference."""
    place = errors.argmin(1) + torch.arange(len(errors)) * errors.shape[1]
    system = iterate.select(place).to_system(full.D, full.time)
    return torch.where(errors.amin(1) < torch.inf, relative_h2_error(full, system), torch.inf)
