"""IRKA: the tangential fixed point, iterated from BT's solution."""

from typing import cast

import torch
from torch import Tensor

from hydropress.reduction.fixed_point import FullModes, ReducedModes, project
from hydropress.reduction.free_feedthrough import with_best_feedthrough
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome
from hydropress.systems.modal import ModalSystem
from hydropress.systems.moments import wrap_phase

ITERATIONS, TOLERANCE = 100, 1e-10
"""Projections at most, and the relative change of the poles at which the iteration has ended."""


def iterate_fixed_point(
    full: FullModes, start: ReducedModes, iterations: int, tolerance: float = TOLERANCE
) -> tuple[ReducedModes, Tensor]:
    """Project until the poles stand still.

    Returns
    -------
    reduced, iterations
        The last iterates, and how many projections each system took, int64, shape ``(K,)``.
        A system whose projection does not exist keeps the iterate before.
    """
    current = start
    count = torch.zeros(len(start.exponents), dtype=torch.int64, device=start.exponents.device)
    alive, part = torch.arange(len(count), device=count.device), full
    for _ in range(iterations):
        if len(alive) == 0:
            break
        before = current.select(alive)
        after, sound = project(part, before)
        index = alive[sound]
        current = current.put(index, after.select(sound))
        count[index] += 1
        moved = _distance(before.exponents, after.exponents, full.time) > tolerance
        going = sound & moved
        if not bool(going.all()):
            alive, part = alive[going], part.select(going)
    return current, count


def _distance(first: Tensor, second: Tensor, time: str) -> Tensor:
    """Return how far each pole's nearest neighbour is, over its decay, at most: ``(K,)``."""
    gaps = first[:, :, None] - second[:, None, :]
    if time == "discrete":
        gaps = wrap_phase(gaps)
    nearest = gaps.abs().amin(2) / first.real.abs()
    return nearest.amax(1) if nearest.shape[1] else nearest.new_zeros(len(nearest))


def has_fixed_point(full: ModalSystem, horizon: float | None) -> bool:
    """Return whether the equations of a bank have a solution: every mode decays, or time ends."""
    return horizon is not None or bool((full.decay > 0).all())


def irka_solutions(
    full: S,
    order: int,
    start: ModalSystem,
    iterations: int = ITERATIONS,
    *,
    horizon: float | None = None,
) -> tuple[S, Tensor]:
    """Return IRKA's systems of an order from a bank of starts, and the iterations of each."""
    modes = FullModes.of(full, horizon)
    reduced, count = iterate_fixed_point(modes, ReducedModes.of(start, order), iterations)
    return cast(S, reduced.to_system(full)), count


def irka_method(problem: Problem[S]) -> list[Outcome[S]]:
    """Run IRKA from BT's solution; a weight does not enter, a free D is the best for it.

    References
    ----------
    [gugercin2008irka], algorithm 4.1 (continuous time), [bunse2010] (discrete time), both in the
    form of [xu2011], which projects onto the solutions of two Sylvester equations.  Deviations:
    starts from BT instead of an arbitrary choice, and poles that come out unstable are mirrored.
    Like the original it may not converge, and what it converges to may be a saddle point.  On a
    finite horizon the equations are those of [goyal2019], whose fixed points fulfil the optimality
    conditions only up to what is left at the horizon.
    """
    outcomes: list[Outcome[S]] = []
    for order in problem.orders:
        start = problem.balancing.truncate(order)
        system, count = irka_solutions(problem.full, order, start, horizon=problem.horizon)
        system = with_best_feedthrough(problem, system)
        outcomes.append(Outcome(system, count, torch.zeros_like(count, dtype=torch.float64)))
    return outcomes
