"""Descent from several starts: the poor ones are given up early, the best go to the end."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.reduction.descent import (
    Descended,
    DescentConfig,
    descend,
    descend_below,
    join_descended,
    steps_of,
    unmoved,
)
from hydropress.reduction.double_pole import across_double_pole, across_zero
from hydropress.reduction.iterate import Iterate, stack_iterates
from hydropress.reduction.objective import ClosedFormObjective, Objective
from hydropress.systems.moments import Time

FIRST, SECOND = 3, 5
"""Steps of all starts, and further ones of those that look promising after them."""
MIDDLE = 8
"""Largest order up to which as many contenders as random restarts call for are grown from."""
SAME = 1e-9
"""Starts of the same merit to nine digits have arrived at the same optimum."""
ROUNDS, CROSSING_STEPS, NEAR = (10, 12, 14, 16, 16), 8, 1.1
"""Steps after which systems that have not converged look for a way that the descent cannot take;
and the largest merit, over the present one, of a way that is followed."""


@dataclass(frozen=True)
class Width:
    """How many starts there are at an order, and how many of them go on.

    Attributes
    ----------
    pairs, couples
        Candidates added to each contender of the order below: pairs and couples of real poles.
    promising, most_promising
        How much larger, an order, the merit may be than that of a system's best after the first
        steps, and how many go on.
    close, most_close
        Largest merit over that of the best, and number of those that the next order grows from.
    sure
        As ``promising``, of those that are finished.
    pursued
        Starts by randomised pursuit.
    exchanged
        Contenders whose modes are exchanged one by one.
    """

    pairs: int
    couples: int
    promising: float = 0.025
    most_promising: int = 8
    close: float = 1.1
    most_close: int = 3
    sure: float = 0.01
    pursued: int = 0
    exchanged: int = 0


def width_of(order: int, wanted: list[int]) -> Width:
    """Return the width at an order on the way to those wanted, where steps are compiled.

    What random restarts find beyond that is printed by ``hydropress bench reduce``.
    """
    if order <= 2:
        return Width(4, 4, 0.04, 16, 1.2, 8)
    width = Width(6, 3, 0.05, 24, 1.2, 8) if order <= MIDDLE else Width(3, 1)
    if {order, order + 1}.isdisjoint(wanted):
        return width
    return replace(width, pursued=min(64, 512 // order), exchanged=2)


def width_of_tensors(order: int, wanted: list[int]) -> Width:
    """Return the width where every step is tensor operations.

    The first pair decides the most and costs the least.  Where order 4 is wanted, it gets twice
    the time that it takes on the way to higher ones.
    """
    if order <= 4 and not {3, 4}.isdisjoint(wanted):
        pairs, couples = (4, 4) if order <= 2 else (5, 3)
        return Width(pairs, couples, 0.04, 16, 1.2, 8)
    return Width(4, 2) if order <= 2 else Width(3, 1)


def narrow_width(order: int, wanted: list[int]) -> Width:
    """Return the width for metrics in which every start costs much: one contender is grown from."""
    return Width(4, 2, most_close=1) if order <= 2 else Width(2, 1, most_close=1)


@dataclass(frozen=True)
class Contenders:
    """Reduced systems on their way down, one or more for each full system.

    Attributes
    ----------
    systems
        Index of the full system of each row, int64, shape ``(R,)``.
    found
        R reduced systems.
    """

    systems: Tensor
    found: Descended

    @staticmethod
    def of(systems: Tensor, starts: Iterate) -> "Contenders":
        """Return starts that have not been looked at."""
        return Contenders(systems, unmoved(starts))

    def join(self, *others: "Contenders") -> "Contenders":
        """Append other contenders."""
        return Contenders(
            torch.cat([self.systems, *(other.systems for other in others)]),
            join_descended([self.found, *(other.found for other in others)]),
        )

    def select(self, index: Tensor) -> "Contenders":
        """Return the rows of an index or a mask."""
        return Contenders(self.systems[index], self.found.select(index))

    def leaders(self, factor: float, most: int) -> "Contenders":
        """Return the best rows of each system, sorted by system and merit.

        Parameters
        ----------
        factor
            Largest merit over that of the system's best.
        most
            Largest number; of rows with the same merit one counts.
        """
        merit = self.found.merit
        order = merit.argsort()
        order = order[self.systems[order].argsort(stable=True)]
        systems, merit = self.systems[order], merit[order]
        first = torch.ones_like(systems, dtype=torch.bool)
        first[1:] = systems[1:] != systems[:-1]
        place = torch.cumsum(first, 0) - 1
        distinct = first.clone()
        distinct[1:] |= merit[1:] > merit[:-1] * (1 + SAME)
        distinct &= first | (merit <= factor * merit[first][place])
        rank = torch.cumsum(distinct, 0)
        rank = rank - rank[first][place]
        return self.select(order[distinct & (rank < most)])

    def descend(
        self, objective: Objective, steps: int, config: DescentConfig, time: Time
    ) -> "Contenders":
        """Take so many steps more."""
        settings = replace(config, max_iterations=steps)
        after = descend(objective.select(self.systems), self.found.iterate, settings, time=time)
        return self._after(after)

    def challenge(
        self,
        others: "Contenders",
        objective: ClosedFormObjective,
        steps: int,
        config: DescentConfig,
        time: Time,
    ) -> "Contenders":
        """Take so many steps, and give up what does not promise to beat the best of others."""
        part, settings = objective.select(self.systems), replace(config, max_iterations=steps)
        assert part.bank is not None
        bars = torch.full_like(objective.weights[:, 0].real, torch.inf)
        rows = objective.rows[others.systems]
        bars = bars.scatter_reduce(0, rows, others.found.merit, "amin")
        return self._after(descend_below(part.bank, self.found.iterate, bars, settings, time=time))

    def _after(self, found: Descended) -> "Contenders":
        """Return what was found from here, the steps before it counted."""
        found = replace(found, iterations=found.iterations + self.found.iterations)
        return Contenders(self.systems, found)


def screen(
    objective: Objective,
    proposals: Contenders,
    order: int,
    width: Width,
    config: DescentConfig,
    time: Time,
) -> tuple[Contenders, Tensor]:
    """Try every start for a few steps.

    Parameters
    ----------
    proposals
        At least one start for each system.

    Returns
    -------
    contenders, worst
        The most promising, best first; and the largest relative error, ``(K,)``, seen early.
    """
    steps = steps_of(objective, config)
    first, second = min(FIRST, steps), min(SECOND, steps - min(FIRST, steps))
    tried = proposals.descend(objective, first, config, time)
    systems, error = tried.systems, tried.found.error
    error = torch.where(torch.isfinite(error), error, 0.0).clamp_min(0)
    worst = torch.zeros_like(objective.energy).scatter_reduce(0, systems, error, "amax").sqrt()
    tried = tried.leaders(1 + width.promising * order, width.most_promising)
    tried = tried.descend(objective, second, config, time)
    return tried.leaders(width.close, width.most_close), worst


def finish(
    objective: Objective,
    contenders: Contenders,
    order: int,
    width: Width,
    config: DescentConfig,
    time: Time,
) -> Descended:
    """Descend to the end, and look across double poles and zero where that does not come to one.

    Returns
    -------
    Descended
        The best of each system.
    """
    steps = steps_of(objective, config)
    left = steps - FIRST - SECOND
    contenders = contenders.leaders(1 + width.sure * order, width.most_close)
    for number, limit in enumerate((*ROUNDS, left)):
        now = max(0, min(limit, left))
        left -= now + CROSSING_STEPS
        found = contenders.found
        open_ = torch.nonzero(found.stationarity > config.tolerance)[:, 0]
        if now == 0 or (number > 0 and len(open_) == 0):
            break
        after = contenders.select(open_).descend(objective, now, config, time)
        found = found.put(open_, after.found)
        if left > 0:
            moved = torch.arange(len(found.error), device=open_.device) if number == 0 else open_
            found = _look_across(objective.select(contenders.systems), found, moved, config, time)
        contenders = Contenders(contenders.systems, found).leaders(
            1 + width.sure * order / 2, width.most_close
        )
    return contenders.leaders(1.0, 1).found


def _look_across(
    objective: Objective, found: Descended, moved: Tensor, config: DescentConfig, time: Time
) -> Descended:
    """Try where the coordinates do not lead.

    Parameters
    ----------
    moved
        Index of the systems that have moved since the last look.
    """
    open_ = torch.nonzero(found.stationarity > config.tolerance)[:, 0]
    starts: list[Iterate] = []
    rows: list[Tensor] = []
    # Beyond zero it may go on from where the coordinates come to an end.
    for across, among in ((across_double_pole, open_), (across_zero, moved)):
        if len(among):
            part, iterate = objective.select(among), found.iterate.select(among)
            index, variants = across(part, iterate, config, time)
            starts += variants
            rows += [among[index]] * len(variants)
    if not starts:
        return found
    systems = torch.cat(rows)
    unmoved = replace(config, max_iterations=0)
    there = descend(objective.select(systems), stack_iterates(starts), unmoved, time=time)
    near = there.merit <= NEAR * found.merit[systems]
    tried = Contenders(systems[near], there.select(near))
    tried = tried.descend(objective, CROSSING_STEPS, config, time).leaders(1.0, 1)
    after = tried.found
    after = replace(after, iterations=after.iterations + found.iterations[tried.systems])
    return found.improve(tried.systems, after)
