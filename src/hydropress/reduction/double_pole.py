"""Where the descent's coordinates end, and the way across: double poles, and poles at zero.

Next to a double pole a pair and two real poles are neighbours, but no smooth path in (decay,
frequency, residue) leads from one to the other, and a descent that has to get there creeps.  With
s = -d ± √δ the system is a smooth function of δ, a pair for δ < 0 and two real poles for δ > 0, so
a few values of δ on both sides, each with its best residues, show where the optimum lies.

A real pole of discrete time that moves towards a = 0 has to change its sign there, which its decay
-log |a| cannot, and as far as the decay goes it may seem to have arrived: values of a on both sides
are tried in the same way.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.reduction.descent import DescentConfig, descend
from hydropress.reduction.iterate import Iterate, stack_iterates
from hydropress.reduction.objective import Objective
from hydropress.reduction.residues import refit_residues
from hydropress.systems.moments import Time

SEPARATIONS = (-1.0, -0.3, -0.1, -0.03, -0.01, -0.001, 0.001, 0.01, 0.03, 0.1, 0.3, 0.6, 0.85)
"""δ / d² tried."""
NEAR = 1.0
"""Largest |δ| / d² at which two poles count as close to each other."""

POLES_AROUND_ZERO = (0.98, 0.93, 0.85, 0.7, 0.5), (0.25, 0.12, 0.06, 0.03)
"""|a| tried on either side: of slow and of fast ones the best each."""


@dataclass(frozen=True)
class Couple:
    """In each system, the two poles that are closest to meeting on the real axis.

    Attributes
    ----------
    first, second
        Slots, int64, shape ``(K,)``; equal for a pair.
    centre
        d, decay at which they meet, shape ``(K,)``.
    axis
        0 or π, shape ``(K,)``.
    separation
        |δ| / d², infinite where there are no such poles, shape ``(K,)``.
    """

    first: Tensor
    second: Tensor
    centre: Tensor
    axis: Tensor
    separation: Tensor

    def select(self, index: Tensor) -> "Couple":
        """Return those of an index."""
        return Couple(
            self.first[index],
            self.second[index],
            self.centre[index],
            self.axis[index],
            self.separation[index],
        )


def closest_couple(iterate: Iterate, time: Time) -> Couple:
    """Find the pair, or the two real poles of one sign, that are closest to a double pole."""
    decay = iterate.log_decay.exp()
    axis = torch.zeros_like(decay)
    frequency = iterate.frequency.abs()
    if time == "discrete":
        frequency = torch.remainder(frequency, 2 * math.pi)
        frequency = torch.minimum(frequency, 2 * math.pi - frequency)
        axis = math.pi * (frequency > math.pi / 2).to(decay)
        frequency = torch.where(frequency > math.pi / 2, math.pi - frequency, frequency)
    infinite = torch.full_like(decay, torch.inf)
    by_pair = torch.where(iterate.states == 2, (frequency / decay) ** 2, infinite)
    pair_gap, pair = by_pair.min(1)
    real = iterate.states == 1
    middle = (decay[:, :, None] + decay[:, None, :]) / 2
    gap = ((decay[:, :, None] - decay[:, None, :]) / 2 / middle) ** 2
    m = decay.shape[1]
    upper = torch.triu(torch.ones(m, m, dtype=torch.bool, device=decay.device), 1)
    joined = real[:, :, None] & real[:, None, :] & (axis[:, :, None] == axis[:, None, :]) & upper
    real_gap, place = torch.where(joined, gap, torch.inf).flatten(1).min(1)
    first, second = place // m, place % m
    is_pair = pair_gap <= real_gap
    first, second = torch.where(is_pair, pair, first), torch.where(is_pair, pair, second)
    rows = torch.arange(len(decay), device=decay.device)
    return Couple(
        first,
        second,
        (decay[rows, first] + decay[rows, second]) / 2,
        axis[rows, first],
        torch.minimum(pair_gap, real_gap),
    )


def _with_separation(iterate: Iterate, couple: Couple, separation: float) -> Iterate:
    """Put the couple at a separation δ / d², with zero residues."""
    slots = torch.arange(iterate.states.shape[1], device=iterate.states.device)
    taken = (slots == couple.first[:, None]) | (slots == couple.second[:, None])
    rest = replace(
        iterate,
        residues=torch.where(taken, 0.0, iterate.residues),
        states=torch.where(taken, 0, iterate.states),
    )
    root = couple.centre * math.sqrt(abs(separation))
    ones = torch.ones_like(couple.first)[:, None]
    if separation < 0:
        frequency = torch.where(couple.axis > 0, couple.axis - root, root)
        return rest.append(torch.complex(-couple.centre, frequency)[:, None], 2 * ones)
    decays = torch.stack([couple.centre - root, couple.centre + root], 1)
    axis = couple.axis[:, None].expand(-1, 2)
    return rest.append(torch.complex(-decays, axis.contiguous()), ones.expand(-1, 2))


def _best_of(
    objective: Objective, trials: list[Iterate], config: DescentConfig, time: Time
) -> Iterate:
    """Return of each system the trial with the smallest merit, residues refitted."""
    penalty, count = config.energy_penalty, len(trials)
    systems = torch.arange(objective.num_systems, device=objective.energy.device)
    part = objective.select(systems.repeat(count))
    fitted = refit_residues(part, stack_iterates(trials), penalty=penalty, time=time)
    there = descend(part, fitted, replace(config, max_iterations=0), time=time)
    best = there.merit.reshape(count, -1).nan_to_num(torch.inf).argmin(0)
    return fitted.select(best * len(systems) + systems)


def across_double_pole(
    objective: Objective, iterate: Iterate, config: DescentConfig, time: Time
) -> tuple[Tensor, list[Iterate]]:
    """Return the best of several separations on either side of the nearest double pole.

    Returns
    -------
    index, variants
        The systems in which two poles are close, and for each side, pair and two real poles, their
        iterates with the best residues.
    """
    couple = closest_couple(iterate, time)
    index = torch.nonzero(couple.separation < NEAR)[:, 0]
    if len(index) == 0:
        return index, []
    part, base, near = objective.select(index), iterate.select(index), couple.select(index)
    sides = ([x for x in SEPARATIONS if x < 0], [x for x in SEPARATIONS if x > 0])
    return index, [
        _best_of(part, [_with_separation(base, near, x) for x in side], config, time)
        for side in sides
    ]


def across_zero(
    objective: Objective, iterate: Iterate, config: DescentConfig, time: Time
) -> tuple[Tensor, list[Iterate]]:
    """Return the best of several places on either side of zero for the fastest real pole.

    Returns
    -------
    index, variants
        The systems with such a pole, in discrete time, and their iterates for slow and fast poles
        of each sign.
    """
    candidate = iterate.states == 1
    if time == "continuous":
        candidate = torch.zeros_like(candidate)
    index = torch.nonzero(candidate.any(1))[:, 0]
    if len(index) == 0:
        return index, []
    part, base = objective.select(index), iterate.select(index)
    decays = torch.where(candidate[index], base.log_decay, -torch.inf)
    fastest = torch.arange(decays.shape[1], device=index.device) == decays.argmax(1, keepdim=True)

    def placed(pole: float, axis: float) -> Iterate:
        return replace(
            base,
            log_decay=torch.where(fastest, math.log(-math.log(pole)), base.log_decay),
            frequency=torch.where(fastest, axis, base.frequency),
        )

    return index, [
        _best_of(part, [placed(pole, axis) for pole in poles], config, time)
        for poles in POLES_AROUND_ZERO
        for axis in (0.0, math.pi)
    ]
