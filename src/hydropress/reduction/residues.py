"""The best residues and feedthrough for given poles."""

from dataclasses import replace

import torch

from hydropress.reduction.iterate import Iterate
from hydropress.reduction.merit import unit_energies
from hydropress.reduction.objective import Objective
from hydropress.systems.moments import Time


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
    evaluation = objective.evaluate(iterate)
    K, m = iterate.states.shape
    weight = iterate.states.to(torch.float64)
    block = evaluation.gram[:, :, :2, :, :2] * weight[:, :, None, None, None]
    block = (block * weight[:, None, None, :, None]).reshape(K, 2 * m, 2 * m)
    E0 = evaluation.moments[..., 0]
    moment = torch.stack([weight * E0.real, weight * (1j * E0).real], -1).flatten(1)
    if penalty > 0:
        energies, _ = unit_energies(iterate, objective.energy, time, objective.horizon)
        ridge = (penalty * energies).repeat_interleave(2, dim=1)
        block = block + torch.diag_embed(ridge)
        moment = moment - ridge * torch.view_as_real(iterate.residues).flatten(1)
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
    parts = change[:, : 2 * m].reshape(K, m, 2).contiguous()
    D = iterate.D + change[:, -1] if objective.fits_feedthrough else iterate.D
    residues = iterate.residues + torch.view_as_complex(parts)
    return replace(iterate, residues=residues, D=D)
