"""The best residues and feedthrough for given poles."""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.reduction.compiled.bridge import refit_bank
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.merit import unit_energies
from hydropress.reduction.objective import ClosedFormObjective, Objective
from hydropress.systems.moments import Time

LEAST_EIGENVALUE = 1e-10
"""Over the largest, of the products of the atoms, each of norm one, that are told apart."""


def refit_residues(
    objective: Objective, iterate: Iterate, *, penalty: float, time: Time
) -> Iterate:
    """Return the iterate with the best residues (and D) for its poles: a linear problem.

    Parameters
    ----------
    penalty
        Of the energies of modes, as in :class:`~hydropress.reduction.descent.DescentConfig`.

    References
    ----------
    [golub2003varpro]
    """
    if isinstance(objective, ClosedFormObjective) and objective.bank is not None:
        fitted, sound = refit_bank(objective.bank, iterate, price=penalty, least=LEAST_EIGENVALUE)
        if bool(sound.all()):
            return fitted
        rest = torch.nonzero(~sound)[:, 0]
        part = objective.select(rest).without_bank()
        careful = refit_residues(part, iterate.select(rest), penalty=penalty, time=time)
        return fitted.scatter(rest, careful)
    evaluation = objective.evaluate(iterate)
    K, m = iterate.states.shape
    weights = iterate.states.to(torch.float64).repeat_interleave(2, 1)
    block = evaluation.gram[:, :, :2, :, :2].reshape(K, 2 * m, 2 * m)
    block = block * (weights[:, :, None] * weights[:, None, :])
    E0 = evaluation.moments[..., 0]
    moment = weights * torch.view_as_real(E0.conj().resolve_conj()).flatten(1)
    if penalty > 0:
        energies, _ = unit_energies(iterate, objective.energy, time, objective.horizon)
        ridge = (penalty * energies).repeat_interleave(2, dim=1)
        block = block + torch.diag_embed(ridge)
        moment = moment - ridge * torch.view_as_real(iterate.residues).flatten(1)
    used = torch.stack([iterate.states > 0, iterate.states == 2], -1).flatten(1)
    if objective.fits_feedthrough:
        cross = evaluation.D_cross[..., :2].flatten(1) * weights
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
    change = scale * _solve(scaled, moment * scale)
    parts = change[:, : 2 * m].reshape(K, m, 2).contiguous()
    D = iterate.D + change[:, -1] if objective.fits_feedthrough else iterate.D
    residues = iterate.residues + torch.view_as_complex(parts)
    return replace(iterate, residues=residues, D=D)


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve semidefinite systems with a diagonal of ones, or zeros for unknowns that are not used.

    The basis can be nearly dependent: directions below ``LEAST_EIGENVALUE`` are left alone.
    """
    regular = matrix.clone()
    regular.diagonal(dim1=-2, dim2=-1).fill_(1)
    factor, info = torch.linalg.cholesky_ex(regular)
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    inverse = torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)
    result = (inverse.mT @ (inverse @ right[..., None]))[..., 0]
    # Of p eigenvalues the largest is at most p, and 1 / the smallest at most the inverse's trace.
    trace = inverse.square().sum((-2, -1))
    sound = (info == 0) & (trace * matrix.shape[-1] < 1 / LEAST_EIGENVALUE)
    if bool(sound.all()):
        return result
    values, vectors = torch.linalg.eigh(matrix[~sound])
    kept = values > LEAST_EIGENVALUE * values[:, -1:].clamp_min(1e-300)
    inverted = torch.where(kept, 1 / values, 0.0)
    coordinates = (vectors.mT @ right[~sound][..., None])[..., 0]
    result[~sound] = (vectors @ (inverted * coordinates)[..., None])[..., 0]
    return result
