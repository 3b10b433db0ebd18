"""Results whose modes do not cancel each other: starts from which fine-tuning can move."""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.reduction.descent import Descended, descend
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.merit import mode_energies
from hydropress.reduction.objective import Objective
from hydropress.reduction.problem import Problem
from hydropress.systems.modal import SISOSystem
from hydropress.systems.moments import Time

PENALTIES = tuple(10.0**power for power in range(-10, -1))
"""Energy penalties tried, the least first, on a result whose modes cancel each other too much."""


STRONG, PRICE = 10.0, 1e-4
"""Energy over ‖k‖² of modes that cancel each other, and the penalty that leads away from it."""


def _largest_mode(objective: Objective, iterate: Iterate, time: Time) -> Tensor:
    return mode_energies(iterate, objective.energy, time, objective.horizon).amax(1)


def around_cancellation(problem: Problem[SISOSystem], found: Descended) -> Descended:
    """Return what a detour finds, where modes cancel each other and it finds something better.

    There the descent creeps into poor optima: at a price on energy it takes another way, from
    whose end the free descent starts again.
    """
    objective, config, time = problem.objective, problem.descent, problem.full.time
    index = torch.nonzero(_largest_mode(objective, found.iterate, time) > STRONG)[:, 0]
    if len(index) == 0 or config.energy_penalty >= PRICE:
        return found
    part, before = objective.select(index), found.select(index)
    priced = replace(config, energy_penalty=PRICE)
    detour = descend(part, before.iterate, priced, time=time)
    after = descend(part, detour.iterate, config, time=time)
    steps = before.iterations + detour.iterations + after.iterations
    return found.improve(index, replace(after, iterations=steps))


def tame(problem: Problem[SISOSystem], found: Descended, order: int) -> Descended:
    """Give up as little error as it takes to bring the energy of every mode below the limit.

    The result is not worse than BT's solution, and where that exceeds the limit it is the limit.
    """
    objective, config, time = problem.objective, problem.descent, problem.full.time
    limit = _largest_mode(objective, Iterate.from_system(problem.full), time)
    limit = limit.clamp_min(config.mode_energy_limit)
    index = torch.nonzero(_largest_mode(objective, found.iterate, time) > limit)[:, 0]
    if len(index) == 0:
        return found
    balanced = Iterate.from_system(problem.balancing.truncate(order))
    limit = torch.maximum(limit, _largest_mode(objective, balanced, time))
    index = index[_largest_mode(objective, found.iterate, time)[index] > limit[index]]
    # Among results within the limit the error alone decides.
    least = replace(config, energy_penalty=0.0, max_iterations=0)
    tamed = descend(objective.select(index), balanced.select(index), least, time=time)
    pending, current = index, found.select(index)
    places = torch.arange(len(index), device=index.device)
    for penalty in PENALTIES:
        if len(pending) == 0:
            break
        part = objective.select(pending)
        settings = replace(config, energy_penalty=max(penalty, config.energy_penalty))
        after = descend(part, current.iterate, settings, time=time)
        current = replace(
            after, iterations=after.iterations + current.iterations, merit=after.error
        )
        within = _largest_mode(part, current.iterate, time) <= limit[pending]
        tamed = tamed.improve(places[within], current.select(within))
        pending, places, current = pending[~within], places[~within], current.select(~within)
    sound = torch.isfinite(tamed.error)
    return found.put(index[sound], tamed.select(sound))
