r"""The H² error of a MIMO system by variable projection: poles and input directions, C eliminated.

For reduced modes d_j e_jᵀ e^{z_j t} with fixed z and e the best d solve a linear system,

    Σ_k Γ_jk d_k = Y_j,   Γ_jk = ⟨e_jᵀ e^{z_j t}, e_kᵀ e^{z_k t}⟩,   Y_j = ⟨e_jᵀ e^{z_j t}, G⟩,

and what is left is a function of z and e alone, whose gradient is that of the error at fixed d
[golub2003varpro].  All modes are written out, both members of a pair.  A free feedthrough is M more
modes that have decayed after the first sample.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hydropress.systems.gramians import all_mimo_modes
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.moments import Time, exponential_moments, wrap_phase

RIDGE = 1e-13
"""Added to the unit diagonal of Γ: modes that all but coincide share what they explain."""

AT_ONCE = -60.0
"""Exponent of the modes of a feedthrough: e^{-60} is nothing beside one."""


@dataclass(frozen=True)
class Products:
    """Inner products at given poles and input directions, all of r modes.

    Attributes
    ----------
    gram, cross
        Γ ``(r, r)`` and Y ``(r, P)``.
    norms
        ‖e^{z t}‖ and ‖t e^{z t}‖ in the metric, times ‖e‖ where that depends on it, ``(r,)`` each.
    """

    gram: Tensor
    cross: Tensor
    norms: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Fit:
    """Reduced modes with output directions.

    Attributes
    ----------
    error
        ‖G - G_r‖² / ‖G‖² in the metric, float64, shape ``()``.
    C
        d, complex128, shape ``(P, r)``, those of a free feedthrough last.
    by_exponent, by_input
        Derivatives of the error: dE = Re Σ ḡ dz, complex128, shapes ``(r,)`` and ``(r, M)``.
    stationarity
        The largest derivative for a direction of unit norm, over ‖G‖, shape ``()``.
    """

    error: Tensor
    C: Tensor
    by_exponent: Tensor
    by_input: Tensor
    stationarity: Tensor


def solve_outputs(gram: Tensor, cross: Tensor) -> Tensor:
    """Return Γ⁻¹ Y, scaled to a unit diagonal; zero where a mode has no norm."""
    diagonal = gram.diagonal().real
    scale = torch.where(diagonal > 0, diagonal, torch.ones_like(diagonal)).rsqrt()
    scaled = gram * scale[:, None] * scale
    ridge = torch.diag_embed(RIDGE + (diagonal <= 0).to(scaled))
    factor, info = torch.linalg.cholesky_ex(scaled + ridge)
    right = cross * scale[:, None]
    if not bool(torch.isfinite(torch.view_as_real(scaled)).all()):
        return torch.full_like(right, torch.nan)  # a step of the descent went too far
    if bool(info > 0):
        solution = torch.linalg.lstsq(scaled + ridge, right).solution
    else:
        solution = torch.cholesky_solve(right, factor)
    return solution * scale[:, None]


class TangentialObjective(ABC):
    """A metric and a target for one MIMO system."""

    energy: Tensor
    """‖G‖² in the metric, shape ``()``."""
    fits_feedthrough: bool

    @abstractmethod
    def products(self, exponents: Tensor, B: Tensor) -> Products:
        """Return what the best outputs follow from."""

    @abstractmethod
    def residual_moments(self, exponents: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        """Return d_jᴴ Σ t^k R(t) e^{z̄_j t} for k = 0 and 1, with R = G - G_r: ``(r, M)`` each."""

    def fit(
        self,
        exponents: Tensor,
        B: Tensor,
        C: Tensor | None = None,
        *,
        decay_floor: float = 0.0,
    ) -> Fit:
        """Evaluate reduced modes.

        Parameters
        ----------
        exponents, B
            Poles ``(r,)`` and input directions ``(r, M)``.
        C
            Output directions ``(P, r)``, with a fitted D as M more columns; the best if not given.
        decay_floor
            Least decay: a pole that rests on it and is pushed below it is stationary in its decay.
        """
        free = len(exponents)
        if self.fits_feedthrough:
            inputs = torch.eye(B.shape[1], dtype=B.dtype, device=B.device)
            exponents = torch.cat([exponents, torch.full_like(inputs[0], AT_ONCE)])
            B = torch.cat([B, inputs])
        products = self.products(exponents, B)
        gram, cross = products.gram, products.cross
        outputs = solve_outputs(gram, cross).mT if C is None else C
        missing = cross - gram @ outputs.mT
        explained = (outputs.mH * (cross + missing)).real.sum()
        by_input, slopes = self.residual_moments(exponents, B, outputs)
        by_input, slopes = by_input[:free], slopes[:free]
        by_exponent = (slopes * B[:free].conj()).sum(-1)
        # The error falls with a decay that falls if the derivative by Re z is negative.
        held = (-exponents[:free].real <= decay_floor * (1 + 1e-12)) & (by_exponent.real > 0)
        pull = torch.where(held, by_exponent.imag.abs(), by_exponent.abs())
        size_d = torch.linalg.vector_norm(outputs, dim=0)[:free]
        size_e = torch.linalg.vector_norm(B, dim=1)[:free]
        length = torch.where(size_e > 0, size_e, 1.0)
        floor = 1e-12 * self.energy.sqrt()
        own, slope = (norm[:free] for norm in products.norms)
        size = gram.diagonal().real.sqrt()
        relative = torch.cat(
            [
                torch.linalg.vector_norm(by_input, dim=1) / (own * size_d / length + floor),
                pull / (slope * size_d + floor),
                torch.linalg.vector_norm(missing, dim=1) / torch.where(size > 0, size, 1.0),
                self.energy.new_zeros(1),  # of no mode at all
            ]
        )
        return Fit(
            1 - explained / self.energy,
            outputs,
            -2 * by_exponent / self.energy,
            -2 * by_input / self.energy,
            relative.amax() / self.energy.sqrt(),
        )


@dataclass(frozen=True)
class ClosedFormTangential(TangentialObjective):
    """The H² error in closed form, infinite or finite horizon.

    Attributes
    ----------
    exponents, B, C
        All modes of the full system, ``(2n,)``, ``(2n, M)``, ``(P, 2n)``.
    energy
        ‖G‖², shape ``()``.
    """

    exponents: Tensor
    B: Tensor
    C: Tensor
    time: Time
    energy: Tensor
    horizon: float | None = None
    fits_feedthrough: bool = False

    @staticmethod
    def of(
        full: MIMOSystem,
        energy: Tensor,
        horizon: float | None = None,
        *,
        fits_feedthrough: bool = False,
    ) -> "ClosedFormTangential":
        """Pose the problem of one system."""
        modes = all_mimo_modes(full)
        return ClosedFormTangential(*modes, full.time, energy, horizon, fits_feedthrough)

    def _moments(self, first: Tensor, second: Tensor, count: int) -> list[Tensor]:
        sums = first.conj()[:, None] + second
        return exponential_moments(sums, count, time=self.time, horizon=self.horizon)

    def products(self, exponents: Tensor, B: Tensor) -> Products:
        (phi,) = self._moments(exponents, self.exponents, 1)
        psi, _, psi_2 = self._moments(exponents, exponents, 3)
        gram = (B.conj() @ B.mT) * psi
        size = torch.linalg.vector_norm(B, dim=1)
        norms = psi.diagonal().real.sqrt() * size, psi_2.diagonal().real.sqrt() * size
        return Products(gram, ((B.conj() @ self.B.mT) * phi) @ self.C.mT, norms)

    def residual_moments(self, exponents: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        full_outputs, own_outputs = C.mH @ self.C, C.mH @ C
        phi = self._moments(exponents, self.exponents, 2)
        psi = self._moments(exponents, exponents, 2)
        value, slope = (
            (full_outputs * target) @ self.B - (own_outputs * own) @ B
            for target, own in zip(phi, psi, strict=True)
        )
        return value, slope


@dataclass(frozen=True)
class SpectralTangential(TangentialObjective):
    """Error weighted by an input cross-spectrum: Σ_k tr E_k S_k E_kᴴ, E = G - G_r, discrete time.

    Attributes
    ----------
    frequencies
        ω, radians per sample, and -ω, shape ``(2F,)``.
    factors
        L with S/2 = L Lᴴ, shape ``(2F, M, M)``.
    targets
        (G - D) L, shape ``(2F, P, M)``.
    """

    frequencies: Tensor
    factors: Tensor
    targets: Tensor
    fits_feedthrough: bool = False

    @staticmethod
    def of(
        full: MIMOSystem,
        frequencies: Tensor,
        spectra: Tensor,
        *,
        fits_feedthrough: bool = False,
    ) -> "SpectralTangential":
        """Pose the problem of one system for spectra S of shape ``(F, M, M)``, Hermitian."""
        values, vectors = torch.linalg.eigh(spectra.to(torch.complex128))
        half = vectors * (values.clamp_min(0) / 2).sqrt()[:, None, :]
        response = full.transfer_function(torch.exp(1j * frequencies)) - full.D
        target = response @ half
        # A real system's response at -ω is the conjugate: outputs come out conjugate-closed.
        return SpectralTangential(
            torch.cat([frequencies, -frequencies]),
            torch.cat([half, half.conj()]),
            torch.cat([target, target.conj()]),
            fits_feedthrough,
        )

    @cached_property
    def energy(self) -> Tensor:  # type: ignore[override]
        total = self.targets.abs().square().sum()
        return torch.where(total > 0, total, torch.ones_like(total))

    def error_of(self, system: MIMOSystem, D: Tensor) -> Tensor:
        """Return the relative error of a system for a full one of feedthrough D, as it stands."""
        response = system.transfer_function(torch.exp(1j * self.frequencies)) - D
        missed = self.targets - response @ self.factors
        return torch.linalg.vector_norm(missed) / self.energy.sqrt()

    def _responses(self, exponents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the transforms of e^{zt} and t e^{zt}, ``(2F, r)`` each."""
        shifted = wrap_phase(exponents - 1j * self.frequencies[:, None])
        inverse = -1 / torch.expm1(shifted)
        return inverse, torch.exp(shifted) * inverse * inverse

    def products(self, exponents: Tensor, B: Tensor) -> Products:
        rows = B @ self.factors
        value, slope = self._responses(exponents)
        shaped = rows * value[..., None]
        flat = shaped.transpose(0, 1).flatten(1)
        cross = torch.einsum("frm,fpm->rp", shaped.conj(), self.targets)
        size = torch.linalg.vector_norm(flat, dim=1)
        slopes = torch.linalg.vector_norm(
            (rows * slope[..., None]).transpose(0, 1).flatten(1), dim=1
        )
        return Products(flat.conj() @ flat.mT, cross, (size, slopes))

    def residual_moments(self, exponents: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self._responses(exponents)
        shaped = (B @ self.factors) * value[..., None]
        residual = self.targets - C @ shaped
        back = (C.mH @ residual) @ self.factors.mH
        first, second = (torch.einsum("fr,frm->rm", shape.conj(), back) for shape in (value, slope))
        return first, second
