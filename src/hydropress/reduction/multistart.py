"""Descent from several starts: the poor ones are given up early, the best goes to the end."""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.reduction.descent import NEWTON_STEPS, Descended, DescentConfig, descend
from hydropress.reduction.double_pole import across_double_pole, across_zero
from hydropress.reduction.iterate import Iterate, stack_iterates
from hydropress.reduction.objective import Objective
from hydropress.systems.moments import Time

FIRST, SURVIVORS = 3, 6
"""Steps of all starts, and how many of them go on."""
SCREENING_STEPS, FINALISTS, CLOSE, SAME = 5, 3, 1.3, 1e-9
"""Eight Newton steps in all tell most basins apart: the best start is finished, and two more if
their merits are within a factor, but not the same to nine digits."""
ROUNDS, CROSSING_STEPS = (10, 12, 14, 16, 16), 8
"""Steps after which systems that have not converged look for a way that the descent cannot take."""


def descend_from_best(
    objective: Objective,
    starts: list[Iterate],
    config: DescentConfig,
    time: Time,
    *,
    finish: bool,
) -> tuple[Descended, Tensor]:
    """Try every start for a few steps, finish the most promising, return the best.

    Parameters
    ----------
    finish
        Without it the most promising is returned as it is.

    Returns
    -------
    found, spread
        The second is the largest minus the smallest relative error over the starts, ``(K,)``.
    """
    systems = torch.arange(objective.num_systems, device=objective.energy.device)
    steps = NEWTON_STEPS if config.max_iterations is None else config.max_iterations
    first, few = min(FIRST, steps), min(SCREENING_STEPS, steps - min(FIRST, steps))
    rows = systems.repeat(len(starts))
    tried = descend(
        objective.select(rows),
        stack_iterates(starts),
        replace(config, max_iterations=first),
        time=time,
    )
    errors = tried.error.reshape(len(starts), -1)
    worst = torch.where(torch.isfinite(errors), errors, 0.0).amax(0)
    if len(starts) > SURVIVORS:
        ranks = tried.merit.reshape(len(starts), -1).argsort(0)
        best = ranks[:SURVIVORS].flatten() * len(systems) + systems.repeat(SURVIVORS)
        tried, rows = tried.select(best), rows[best]
    tried = _continue(objective.select(rows), tried, replace(config, max_iterations=few), time)
    merits = tried.merit.reshape(-1, len(systems))
    ranks = merits.argsort(0)
    found = tried.select(ranks[0] * len(systems) + systems)
    if finish:
        # Contenders of the same merit have arrived at the same optimum.
        ordered = merits.gather(0, ranks)
        distinct = ordered[1:] > ordered[:-1] * (1 + SAME)
        close = torch.cat([torch.isfinite(ordered[:1]), distinct])[:FINALISTS]
        close &= (ordered <= CLOSE * found.merit)[:FINALISTS]
        close[0] = True
        place, system = torch.nonzero(close, as_tuple=True)
        contenders = tried.select(ranks[place, system] * len(systems) + system)
        rest = replace(config, max_iterations=steps - first - few)
        finished = _polish(objective.select(system), contenders, rest, time)
        found = finished.select(systems)
        for later in range(1, len(close)):
            part = torch.nonzero(place == later)[:, 0]
            found = found.improve(system[part], finished.select(part))
    return found, worst.clamp_min(0).sqrt() - found.error.clamp_min(0).sqrt()


def _polish(objective: Objective, found: Descended, config: DescentConfig, time: Time) -> Descended:
    """Descend to the end, and look across double poles and zero where that does not come to one."""
    left = config.max_iterations or 0
    for limit in (*ROUNDS, left):
        steps = min(limit, left)
        left = max(0, left - steps - CROSSING_STEPS)
        open_ = torch.nonzero(found.stationarity > config.tolerance)[:, 0]
        if len(open_) == 0 or steps == 0:
            break
        part = objective.select(open_)
        after = _continue(part, found.select(open_), replace(config, max_iterations=steps), time)
        found = found.put(open_, after)
        if left:
            found = _look_across(objective, found, config, time)
    return found


def _continue(
    objective: Objective, before: Descended, config: DescentConfig, time: Time
) -> Descended:
    after = descend(objective, before.iterate, config, time=time)
    return replace(after, iterations=after.iterations + before.iterations)


def _look_across(
    objective: Objective, found: Descended, config: DescentConfig, time: Time
) -> Descended:
    """Try where the coordinates do not lead, in the systems that have not converged."""
    open_ = torch.nonzero(found.stationarity > config.tolerance)[:, 0]
    if len(open_) == 0:
        return found
    part, iterate = objective.select(open_), found.iterate.select(open_)
    starts: list[Iterate] = []
    rows: list[Tensor] = []
    for across in (across_double_pole, across_zero):
        index, variants = across(part, iterate, config, time)
        starts += variants
        rows += [open_[index]] * len(variants)
    if not starts:
        return found
    where = torch.cat(rows)
    few = replace(config, max_iterations=CROSSING_STEPS)
    tried = descend(objective.select(where), stack_iterates(starts), few, time=time)
    tried = replace(tried, iterations=tried.iterations + found.iterations[where])
    places = torch.arange(len(where), device=where.device).split([len(row) for row in rows])
    for row, place in zip(rows, places, strict=True):
        found = found.improve(row, tried.select(place))
    return found
