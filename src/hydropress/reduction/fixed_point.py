r"""The tangential fixed point of H² reduction (IRKA, TSIA), batched, for modal systems.

At an H² optimum the reduced system is a projection of the full one, A_r = (WᵀV)⁻¹ Wᵀ A V, onto the
solutions of two Sylvester equations that depend on the reduced system itself.  A being diagonal,
they are solved entry by entry:

    V_ij = (b_i · ē_j) φ_0(s_i + z̄_j),     W_ij = (c̄_i · d_j) φ_0(s̄_i + z_j)

with full modes c_i b_iᵀ e^{s_i t} and reduced modes d_j e_jᵀ e^{z_j t}.  Iterating the projection
is IRKA [gugercin2008irka] in continuous, MIRIAm [bunse2010] in discrete time.  On a finite horizon
φ_0 is the sum up to it, which solves the time-limited Sylvester equations of [goyal2019].
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hydropress.systems.assembly import without_silent_modes
from hydropress.systems.eigen import eigen
from hydropress.systems.gramians import all_mimo_modes
from hydropress.systems.modal import (
    MIMOSystem,
    ModalSystem,
    SISOSystem,
    pack_mimo_modes,
    pack_modes,
)
from hydropress.systems.moments import Exponentials, Time, stacked_pair_moments

LEAST_DECAY = 1e-12
"""A pole that the projection puts on or over the boundary is mirrored, and kept off it."""
MOST_DECAY = 33.0
"""Per sample: a pole of e^{-33} is none."""


@dataclass(frozen=True)
class FullModes:
    """K full systems, complex and in real coordinates.

    The complex vectors have one entry for each pair, then one for its conjugate; the real ones
    √2 Re and then √2 Im of the first half.

    Attributes
    ----------
    exponents
        s of the first half, ``(K, n)``.
    B, C
        complex128, ``(K, M, 2n)`` and ``(K, P, 2n)``; see
        :func:`~hydropress.systems.gramians.all_mimo_modes`.
    controls, outputs
        B and C in real coordinates, ``(K, 2n, M)``, ``(K, P, 2n)``.
    diagonal
        a - 1 in discrete time, so that nothing is taken from one, λ in continuous time; ``(K, n)``.
    time
        ``discrete`` or ``continuous``.
    horizon
        Samples or time units that count; ``None`` for all.
    """

    exponents: Exponentials
    B: Tensor
    C: Tensor
    controls: Tensor
    outputs: Tensor
    diagonal: Tensor
    time: Time
    horizon: float | None

    @staticmethod
    def of(system: ModalSystem, horizon: float | None = None) -> "FullModes":
        """Write out a bank of batch shape ``(K,)``."""
        exponents, B, C = all_mimo_modes(system)
        exponents, B, C = exponents[:, 0::2], B[:, 0::2].mT, C[..., 0::2]
        root = 2**0.5
        return FullModes(
            Exponentials.of(exponents),
            torch.cat([B, B.conj()], 2),
            torch.cat([C, C.conj()], 2),
            root * torch.cat([B.real, B.imag], 2).mT,
            root * torch.cat([C.real, -C.imag], 2),
            torch.expm1(exponents) if system.time == "discrete" else exponents,
            system.time,
            horizon,
        )

    def select(self, index: Tensor) -> "FullModes":
        """Return the systems of an index."""
        return FullModes(
            self.exponents.select(index),
            self.B[index],
            self.C[index],
            self.controls[index],
            self.outputs[index],
            self.diagonal[index],
            self.time,
            self.horizon,
        )


@dataclass(frozen=True)
class ReducedModes:
    """All r modes of K reduced systems, conjugate-closed.

    Attributes
    ----------
    exponents, B, C
        complex128, ``(K, r)``, ``(K, r, M)``, ``(K, P, r)``.
    """

    exponents: Tensor
    B: Tensor
    C: Tensor

    @staticmethod
    def of(system: ModalSystem, order: int) -> "ReducedModes":
        """Write out a bank of batch shape ``(K,)``; systems below the order get idle real poles."""
        exponents, B, C = all_mimo_modes(system)
        states = system.states
        # Of a pair both members are kept, of a real pole one with its whole weight.
        kept = torch.stack([states > 0, states == 2], -1).flatten(-2)
        C = torch.where(torch.stack([states == 1] * 2, -1).flatten(-2)[:, None, :], 2 * C, C)
        index = torch.argsort((~kept).long(), dim=1, stable=True)[:, :order]
        if index.shape[1] < order:
            missing = index.new_zeros(len(index), order - index.shape[1])
            index = torch.cat([index, missing], 1)
        place = torch.arange(order, device=index.device)
        idle = place >= kept.sum(1, keepdim=True)
        exponents, B, C = (
            exponents.gather(1, index),
            B.gather(1, index[..., None].expand(-1, -1, B.shape[-1])),
            C.gather(2, index[:, None, :].expand(-1, C.shape[1], -1)),
        )
        rungs = -(1 + place).to(exponents)
        return ReducedModes(
            torch.where(idle, rungs.expand_as(exponents), exponents),
            torch.where(idle[..., None], torch.ones_like(B), B),
            torch.where(idle[:, None, :], torch.zeros_like(C), C),
        )

    def select(self, index: Tensor) -> "ReducedModes":
        """Return the systems of an index."""
        return ReducedModes(self.exponents[index], self.B[index], self.C[index])

    def put(self, index: Tensor, other: "ReducedModes") -> "ReducedModes":
        """Return a copy in which the systems at an index are those of ``other``."""
        return ReducedModes(
            self.exponents.index_copy(0, index, other.exponents),
            self.B.index_copy(0, index, other.B),
            self.C.index_copy(0, index, other.C),
        )

    def to_system(self, full: ModalSystem) -> SISOSystem | MIMOSystem:
        """Return the bank with the feedthrough, and of the kind, of the full one."""
        if isinstance(full, MIMOSystem):
            many = pack_mimo_modes(self.exponents, self.B, self.C, full.D, time=full.time)
            return without_silent_modes(many)
        residues = self.B[..., 0] * self.C[:, 0]
        return without_silent_modes(pack_modes(self.exponents, residues, full.D, time=full.time))


def _real_basis(rows: Tensor, exponents: Tensor) -> Tensor:
    """Return an orthonormal real basis, ``(K, 2n, r)``, of conjugate-closed ``(K, r, 2, n)``."""
    first, second = rows.unbind(2)
    total, difference = first + second, first - second
    # Of a pair the first column gives its real and the second its imaginary part.
    lower = (exponents.imag < 0)[..., None]
    real = torch.where(lower, total.imag, total.real)
    imaginary = torch.where(lower, -difference.real, difference.imag)
    return torch.linalg.qr(torch.cat([real, imaginary], 2).mT).Q


def project(full: FullModes, reduced: ReducedModes) -> tuple[ReducedModes, Tensor]:
    """Return the projection of the full systems that the reduced ones define: one iteration.

    Returns
    -------
    projected, sound
        The second says, ``(K,)``, for which systems the projection exists.
    """
    time, order = full.time, reduced.exponents.shape[1]
    mirrored = Exponentials.of(reduced.exponents.conj().resolve_conj())
    (phi,) = stacked_pair_moments(full.exponents, mirrored, 1, time=time, horizon=full.horizon)
    right = (reduced.B.conj() @ full.B).view_as(phi) * phi
    left = (reduced.C.mT @ full.C.conj()).view_as(phi) * phi.conj()
    V, W = _real_basis(right, reduced.exponents), _real_basis(left, reduced.exponents)
    upper, lower = V.mT.chunk(2, 2)
    real, imaginary = full.diagonal.real[:, None], full.diagonal.imag[:, None]
    AV = torch.cat([real * upper - imaginary * lower, imaginary * upper + real * lower], 2).mT
    solved, _ = torch.linalg.solve_ex(W.mT @ V, W.mT @ torch.cat([AV, full.controls], 2))
    increment, controls = solved[..., :order], solved[..., order:]
    sound = torch.isfinite(increment).all(2).all(1)
    increment = torch.where(sound[:, None, None], increment, torch.zeros_like(increment))
    values, vectors = eigen(increment)
    B_r, _ = torch.linalg.solve_ex(vectors, controls.to(values.dtype))
    C_r = (full.outputs @ V).to(values.dtype) @ vectors
    exponents = values
    if time == "discrete":
        exponents = torch.log1p(values)
        on_axis = torch.complex(exponents.real, exponents.imag.abs())
        exponents = torch.where(values.imag == 0, on_axis, exponents)
    decay = exponents.real.abs().clamp_min(LEAST_DECAY)
    if time == "discrete":
        decay = decay.clamp_max(MOST_DECAY)
    exponents = torch.complex(-decay, exponents.imag)
    sound = sound & torch.isfinite(torch.view_as_real(B_r)).all(-1).all(-1).all(-1)
    return ReducedModes(exponents, B_r, C_r), sound
