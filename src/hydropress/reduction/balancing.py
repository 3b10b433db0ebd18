"""Balanced coordinates of a bank, worked out once and truncated at any order."""

from dataclasses import dataclass, replace
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor

from hydropress.systems.assembly import without_silent_modes
from hydropress.systems.eigen import eigen, in_eigenbasis
from hydropress.systems.gramians import real_gramian_factors
from hydropress.systems.modal import (
    MIMOSystem,
    ModalSystem,
    SISOSystem,
    pack_mimo_modes,
    pack_modes,
)
from hydropress.systems.moments import Exponentials, pair_moments
from hydropress.systems.state_space import exponents_of

S = TypeVar("S", bound=ModalSystem)

RANK_TOLERANCE = 1e-13
"""Hankel singular values below this share of the largest are rounding."""
LEAST_DECAY = 1e-12
SKETCHED_AT_ONCE = 64
SKETCH_RIDGE = 1e-13


def _real_realization(system: ModalSystem) -> tuple[Tensor, Tensor, Tensor]:
    """Return A as 2 x 2 blocks, B and C in the real coordinates of the Gramian factors.

    Returns
    -------
    blocks, B, C
        float64, shapes ``(K, n, 2, 2)``, ``(K, 2n, M)`` and ``(K, P, 2n)``.
    """
    poles = torch.exp(system.exponents) if system.time == "discrete" else system.exponents
    rows = [torch.stack([poles.real, -poles.imag], -1), torch.stack([poles.imag, poles.real], -1)]
    blocks = torch.stack(rows, -2)
    if isinstance(system, MIMOSystem):
        inputs, outputs = system.B, system.C
    else:
        assert isinstance(system, SISOSystem)
        inputs, outputs = torch.ones_like(poles)[..., None], system.residues[..., None, :]
    root = 2**0.5
    scaled = outputs * system.states[..., None, :] / root
    B = torch.stack([inputs.real, inputs.imag], -2).flatten(-3, -2) * root
    C = torch.stack([scaled.real, -scaled.imag], -1).flatten(-2)
    return blocks, B, C


def _sketch(system: SISOSystem, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return left, right and Hankel singular values; see :meth:`Balancing.sketch`."""
    modes = Exponentials.of(system.exponents)
    (same,), (mixed,) = pair_moments(modes, modes, 1, time=system.time)
    first, second = mixed.conj() + same, mixed.conj() - same
    rows = [torch.stack([first.real, -second.imag], -1)]
    rows.append(torch.stack([first.imag, second.real], -1))
    gramian = torch.stack(rows, -2).permute(0, 1, 3, 2, 4).flatten(3, 4).flatten(1, 2)
    diagonal = gramian.diagonal(dim1=-2, dim2=-1)
    scale = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal)).sqrt()
    scaled = gramian / (scale[:, :, None] * scale[:, None, :])
    ridge = SKETCH_RIDGE * torch.eye(scaled.shape[-1], dtype=scaled.dtype, device=scaled.device)
    factor, _ = torch.linalg.cholesky_ex(scaled + ridge)
    factor = factor * scale[:, :, None]
    weights = system.residues * system.states / 2
    dual = _dual(weights, factor)
    values, vectors = torch.linalg.eigh((factor.mT @ dual).float())
    largest = values.abs().argsort(-1, descending=True)[:, :most]
    index = largest[:, None, :].expand(-1, vectors.shape[1], -1)
    vectors, values = vectors.gather(2, index).double(), values.gather(1, largest).double()
    sign = torch.where(values < 0, -1.0, 1.0).to(values)
    return dual @ vectors * sign[:, None, :], factor @ vectors, values.abs()


def _dual(weights: Tensor, columns: Tensor) -> Tensor:
    """Return J columns; see :meth:`Balancing.sketch`."""
    first, second = columns[:, 0::2], columns[:, 1::2]
    along, across = weights.real[..., None], weights.imag[..., None]
    rows = [along * first - across * second, -across * first - along * second]
    return torch.stack(rows, 2).flatten(1, 2)


def _solved_from_the_right(C: Tensor, A: Tensor) -> Tensor:
    """Return C A⁻¹, or where a pole at 0 leaves A singular the smallest X with X A = C."""
    solved, info = torch.linalg.solve_ex(A.mT, C.mT)
    for row in torch.nonzero(info)[:, 0].tolist():
        solved[row] = torch.linalg.pinv(A[row].mT) @ C[row].mT
    return solved.mT


@dataclass(frozen=True)
class Balancing(Generic[S]):
    """The balancing projections of K systems.

    With P = Z_P Z_P^T, Q = Z_Q Z_Q^T and Z_Q^T Z_P = U Σ V^T, the projections to order r are
    W = Z_Q U_r Σ_r^{-1/2} and T = Z_P V_r Σ_r^{-1/2}.

    Attributes
    ----------
    system
        Bank of systems, batch shape ``(K,)``.
    left, right
        Z_Q U and Z_P V, float64, shape ``(K, 2n, 2n)``.
    hankel_singular_values
        Σ, descending, float64, shape ``(K, 2n)``.
    horizon
        Samples or time units over which the Gramians are taken; ``None`` for all.

    References
    ----------
    [moore1981]; [antoulas2005], section 7.3; for deep SSMs [ezoe2024bt]; time-limited
    [gawronski1990].
    """

    system: S
    left: Tensor
    right: Tensor
    hankel_singular_values: Tensor
    horizon: float | None = None

    @staticmethod
    def of(system: S, horizon: float | None = None) -> "Balancing[S]":
        """Work out the projections of a bank of batch shape ``(K,)``."""
        controllability, observability = real_gramian_factors(system, horizon)
        U, sigma, V = torch.linalg.svd(observability.mT @ controllability)
        return Balancing(system, observability @ U, controllability @ V.mT, sigma, horizon)

    @staticmethod
    def sketch(system: SISOSystem, most: int) -> "Balancing[SISOSystem]":
        """Return about the same for stable scalar systems, in a third of the time (measured).

        A scalar system is its own dual: with B = √2 (1, 0) and C = √2 (Re c, -Im c) for every pair,
        J = [[Re c, -Im c], [-Im c, -Re c]] turns one Gramian into the other, Q = J P J, so that a
        single factor of P and an eigenvalue decomposition in single precision,
        Zᵀ J Z = V Λ Vᵀ, give Σ = |Λ|, Z_P V = Z V and Z_Q U = J Z V sign Λ.  Errors of
        truncated systems are right to 10⁻⁴ (measured): good for starts.

        Parameters
        ----------
        most
            Largest order that it is truncated to: only the columns for that are worked out.
        """
        # In parts that stay in the cache.
        parts = [
            _sketch(system[start : start + SKETCHED_AT_ONCE], most)
            for start in range(0, len(system.D), SKETCHED_AT_ONCE)
        ]
        left, right, sigma = (torch.cat(kind) for kind in zip(*parts, strict=True))
        return Balancing(system, left, right, sigma)

    def truncate(self, order: int) -> S:
        """Return the balanced truncations; a system of lower rank comes back at its rank.

        On a finite horizon BT does not keep stability: a pole that does not decay is mirrored into
        the stability region, so that the result is one.
        """
        A, B, C, _ = self._balanced(order)
        return self._pack(A, B, C, self.system.D)

    def residualize(self, order: int) -> S:
        """Return the singular perturbation approximations: the gain at zero frequency is kept.

        The states that truncation drops are taken at rest instead (x₂[t] = x₂[t-1], or ẋ₂ = 0), so
        D changes.  References: [liu1989].
        """
        full = int(self.hankel_singular_values.shape[-1])
        A, B, C, sound = self._balanced(full)
        D = self._direct()
        if self.system.time == "discrete":
            # In the form x[t+1] = A x[t] + B u[t], in which states at rest are x₂ = A x₂ + B u.
            D = D + C @ B
            C = C @ A
        kept = sound[:, :order]
        first, rest = slice(None, order), slice(order, None)
        identity = torch.eye(full - order, dtype=A.dtype, device=A.device)
        still = identity - A[:, rest, rest] if self.system.time == "discrete" else -A[:, rest, rest]
        reach = torch.linalg.solve(still, torch.cat([A[:, rest, first], B[:, rest]], -1))
        via_state, via_input = reach[..., : kept.shape[1]], reach[..., kept.shape[1] :]
        A_r = A[:, first, first] + A[:, first, rest] @ via_state
        B_r = B[:, first] + A[:, first, rest] @ via_input
        C_r = C[:, :, first] + C[:, :, rest] @ via_state
        D_r = D + C[:, :, rest] @ via_input
        if self.system.time == "discrete":
            C_r = _solved_from_the_right(C_r, A_r)
            D_r = D_r - C_r @ B_r
        return self._pack(A_r, B_r, C_r, D_r if self._is_mimo else D_r[:, 0, 0])

    @property
    def _is_mimo(self) -> bool:
        return isinstance(self.system, MIMOSystem)

    def _direct(self) -> Tensor:
        return self.system.D if self._is_mimo else self.system.D[:, None, None]

    def _balanced(self, order: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return A, B, C in balanced coordinates, and which of the states are not rounding."""
        sigma = self.hankel_singular_values
        count = min(order, sigma.shape[-1])
        kept = sigma[:, :count]
        sound = kept > RANK_TOLERANCE * sigma[:, :1].clamp_min(1e-300)
        scale = torch.where(sound, kept, torch.ones_like(kept)).rsqrt() * sound
        W = self.left[:, :, :count] * scale[:, None, :]
        T = self.right[:, :, :count] * scale[:, None, :]
        blocks, B, C = _real_realization(self.system)
        moved = (blocks @ T.unflatten(1, (-1, 2))).flatten(1, 2)
        # A column that is only rounding becomes a decoupled mode of residue zero.
        place = 0.5 if self.system.time == "discrete" else -1.0
        A = W.mT @ moved + torch.diag_embed(place * (~sound).to(W))
        return A, W.mT @ B, C @ T, sound

    def _pack(self, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> S:
        time = self.system.time
        poles, vectors = eigen(A)
        modal_B = in_eigenbasis(poles, vectors, B)
        modal_C = C.to(poles.dtype) @ vectors
        # A full system of delay 1 stands here without it, and may keep a pole at 0.
        exponents = exponents_of(poles, time, delay=1 if time == "discrete" else 0)
        if self._is_mimo:
            packed = pack_mimo_modes(exponents, modal_B, modal_C, D, time=time)
        else:
            packed = pack_modes(exponents, modal_B[..., 0] * modal_C[:, 0], D, time=time)
        # On an infinite horizon only rounding puts a pole on or over the stability boundary.
        decay = packed.exponents.real.abs().clamp_min(LEAST_DECAY)
        decay = torch.where(packed.states > 0, decay, -packed.exponents.real)
        kept = replace(packed, exponents=torch.complex(-decay, packed.exponents.imag))
        return cast(S, without_silent_modes(kept))
