"""First and second derivatives of the merit by the unknowns of the optimiser."""

import math

import torch
from torch import Tensor

from hydropress.reduction.iterate import Iterate
from hydropress.reduction.merit import unit_energies
from hydropress.reduction.objective import Evaluation, Objective
from hydropress.systems.moments import Time


def free_unknowns(iterate: Iterate, fits_feedthrough: bool) -> Tensor:
    """Which of the unknowns (Re ρ, Im ρ, log decay, frequency of each mode; D) are free."""
    used, pair = iterate.states > 0, iterate.states == 2
    modes = torch.stack([used, pair, used, pair], dim=-1).flatten(1)
    if not fits_feedthrough:
        return modes
    return torch.cat([modes, torch.ones_like(modes[:, :1])], dim=1)


def held_by_floor(iterate: Iterate, gradient: Tensor, floor: float) -> Tensor:
    """Which poles rest on the decay floor and are pushed below it, ``(K, m)``."""
    slots = iterate.states.shape[1]
    rests = iterate.log_decay <= math.log(floor) + 1e-12
    return rests & (gradient[:, 2 : 4 * slots : 4] > 0)


def own_blocks(matrix: Tensor, slots: int) -> Tensor:
    """Return a view of the blocks in which the unknowns of one mode meet, ``(K, m, 4, 4)``."""
    modes = matrix[:, : 4 * slots, : 4 * slots].unflatten(2, (slots, 4)).unflatten(1, (slots, 4))
    return modes.diagonal(dim1=1, dim2=3).movedim(-1, 1)


def derivatives(
    objective: Objective, iterate: Iterate, evaluation: Evaluation, penalty: float, time: Time
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gradient, Gauss-Newton matrix and what Newton's has in addition.

    Half the merit is differentiated, by the unknowns of :func:`free_unknowns`.

    Returns
    -------
    gradient, gauss_newton
        Shapes ``(K, p)`` and ``(K, p, p)``; p = 4m, or 4m + 1 with a free feedthrough.
    curvature
        The unknowns of different modes have no second derivative: ``(K, m, 4, 4)``.
    """
    rho, decay = iterate.residues * iterate.states, iterate.log_decay.exp()
    # The derivatives of k_r are Re and Re(i ·) of a factor times e^{st} and times t e^{st}; the
    # latter as if s were the unknown, of which ``chain`` makes log decay and frequency.
    factors = torch.stack([iterate.states.to(rho), rho], -1)
    one = torch.ones_like(decay)
    chain = torch.stack([one, one, -decay, one], -1).flatten(1)
    slopes = torch.view_as_real((factors * evaluation.moments[..., :2]).conj().resolve_conj())
    gradient = -chain * slopes.flatten(1)
    columns = factors.flatten(1).conj()[:, None, :]
    half = _times_factors(evaluation.gram.flatten(3).flatten(1, 2), columns) * chain[:, None, :]
    gauss_newton = _times_factors(half.mT, columns) * chain[:, None, :]
    curvature = _curvature(iterate, evaluation, rho, decay)
    if penalty > 0:
        blocks = own_blocks(gauss_newton, decay.shape[1])
        slope, block = _penalty(objective, iterate, penalty, time)
        gradient += slope.flatten(1)
        blocks += block
    if not objective.fits_feedthrough:
        return gradient, gauss_newton, curvature
    cross = _times_factors(evaluation.D_cross.flatten(1)[:, None], columns)[:, 0] * chain
    corner = evaluation.D_gram[:, None, None]
    upper = torch.cat([gauss_newton, cross[:, :, None]], 2)
    lower = torch.cat([cross[:, None, :], corner], 2)
    gradient = torch.cat([gradient, -evaluation.D_moment[:, None]], 1)
    return gradient, torch.cat([upper, lower], 1), curvature


def _times_factors(matrix: Tensor, factors: Tensor) -> Tensor:
    """Multiply each pair (c, q) of columns, as c + iq, by a complex factor."""
    pairs = torch.view_as_complex(matrix.contiguous().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * factors).flatten(-2)


def _curvature(iterate: Iterate, evaluation: Evaluation, rho: Tensor, decay: Tensor) -> Tensor:
    """Return -⟨e, ∂²k_r⟩, of which the unknowns of one mode have ``(K, m, 4, 4)``."""
    _, E1, E2 = evaluation.moments.unbind(-1)
    mixed, by_exponent = iterate.states * E1, rho * E2
    slowed, zero = decay * mixed, torch.zeros_like(decay)
    first = torch.stack([zero, zero, slowed.real, mixed.imag], -1)
    second = torch.stack([zero, zero, -slowed.imag, mixed.real], -1)
    turn = -decay * by_exponent.imag
    squeeze = decay * ((rho * E1).real - decay * by_exponent.real)
    third = torch.stack([slowed.real, -slowed.imag, squeeze, turn], -1)
    fourth = torch.stack([mixed.imag, mixed.real, turn, by_exponent.real], -1)
    return torch.stack([first, second, third, fourth], -2)


def _penalty(
    objective: Objective, iterate: Iterate, penalty: float, time: Time
) -> tuple[Tensor, Tensor]:
    """Return gradient and matrix of the energy's price, ``(K, m, 4)`` and ``(K, m, 4, 4)``.

    As a least-squares term: residuals √(μ φ_0) Re ρ and √(μ φ_0) Im ρ.
    """
    energies, slope = unit_energies(iterate, objective.energy, time, objective.horizon)
    scale, half = penalty * energies, slope / 2
    rho, zero, one = iterate.residues, torch.zeros_like(half), torch.ones_like(half)
    real = torch.stack([one, zero, rho.real * half, zero], -1)
    imaginary = torch.stack([zero, one, rho.imag * half, zero], -1)
    by_unknown = torch.stack([real, imaginary], -2)
    gradient = (torch.view_as_real(rho)[..., None, :] @ by_unknown)[..., 0, :]
    return scale[..., None] * gradient, scale[..., None, None] * (by_unknown.mT @ by_unknown)


def stationarity_of(
    objective: Objective, iterate: Iterate, *, decay_floor: float, time: Time
) -> Tensor:
    """Return the largest scaled derivative of the error at an iterate, shape ``(K,)``.

    Each derivative is divided by the norm of its direction and by ‖k‖: the residuals of the
    interpolation conditions at the mirrored poles, made scale-free.  A pole on the decay floor that
    the error would push below it is where it can be best.
    """
    evaluation = objective.evaluate(iterate)
    gradient, matrix, _ = derivatives(objective, iterate, evaluation, 0.0, time)
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    active = free_unknowns(iterate, objective.fits_feedthrough) & (diagonal > 0)
    slots = iterate.states.shape[1]
    active[:, 2 : 4 * slots : 4] &= ~held_by_floor(iterate, gradient, decay_floor)
    scaled = gradient * diagonal.clamp_min(1e-300).rsqrt()
    return torch.where(active, scaled, torch.zeros_like(scaled)).abs().amax(-1)
