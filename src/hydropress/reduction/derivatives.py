"""First and second derivatives of the merit by the unknowns of the optimiser."""

import torch
from torch import Tensor

from hydropress.reduction.iterate import Iterate
from hydropress.reduction.merit import unit_energies
from hydropress.reduction.objective import Evaluation, Objective
from hydropress.systems.moments import Time


def free_unknowns(iterate: Iterate, fits_feedthrough: bool) -> Tensor:
    """Which of the unknowns (log decay, frequency, Re ρ, Im ρ of each mode; D) are free."""
    used, pair = iterate.states > 0, iterate.states == 2
    modes = torch.stack([used, pair, used, pair], dim=-1).flatten(1)
    feedthrough = torch.full_like(modes[:, :1], fits_feedthrough)
    return torch.cat([modes, feedthrough], dim=1)


def derivatives(
    objective: Objective, iterate: Iterate, evaluation: Evaluation, penalty: float, time: Time
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gradient ``(K, p)``, Gauss-Newton and second-order matrices ``(K, p, p)``.

    p = 4m + 1, half the merit is differentiated.
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
    if penalty > 0:
        # As a least-squares term: residuals √(μ φ_0) Re ρ and √(μ φ_0) Im ρ.
        energies, slope = unit_energies(iterate, objective.energy, time, objective.horizon)
        per_square = penalty * energies
        scaled = per_square * rho.abs() ** 2
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


def stationarity_of(objective: Objective, iterate: Iterate, *, time: Time) -> Tensor:
    """Return the largest scaled derivative of the error at an iterate, shape ``(K,)``.

    Each derivative is divided by the norm of its direction and by ‖k‖: the residuals of the
    interpolation conditions at the mirrored poles, made scale-free.
    """
    evaluation = objective.evaluate(iterate)
    gradient, matrix, _ = derivatives(objective, iterate, evaluation, 0.0, time)
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    active = free_unknowns(iterate, objective.fits_feedthrough) & (diagonal > 0)
    scaled = gradient * diagonal.clamp_min(1e-300).rsqrt()
    return torch.where(active, scaled, torch.zeros_like(scaled)).abs().amax(-1)
