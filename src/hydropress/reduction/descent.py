"""Damped Newton descent on poles, residues and feedthrough, batched, never uphill."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.reduction.iterate import Iterate
from hydropress.reduction.objective import Evaluation, Objective
from hydropress.systems.moments import Time, exponential_moments

CANCELLATION_LIMIT = 1e6
"""Steps to modes of more than this multiple of the system's energy are refused.  Such modes only
cancel each other; the error, a difference of their energies, keeps ten digits at this limit."""

MAX_LOG_DECAY = 3.5
NEWTON_STEPS, GRADIENT_STEPS = 100, 500


@dataclass(frozen=True)
class DescentConfig:
    """How far the descent goes.

    Attributes
    ----------
    max_iterations
        Accepted and refused steps together; if not given, 100 of Newton's or 500 of the
        gradient's.
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
    tolerance: float = 1e-8
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
    stationarity
        Shape ``(K,)``; see :class:`DescentConfig`.
    iterations
        Steps tried, shape ``(K,)``.
    """

    iterate: Iterate
    error: Tensor
    stationarity: Tensor
    iterations: Tensor


def mode_energies(
    iterate: Iterate, energy: Tensor, time: Time, horizon: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return each mode's own energy over ‖k‖², and d log energy / d log decay, ``(K, m)`` each.

    A pair's energy is averaged over the phase of its oscillation.
    """
    decay = iterate.log_decay.exp()
    doubled = torch.complex(-2 * decay, torch.zeros_like(decay))
    zeroth, first = (
        phi.real for phi in exponential_moments(doubled, 2, time=time, horizon=horizon)
    )
    # ‖ρ a^t‖² = ρ² φ_0 for a real pole; ‖2 Re(ρ a^t)‖² averages to 2 |ρ|² φ_0 for a pair.
    squares = iterate.residues.abs() ** 2 * iterate.states / energy[:, None]
    return squares * zeroth, -2 * decay * first / zeroth


def _active(iterate: Iterate, fits_feedthrough: bool) -> Tensor:
    """Which of the unknowns (log decay, frequency, Re ρ, Im ρ of each mode; D) are free."""
    used, pair = iterate.states > 0, iterate.states == 2
    modes = torch.stack([used, pair, used, pair], dim=-1).flatten(1)
    feedthrough = torch.full_like(modes[:, :1], fits_feedthrough)
    return torch.cat([modes, feedthrough], dim=1)


def _derivatives(
    iterate: Iterate,
    evaluation: Evaluation,
    objective: Objective,
    config: DescentConfig,
    time: Time,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gradient ``(K, p)``, Gauss-Newton and second-order matrices ``(K, p, p)``.

    p = 4m + 1, half the squared error is differentiated.
    """
    K, m = iterate.states.shape
    weight = iterate.states.to(torch.float64)
    rho, decay = iterate.residues, iterate.log_decay.exp()
    zero = torch.zeros_like(weight)
    # Columns: derivative of k_r by each unknown, in the atoms c_0, q_0, c_1, q_1.
    by_decay = torch.stack([zero, zero, -decay * rho.real, -decay * rho.imag], -1)
    by_frequency = torch.stack([zero, zero, -rho.imag, rho.real], -1)
    by_real = torch.stack([zero + 1, zero, zero, zero], -1)
    by_imag = torch.stack([zero, zero + 1, zero, zero], -1)
    jacobian = torch.stack([by_decay, by_frequency, by_real, by_imag], -1) * weight[..., None, None]
    half = torch.einsum("kiajb,kjbq->kiajq", evaluation.gram, jacobian)
    gauss_newton = torch.einsum("kiap,kiajq->kipjq", jacobian, half).reshape(K, 4 * m, 4 * m)
    E0, E1, E2 = evaluation.moments.unbind(-1)
    gradient = -torch.stack(
        [
            weight * (-decay * rho * E1).real,
            weight * (1j * rho * E1).real,
            weight * E0.real,
            weight * (1j * E0).real,
        ],
        -1,
    )
    curvature = torch.zeros(K, m, 4, 4, dtype=torch.float64, device=weight.device)
    curvature[..., 0, 0] = -weight * (rho * (-decay * E1 + decay**2 * E2)).real
    curvature[..., 0, 1] = -weight * (-1j * decay * rho * E2).real
    curvature[..., 1, 1] = -weight * (-rho * E2).real
    curvature[..., 0, 2] = -weight * (-decay * E1).real
    curvature[..., 0, 3] = -weight * (-1j * decay * E1).real
    curvature[..., 1, 2] = -weight * (1j * E1).real
    curvature[..., 1, 3] = -weight * (-E1).real
    curvature = curvature + torch.triu(curvature, 1).mT
    if config.energy_penalty > 0:
        energies, slope = mode_energies(iterate, objective.energy, time, objective.horizon)
        scaled = config.energy_penalty * energies
        # As a least-squares term: residuals √(μ φ_0) Re ρ and √(μ φ_0) Im ρ.
        per_square = scaled / (rho.abs() ** 2).clamp_min(1e-300)
        gradient[..., 0] += scaled * slope / 2
        gradient[..., 2] += per_square * rho.real
        gradient[..., 3] += per_square * rho.imag
        own = torch.zeros_like(curvature)
        own[..., 0, 0] = scaled * slope**2 / 4
        own[..., 0, 2] = own[..., 2, 0] = per_square * rho.real * slope / 2
        own[..., 0, 3] = own[..., 3, 0] = per_square * rho.imag * slope / 2
        own[..., 2, 2] = own[..., 3, 3] = per_square
        blocks = gauss_newton.reshape(K, m, 4, m, 4)
        diagonal = torch.arange(m, device=weight.device)
        blocks[:, diagonal, :, diagonal, :] += own.transpose(0, 1)
    size = 4 * m + 1
    matrix = torch.zeros(K, size, size, dtype=torch.float64, device=weight.device)
    matrix[:, :-1, :-1] = gauss_newton
    if objective.fits_feedthrough:
        cross = torch.einsum("kia,kiap->kip", evaluation.D_cross, jacobian).flatten(1)
        matrix[:, :-1, -1] = cross
        matrix[:, -1, :-1] = cross
        matrix[:, -1, -1] = evaluation.D_gram
    second = torch.zeros_like(matrix)
    blocks = torch.zeros(K, m, 4, m, 4, dtype=torch.float64, device=weight.device)
    diagonal = torch.arange(m, device=weight.device)
    blocks[:, diagonal, :, diagonal, :] = curvature.transpose(0, 1)
    second[:, :-1, :-1] = blocks.reshape(K, 4 * m, 4 * m)
    full_gradient = torch.cat([gradient.flatten(1), -evaluation.D_moment[:, None]], dim=1)
    return full_gradient, matrix, second


def _solve(matrix: Tensor, second: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    """Return the damped Newton step, or Gauss-Newton where Newton's matrix is indefinite.

    All matrices are scaled to a unit Gauss-Newton diagonal.
    """
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    damped = damping[:, None, None] * identity
    factor, info = torch.linalg.cholesky_ex(matrix + second + damped)
    bad = info > 0
    if bool(bad.any()):
        # A floor under the damping: the scaled Gauss-Newton matrix may be singular to rounding.
        fallback, failed = torch.linalg.cholesky_ex(matrix[bad] + damped[bad] + 1e-12 * identity)
        factor[bad] = torch.where((failed > 0)[:, None, None], identity * 1e6, fallback)
    return torch.cholesky_solve(-gradient[..., None], factor)[..., 0]


def _within(log_decay: Tensor, states: Tensor, config: DescentConfig, time: Time) -> Tensor:
    """Clamp decays to the floor and, in discrete time, to a pole of e^{-33}, which is none."""
    low, high = math.log(config.decay_floor), MAX_LOG_DECAY if time == "discrete" else math.inf
    return torch.where(states > 0, log_decay.clamp(low, high), log_decay)


def _moved(iterate: Iterate, step: Tensor, config: DescentConfig, time: Time) -> Iterate:
    K, m = iterate.states.shape
    parts = step[:, :-1].reshape(K, m, 4)
    # One step never changes a decay by more than e², which keeps the quadratic model honest.
    log_decay = iterate.log_decay + parts[..., 0].clamp(-2, 2)
    return Iterate(
        _within(log_decay, iterate.states, config, time),
        iterate.frequency + parts[..., 1],
        iterate.residues + torch.complex(parts[..., 2], parts[..., 3]),
        iterate.states,
        iterate.D + step[:, -1],
    )


def _merit(
    iterate: Iterate,
    evaluation: Evaluation,
    objective: Objective,
    config: DescentConfig,
    time: Time,
) -> Tensor:
    """Return what must decrease: error plus penalty, infinite beyond the energy limit."""
    energies = mode_energies(iterate, objective.energy, time, objective.horizon)[0]
    merit = evaluation.error + config.energy_penalty * energies.sum(-1)
    sound = torch.isfinite(merit) & (energies.amax(-1) <= CANCELLATION_LIMIT)
    return torch.where(sound, merit, torch.inf)


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
    K = objective.num_systems
    device = start.states.device
    start = replace(start, log_decay=_within(start.log_decay, start.states, config, time))
    final = start
    evaluation = objective.evaluate(start)
    merit = _merit(start, evaluation, objective, config, time)
    final_error = torch.where(torch.isfinite(merit), evaluation.error, torch.inf)
    stationarity = torch.full((K,), torch.inf, dtype=torch.float64, device=device)
    iterations = torch.zeros(K, dtype=torch.int64, device=device)
    alive = torch.nonzero(torch.isfinite(merit))[:, 0]
    if len(alive) == 0:
        return Descended(final, final_error, stationarity, iterations)
    current, sub = start.select(alive), objective.select(alive)
    evaluation = sub.evaluate(current)
    merit = merit[alive]
    damping = torch.full_like(merit, 1e-3)
    refused = torch.zeros_like(alive)
    for _ in range(NEWTON_STEPS if config.max_iterations is None else config.max_iterations):
        gradient, matrix, second = _derivatives(current, evaluation, sub, config, time)
        active = _active(current, sub.fits_feedthrough)
        # A pole that rests on the decay floor and is pushed below it stays there.
        floored = current.log_decay.exp() <= config.decay_floor * (1 + 1e-12)
        pushed = gradient[:, :-1].reshape(*current.states.shape, 4)[..., 0] > 0
        held = torch.zeros_like(active)
        held[:, :-1:4] = floored & pushed
        active = active & ~held
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        scale = torch.where(active & (diagonal > 0), diagonal, torch.ones_like(diagonal)).rsqrt()
        mask = active.to(torch.float64)
        gradient = gradient * scale * mask
        now = gradient.abs().amax(-1)
        done = (now <= config.tolerance) | (refused >= 12)
        if bool(done.any()):
            index = alive[done]
            final = final.scatter(index, current.select(done))
            final_error[index] = evaluation.error[done]
            stationarity[index] = now[done]
            keep = ~done
            alive, current, sub = alive[keep], current.select(keep), sub.select(keep)
            evaluation = _select_evaluation(evaluation, keep)
            merit, damping, refused = merit[keep], damping[keep], refused[keep]
            gradient, matrix, second = gradient[keep], matrix[keep], second[keep]
            scale, mask, now = scale[keep], mask[keep], now[keep]
            if len(alive) == 0:
                break
        both = mask[:, :, None] * mask[:, None, :] * scale[:, :, None] * scale[:, None, :]
        idle = torch.diag_embed(1 - mask)
        step = _solve(matrix * both + idle, second * both, gradient, damping) * scale * mask
        trial = _moved(current, step, config, time)
        trial_evaluation = sub.evaluate(trial)
        trial_merit = _merit(trial, trial_evaluation, sub, config, time)
        better = trial_merit < merit
        current = trial.where(better, current)
        evaluation = _merge_evaluations(better, trial_evaluation, evaluation)
        merit = torch.where(better, trial_merit, merit)
        damping = torch.where(better, damping / 8, damping * 6).clamp(1e-14, 1e10)
        refused = torch.where(better, 0, refused + 1)
        iterations[alive] += 1
    if len(alive):
        gradient, matrix, _ = _derivatives(current, evaluation, sub, config, time)
        diagonal = matrix.diagonal(dim1=-2, dim2=-1)
        active = _active(current, sub.fits_feedthrough) & (diagonal > 0)
        scaled = torch.where(active, gradient * diagonal.clamp_min(1e-300).rsqrt(), 0.0)
        final = final.scatter(alive, current)
        final_error[alive] = evaluation.error
        stationarity[alive] = scaled.abs().amax(-1)
    return Descended(final, final_error, stationarity, iterations)


def _select_evaluation(evaluation: Evaluation, index: Tensor) -> Evaluation:
    return Evaluation(
        evaluation.error[index],
        evaluation.moments[index],
        evaluation.gram[index],
        evaluation.D_moment[index],
        evaluation.D_gram[index],
        evaluation.D_cross[index],
    )


def _merge_evaluations(choose: Tensor, first: Evaluation, second: Evaluation) -> Evaluation:
    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(choose.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return Evaluation(
        pick(first.error, second.error),
        pick(first.moments, second.moments),
        pick(first.gram, second.gram),
        pick(first.D_moment, second.D_moment),
        pick(first.D_gram, second.D_gram),
        pick(first.D_cross, second.D_cross),
    )


def refit_residues(objective: Objective, iterate: Iterate) -> Iterate:
    """Return the iterate with the best residues (and D) for its poles: a linear problem.

    References
    ----------
    [golub2003varpro]
    """
    evaluation = objective.evaluate(iterate)
    K, m = iterate.states.shape
    weight = iterate.states.to(torch.float64)
    block = evaluation.gram[:, :, :2, :, :2] * weight[:, :, None, None, None]
    block = (block * weight[:, None, None, :, None]).reshape(K, 2 * m, 2 * m)
    E0 = evaluation.moments[..., 0]
    moment = torch.stack([weight * E0.real, weight * (1j * E0).real], -1).flatten(1)
    used = torch.stack([iterate.states > 0, iterate.states == 2], -1).flatten(1)
    if objective.fits_feedthrough:
        cross = (evaluation.D_cross[..., :2] * weight[..., None]).flatten(1)
        block = torch.cat(
            [
                torch.cat([block, cross[:, :, None]], 2),
                torch.cat([cross[:, None, :], evaluation.D_gram[:, None, None]], 2),
            ],
            1,
        )
        moment = torch.cat([moment, evaluation.D_moment[:, None]], 1)
        used = torch.cat([used, torch.ones_like(used[:, :1])], 1)
    diagonal = block.diagonal(dim1=-2, dim2=-1)
    used = used & (diagonal > 0)
    scale = torch.where(used, diagonal, torch.ones_like(diagonal)).rsqrt() * used
    scaled = block * scale[:, :, None] * scale[:, None, :]
    # The basis can be nearly dependent: directions below 1e-10 of the largest are left alone.
    values, vectors = torch.linalg.eigh(scaled)
    inverse = torch.where(values > 1e-10 * values[:, -1:].clamp_min(1e-300), 1 / values, 0.0)
    coordinates = (vectors.mT @ (moment * scale)[..., None])[..., 0]
    change = scale * (vectors @ (inverse * coordinates)[..., None])[..., 0]
    parts = change[:, : 2 * m].reshape(K, m, 2)
    D = iterate.D + change[:, -1] if objective.fits_feedthrough else iterate.D
    return Iterate(
        iterate.log_decay,
        iterate.frequency,
        iterate.residues + torch.complex(parts[..., 0], parts[..., 1]),
        iterate.states,
        D,
    )


def stationarity_of(objective: Objective, iterate: Iterate, *, time: Time) -> Tensor:
    """Return the largest scaled derivative of the error at an iterate, shape ``(K,)``.

    Each derivative is divided by the norm of its direction and by ‖k‖: the residuals of the
    interpolation conditions at the mirrored poles, made scale-free.
    """
    evaluation = objective.evaluate(iterate)
    gradient, matrix, _ = _derivatives(iterate, evaluation, objective, DescentConfig(), time)
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    active = _active(iterate, objective.fits_feedthrough) & (diagonal > 0)
    scaled = gradient * diagonal.clamp_min(1e-300).rsqrt()
    return torch.where(active, scaled, torch.zeros_like(scaled)).abs().amax(-1)


def descend_gradient(
    objective: Objective, start: Iterate, config: DescentConfig, *, time: Time
) -> tuple[Iterate, Tensor]:
    """Minimise by steepest descent with Armijo's rule; never uphill.

    Returns
    -------
    iterate, iterations
        The second int64 of shape ``(K,)``.
    """
    current = replace(start, log_decay=_within(start.log_decay, start.states, config, time))
    evaluation = objective.evaluate(current)
    merit = _merit(current, evaluation, objective, config, time)
    length = torch.full_like(merit, 1e-2)
    iterations = torch.zeros_like(merit, dtype=torch.int64)
    for _ in range(GRADIENT_STEPS if config.max_iterations is None else config.max_iterations):
        gradient, _, _ = _derivatives(current, evaluation, objective, config, time)
        gradient = torch.where(_active(current, objective.fits_feedthrough), gradient, 0.0)
        square = (gradient**2).sum(-1)
        moving = (length * square > 1e-16) & torch.isfinite(merit)
        if not bool(moving.any()):
            break
        trial = _moved(current, -length[:, None] * gradient, config, time)
        trial_evaluation = objective.evaluate(trial)
        trial_merit = _merit(trial, trial_evaluation, objective, config, time)
        # The merit is the squared error, twice what was differentiated.
        better = moving & (trial_merit <= merit - length * square)
        current = trial.where(better, current)
        evaluation = _merge_evaluations(better, trial_evaluation, evaluation)
        merit = torch.where(better, trial_merit, merit)
        length = torch.where(better, length * 1.5, torch.where(moving, length / 3, length))
        iterations += moving
    return current, iterations
