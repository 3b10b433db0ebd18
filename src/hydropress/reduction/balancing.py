"""Balanced coordinates of a bank, worked out once and truncated at any order."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hydropress.systems.gramians import real_gramian_factors
from hydropress.systems.modal import SISOSystem, pack_modes

RANK_TOLERANCE = 1e-13
"""Hankel singular values below this share of the largest are rounding."""


def _real_realization(system: SISOSystem) -> tuple[Tensor, Tensor, Tensor]:
    """Return A as 2 x 2 blocks ``(..., n, 2, 2)``, B and C ``(..., 2n)``, in real coordinates."""
    poles = torch.exp(system.exponents) if system.time == "discrete" else system.exponents
    rows = [torch.stack([poles.real, -poles.imag], -1), torch.stack([poles.imag, poles.real], -1)]
    blocks = torch.stack(rows, -2)
    root = 2**0.5
    zero = torch.zeros_like(poles.real)
    B = torch.stack([zero + root, zero], -1).flatten(-2)
    scaled = system.residues * system.states / root
    C = torch.stack([scaled.real, -scaled.imag], -1).flatten(-2)
    return blocks, B, C


@dataclass(frozen=True)
class Balancing:
    """The balancing projections of K systems.

    With P = Z_P Z_P^T, Q = Z_Q Z_Q^T and Z_Q^T Z_P = U Σ V^T, the projections to order r are
    W = Z_Q U_r Σ_r^{-1/2} and T = Z_P V_r Σ_r^{-1/2}.

    Attributes
    ----------
    system
        Bank of stable systems, batch shape ``(K,)``.
    left, right
        Z_Q U and Z_P V, float64, shape ``(K, 2n, 2n)``.
    hankel_singular_values
        Σ, descending, float64, shape ``(K, 2n)``.

    References
    ----------
    [moore1981]; [antoulas2005], section 7.3; for deep SSMs [ezoe2024bt].
    """

    system: SISOSystem
    left: Tensor
    right: Tensor
    hankel_singular_values: Tensor

    @staticmethod
    def of(system: SISOSystem) -> "Balancing":
        controllability, observability = real_gramian_factors(system)
        U, sigma, V = torch.linalg.svd(observability.mT @ controllability)
        return Balancing(system, observability @ U, controllability @ V.mT, sigma)

    @property
    def norm(self) -> Tensor:
        """‖k‖ = ‖C Z_P‖, a sum of squares, float64, shape ``(K,)``."""
        _, _, C = _real_realization(self.system)
        return torch.linalg.vector_norm((C[:, None, :] @ self.right)[:, 0], dim=-1)

    def truncate(self, order: int) -> SISOSystem:
        """Return the balanced truncations; a system of lower rank comes back at its rank."""
        system, sigma = self.system, self.hankel_singular_values
        count = min(order, sigma.shape[-1])
        kept = sigma[:, :count]
        sound = kept > RANK_TOLERANCE * sigma[:, :1].clamp_min(1e-300)
        scale = torch.where(sound, kept, torch.ones_like(kept)).rsqrt() * sound
        W = self.left[:, :, :count] * scale[:, None, :]
        T = self.right[:, :, :count] * scale[:, None, :]
        blocks, B, C = _real_realization(system)
        moved = (blocks @ T.unflatten(1, (-1, 2))).flatten(1, 2)
        # A column that is only rounding becomes a decoupled mode of residue zero.
        A_r = W.mT @ moved + torch.diag_embed(0.5 * (~sound).to(W))
        if system.time == "continuous":
            A_r = A_r - torch.diag_embed(1.5 * (~sound).to(W))
        B_r = (W.mT @ B[..., None])[..., 0]
        C_r = (C[:, None, :] @ T)[:, 0]
        poles, vectors = torch.linalg.eig(A_r)
        controls = torch.linalg.solve(vectors, B_r.to(poles.dtype))
        residues = (C_r.to(poles.dtype)[:, None, :] @ vectors)[:, 0] * controls
        return _stabilized(pack_modes(poles, residues, system.D, time=system.time))


def _stabilized(system: SISOSystem) -> SISOSystem:
    """Move poles that rounding put on or over the stability boundary just inside it.

    In exact arithmetic BT keeps stability.
    """
    decay = -system.exponents.real
    ceiling = torch.where(system.states > 0, 1e-12, decay)
    exponents = torch.complex(-torch.maximum(decay, ceiling), system.exponents.imag)
    return SISOSystem(exponents, system.residues, system.states, system.D, system.time)
