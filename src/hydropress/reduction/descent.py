"""Damped Newton descent on poles, residues and feedthrough, batched, never uphill."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.reduction.compiled.bridge import descend_bank
from hydropress.reduction.compiled.moments import FullBank
from hydropress.reduction.derivatives import (
    derivatives,
    free_unknowns,
    held_by_floor,
    own_blocks,
)
from hydropress.reduction.iterate import Iterate, stack_iterates
from hydropress.reduction.merit import CANCELLATION_LIMIT, merit_of
from hydropress.reduction.objective import ClosedFormObjective, Objective
from hydropress.systems.moments import Time

MAX_LOG_DECAY = 3.5
STEPS, COMPILED_STEPS = 100, 400
"""Steps at most, as tensor operations and compiled."""


@dataclass(frozen=True)
class DescentConfig:
    """How far the descent goes.

    Attributes
    ----------
    max_iterations
        Accepted and refused steps together; if not given, 100 of Newton's, 400 where they are
        compiled, or 500 of the gradient's.
    tolerance
        On the stationarity residual: the largest |cosine| between the residual, scaled by ‖k‖,
        and a direction of change.
    decay_floor
        Smallest decay per sample or time unit that a pole may take.
    energy_penalty
        Weight of Σ mode energies / ‖k‖² beside the squared relative error.
    mode_energy_limit
        Largest energy of a mode over ‖k‖², or over that of the full system's own modes if they
        have more, that a result of ``h2`` may have.  At 10⁴ modes that cancel each other cost two
        digits of single precision.
    """

    max_iterations: int | None = None
    tolerance: float = 1e-10
    decay_floor: float = 1e-12
    energy_penalty: float = 0.0
    mode_energy_limit: float = 1e4


@dataclass(frozen=True)
class Descended:
    """Where the descent ended.

    Attributes
    ----------
    iterate
        The final systems.
    error
        Squared relative error without penalty, shape ``(K,)``.
    merit
        Squared relative error and penalty, what was lowered, shape ``(K,)``.
    stationarity
        Shape ``(K,)``; see :class:`DescentConfig`.
    iterations
        Steps tried, shape ``(K,)``.
    """

    iterate: Iterate
    error: Tensor
    merit: Tensor
    stationarity: Tensor
    iterations: Tensor

    def select(self, index: Tensor) -> "Descended":
        """Return the systems of an index or a mask."""
        return Descended(
            self.iterate.select(index),
            self.error[index],
            self.merit[index],
            self.stationarity[index],
            self.iterations[index],
        )

    def put(self, index: Tensor, other: "Descended") -> "Descended":
        """Return a copy in which the systems at ``index`` are those of ``other``."""
        return Descended(
            self.iterate.scatter(index, other.iterate),
            self.error.index_copy(0, index, other.error),
            self.merit.index_copy(0, index, other.merit),
            self.stationarity.index_copy(0, index, other.stationarity),
            self.iterations.index_copy(0, index, other.iterations),
        )

    def improve(self, index: Tensor, tried: "Descended") -> "Descended":
        """Return a copy in which the systems at ``index`` are those of ``tried`` if better."""
        better = tried.merit < self.merit[index]
        if not bool(better.any()):
            return self
        return self.put(index[better], tried.select(better))


def join_descended(parts: list[Descended]) -> Descended:
    """Concatenate along K."""
    return Descended(
        stack_iterates([part.iterate for part in parts]),
        torch.cat([part.error for part in parts]),
        torch.cat([part.merit for part in parts]),
        torch.cat([part.stationarity for part in parts]),
        torch.cat([part.iterations for part in parts]),
    )


def unmoved(iterate: Iterate) -> Descended:
    """Return iterates that have not been looked at."""
    unknown = torch.full_like(iterate.D, torch.inf)
    steps = torch.zeros_like(iterate.D, dtype=torch.int64)
    return Descended(iterate, unknown, unknown, unknown, steps)


def _solve(
    matrix: Tensor, curvature: Tensor, gradient: Tensor, scale: Tensor, damping: Tensor
) -> Tensor:
    """Return the damped Newton step, or Gauss-Newton where Newton's matrix is indefinite.

    Parameters
    ----------
    matrix, curvature
        Of Gauss-Newton ``(K, p, p)``, and what Newton's has in addition ``(K, m, 4, 4)``.
    gradient
        In scaled unknowns, ``(K, p)``.
    scale
        Of the unknowns, to a unit diagonal of Gauss-Newton's matrix, 0 for idle ones, ``(K, p)``.
    damping
        ``(K,)``.
    """
    both = scale[:, :, None] * scale[:, None, :]
    damped = matrix * both
    damped.diagonal(dim1=1, dim2=2).copy_(1 + damping[:, None])
    newton = damped.clone()
    slots = curvature.shape[1]
    own_blocks(newton, slots).addcmul_(curvature, own_blocks(both, slots))
    factor, info = torch.linalg.cholesky_ex(newton)
    bad = info > 0
    if bool(bad.any()):
        # A floor under the damping: the scaled Gauss-Newton matrix may be singular to rounding.
        damped = damped[bad]
        damped.diagonal(dim1=1, dim2=2).add_(1e-12)
        fallback, failed = torch.linalg.cholesky_ex(damped)
        most = 1e6 * torch.eye(scale.shape[1], dtype=scale.dtype, device=scale.device)
        factor[bad] = torch.where((failed > 0)[:, None, None], most, fallback)
    return torch.cholesky_solve(-gradient[..., None], factor)[..., 0] * scale


def steps_of(objective: Objective, config: DescentConfig) -> int:
    """Return how many steps a descent may take."""
    if config.max_iterations is not None:
        return config.max_iterations
    is_compiled = isinstance(objective, ClosedFormObjective) and objective.bank is not None
    return COMPILED_STEPS if is_compiled else STEPS


def _log_decays(config: DescentConfig, time: Time) -> tuple[float, float]:
    """Return the floor's, and in discrete time that of a pole of e^{-33}, which is none."""
    return math.log(config.decay_floor), MAX_LOG_DECAY if time == "discrete" else math.inf


def within_limits(log_decay: Tensor, states: Tensor, config: DescentConfig, time: Time) -> Tensor:
    """Clamp decays to what the descent allows."""
    return torch.where(states > 0, log_decay.clamp(*_log_decays(config, time)), log_decay)


def moved(iterate: Iterate, step: Tensor, config: DescentConfig, time: Time) -> Iterate:
    """Return the iterate after a change of its unknowns, ``(K, p)``, within the limits.

    The unknowns are those of :func:`~hydropress.reduction.derivatives.free_unknowns`.
    """
    K, m = iterate.states.shape
    parts = step[:, : 4 * m].reshape(K, m, 4)
    # One step never changes a decay by more than e², which keeps the quadratic model honest.
    log_decay = iterate.log_decay + parts[..., 2].clamp(-2, 2)
    return Iterate(
        within_limits(log_decay, iterate.states, config, time),
        iterate.frequency + parts[..., 3],
        iterate.residues + torch.view_as_complex(parts[..., :2].contiguous()),
        iterate.states,
        iterate.D + step[:, -1] if step.shape[1] > 4 * m else iterate.D,
    )


def _descend_compiled(
    bank: FullBank, start: Iterate, config: DescentConfig, time: Time, bars: Tensor | None = None
) -> Descended:
    """Do what tensor operations do, one system after the other."""
    iterate, results = descend_bank(
        bank,
        start,
        price=config.energy_penalty,
        limits=(*_log_decays(config, time), CANCELLATION_LIMIT),
        steps=COMPILED_STEPS if config.max_iterations is None else config.max_iterations,
        tolerance=config.tolerance,
        bars=bars,
    )
    error, merit, stationarity, steps = results.unbind(1)
    return Descended(iterate, error, merit, stationarity, steps.to(torch.int64))


def _legal(start: Iterate, config: DescentConfig, time: Time) -> Iterate:
    log_decay = within_limits(start.log_decay, start.states, config, time)
    return replace(start, log_decay=log_decay).compact()


def descend_below(
    bank: FullBank, start: Iterate, bars: Tensor, config: DescentConfig, *, time: Time
) -> Descended:
    """Minimise as :func:`descend`, and give up what does not promise to end below a bar.

    Parameters
    ----------
    bank
        The systems of a :class:`~hydropress.reduction.objective.ClosedFormObjective`.
    bars
        Merit of the best known reduced system of each full one, shape ``(S,)``.
    """
    return _descend_compiled(bank, _legal(start, config, time), config, time, bars)


def descend(
    objective: Objective, start: Iterate, config: DescentConfig, *, time: Time
) -> Descended:
    """Minimise the squared relative error from a start.

    Newton's matrix from exact second derivatives is used wherever it is positive definite, the
    Gauss-Newton matrix elsewhere, both damped as in Levenberg-Marquardt and scaled by the
    diagonal; a step is taken only if it lowers the merit.  Systems that have converged leave the
    batch.

    Parameters
    ----------
    objective
        K systems.
    start
        K iterates; those beyond the energy limit are returned as they are with infinite error.

    Returns
    -------
    Descended
    """
    price = config.energy_penalty
    start = _legal(start, config, time)
    if isinstance(objective, ClosedFormObjective) and objective.bank is not None:
        return _descend_compiled(objective.bank, start, config, time)
    evaluation = objective.evaluate(start)
    merit = merit_of(objective, start, evaluation, price, time)
    sound = torch.isfinite(merit)
    final = Descended(
        start,
        torch.where(sound, evaluation.error, torch.inf),
        merit,
        torch.full_like(merit, torch.inf),
        torch.zeros(len(merit), dtype=torch.int64, device=merit.device),
    )
    alive = torch.nonzero(sound)[:, 0]
    if len(alive) == 0:
        return final
    current, sub = start, objective
    if len(alive) < len(merit):
        current, sub = start.select(alive), objective.select(alive)
        evaluation, merit = evaluation.select(alive), merit[alive]
    damping = torch.full_like(merit, 1e-3)
    refused, tried = torch.zeros_like(alive), 0

    def ended(index: Tensor, stationarity: Tensor) -> Descended:
        """Note where the systems of an index or a mask have come to."""
        now = Descended(
            current.select(index),
            evaluation.error[index],
            merit[index],
            stationarity[index],
            torch.full_like(alive[index], tried),
        )
        return final.put(alive[index], now)

    limit = steps_of(objective, config)
    while True:
        gradient, matrix, curvature = derivatives(sub, current, evaluation, price, time)
        active = free_unknowns(current, sub.fits_feedthrough)
        by_decay = slice(2, 4 * current.states.shape[1], 4)
        active[:, by_decay] &= ~held_by_floor(current, gradient, config.decay_floor)
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        active &= diagonal > 0
        scale = torch.where(active, diagonal, torch.inf).rsqrt()
        gradient = gradient * scale
        stationarity = gradient.abs().amax(-1)
        done = (stationarity <= config.tolerance) | (refused >= 12)
        if tried == limit:
            return ended(torch.ones_like(done), stationarity)
        if bool(done.any()):
            final = ended(done, stationarity)
            keep = ~done
            if not bool(keep.any()):
                return final
            alive, current, sub = alive[keep], current.select(keep), sub.select(keep)
            evaluation = evaluation.select(keep)
            merit, damping, refused = merit[keep], damping[keep], refused[keep]
            gradient, scale = gradient[keep], scale[keep]
            matrix, curvature = matrix[keep], curvature[keep]
        step = _solve(matrix, curvature, gradient, scale, damping)
        trial = moved(current, step, config, time)
        trial_evaluation = sub.evaluate(trial)
        trial_merit = merit_of(sub, trial, trial_evaluation, price, time)
        better = trial_merit < merit
        if bool(better.all()):
            current, evaluation, merit = trial, trial_evaluation, trial_merit
        elif bool(better.any()):
            current = trial.where(better, current)
            evaluation = trial_evaluation.where(better, evaluation)
            merit = torch.where(better, trial_merit, merit)
        damping = torch.where(better, damping / 8, damping * 6).clamp(1e-14, 1e10)
        refused = torch.where(better, 0, refused + 1)
        tried += 1
