"""Objectives on samples: a weighted spectrum, or the covariance of measured inputs."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.reduction.iterate import Iterate
from hydropress.reduction.objective import Evaluation, Objective


def mode_samples(exponents: Tensor, length: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return e^{st} at t = 0, …, L - 1, shape ``(…, L)``, with about 2√L exponentials a mode."""
    fine = max(1, int(length**0.5))
    coarse = -(-length // fine)
    steps = torch.arange(max(fine, coarse), dtype=torch.float64, device=exponents.device)
    rough = torch.exp(exponents[..., None] * (fine * steps[:coarse]))
    exact = torch.exp(exponents[..., None] * steps[:fine])
    if dtype == torch.float32:
        rough, exact = rough.to(torch.complex64), exact.to(torch.complex64)
    return (rough[..., :, None] * exact[..., None, :]).flatten(-2)[..., :length]


def _split_atoms(samples: Tensor) -> Tensor:
    """Return c = Re(·) and q = Re(i ·) side by side on a new last axis."""
    return torch.stack([samples.real, -samples.imag], -1)


@dataclass(frozen=True)
class KernelObjective(Objective):
    """Error of the output on a finite window of measured inputs.

    For a channel fed with u and followed by y = k * u + D u + b on 0 ≤ t < L, with h the reduced
    kernel (h[0] includes D), the mean squared output error is a quadratic function of h's L
    samples.  Written with a factor of its matrix,

        error = (‖F h - g‖² + constant) / energy of the output.

    Several systems may be optimised from many starts: ``rows`` says which factor each uses, so
    that factors are never copied.

    Attributes
    ----------
    factors
        F, shape ``(S, r, L)``; the products with it run in its precision.
    targets
        g, shape ``(S, r)``.
    constants
        What no kernel can explain, shape ``(S,)``.
    output_energies
        Shape ``(S,)``.
    rows
        Index into the first axis of the above, shape ``(K,)``.
    energy
        ‖k‖² of the full systems, shape ``(K,)``.
    """

    factors: Tensor
    targets: Tensor
    constants: Tensor
    output_energies: Tensor
    rows: Tensor
    energy: Tensor
    fits_feedthrough: bool = True

    def select(self, index: Tensor) -> "KernelObjective":
        return replace(self, rows=self.rows[index], energy=self.energy[index])

    @property
    def _length(self) -> int:
        return self.factors.shape[2]

    def _samples(self, exponents: Tensor) -> Tensor:
        return mode_samples(exponents, self._length, self.factors.dtype)

    def _times(self) -> Tensor:
        return torch.arange(self._length, dtype=self.factors.dtype, device=self.factors.device)

    def _apply_factors(self, columns: Tensor) -> Tensor:
        """Return F @ columns, ``(K, L, p)`` to ``(K, r, p)``, one product per distinct system."""
        result = columns.new_empty(len(columns), self.factors.shape[1], columns.shape[2])
        for row in self.rows.unique().tolist():
            members = torch.nonzero(self.rows == row)[:, 0]
            wide = columns[members].permute(1, 0, 2).flatten(1)
            product = self.factors[row] @ wide
            result[members] = product.unflatten(1, (len(members), -1)).permute(1, 0, 2)
        return result

    def _residual_kernel(self, residual: Tensor) -> Tensor:
        """Return F^T residual, ``(K, r)`` to ``(K, L)``, over the energy of the output."""
        scaled = (residual / self.output_energies[self.rows][:, None]).to(self.factors.dtype)
        result = scaled.new_empty(len(scaled), self._length)
        for row in self.rows.unique().tolist():
            members = torch.nonzero(self.rows == row)[:, 0]
            result[members] = scaled[members] @ self.factors[row]
        return result

    def _residual(self, iterate: Iterate) -> tuple[Tensor, Tensor, Tensor]:
        samples = self._samples(iterate.exponents)
        atoms = torch.cat([_split_atoms(samples), _split_atoms(samples * self._times())], -1)
        columns = self._apply_factors(atoms.permute(0, 2, 1, 3).flatten(2)).double()
        columns = columns.unflatten(2, (-1, 4))
        weights = torch.view_as_real(iterate.residues * iterate.states)
        prediction = torch.einsum("krma,kma->kr", columns[..., :2], weights)
        first = self.factors[self.rows, :, 0]
        residual = self.targets[self.rows] - prediction - first * iterate.D[:, None]
        return samples, columns, residual

    def evaluate(self, iterate: Iterate) -> Evaluation:
        samples, columns, residual = self._residual(iterate)
        scale = self.output_energies[self.rows]
        back = self._residual_kernel(residual)[:, None, :] * samples
        times = self._times()
        moments = torch.stack([(back * times**j).sum(-1) for j in range(3)], -1)
        flat = columns.flatten(2)
        gram = (flat.mT @ flat) / scale[:, None, None]
        m = iterate.states.shape[1]
        first = self.factors[self.rows, :, 0].double()
        cross = torch.einsum("kr,krma->kma", first, columns) / scale[:, None, None]
        squared = (residual**2).sum(-1) + self.constants[self.rows]
        return Evaluation(
            squared / scale,
            moments.to(torch.complex128),
            gram.reshape(-1, m, 4, m, 4),
            (first * residual).sum(-1) / scale,
            (first**2).sum(-1) / scale,
            cross,
        )

    def target_moments(self, exponents: Tensor) -> Tensor:
        return self._moments(self.targets[self.rows], exponents)

    def correlate(self, iterate: Iterate, exponents: Tensor, target: Tensor) -> Tensor:
        _, _, residual = self._residual(iterate)
        return self._moments(residual, exponents)

    def _moments(self, residual: Tensor, exponents: Tensor) -> Tensor:
        rows = [
            self._samples(candidate) @ torch.complex(kernel, torch.zeros_like(kernel))
            for candidate, kernel in zip(exponents, self._residual_kernel(residual), strict=True)
        ]
        return torch.stack(rows).to(torch.complex128)

    def pair_products(self, exponents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        products: list[Tensor] = []
        for candidate, row in zip(exponents, self.rows.tolist(), strict=True):
            samples = self._samples(candidate)
            c, q = self.factors[row] @ samples.real.T, -(self.factors[row] @ samples.imag.T)
            products.append(torch.stack([(c * c).sum(0), (c * q).sum(0), (q * q).sum(0)]))
        scaled = torch.stack(products, 1).double() / self.output_energies[self.rows][:, None]
        return scaled[0], scaled[1], scaled[2]

    def real_products(self, exponents: Tensor) -> Tensor:
        columns = self._apply_factors(self._samples(exponents).real.mT).double()
        return (columns.mT @ columns) / self.output_energies[self.rows][:, None, None]


@dataclass(frozen=True)
class SpectralObjective(Objective):
    """Error weighted by a spectrum: Σ_k W_k |T_k - G_r(e^{iω_k})|², discrete time.

    Attributes
    ----------
    frequencies
        ω, radians per sample, float64, shape ``(F,)``.
    weights
        W ≥ 0, shape ``(K, F)``; scaled so that Σ_k W_k |T_k|² = 1.
    targets
        T, complex128, shape ``(K, F)``: the full transfer functions, feedthrough left out.
    energy
        ‖k‖² of the full systems, unweighted, shape ``(K,)``.
    """

    frequencies: Tensor
    weights: Tensor
    targets: Tensor
    energy: Tensor
    fits_feedthrough: bool = False

    def select(self, index: Tensor) -> "SpectralObjective":
        return replace(
            self,
            weights=self.weights[index],
            targets=self.targets[index],
            energy=self.energy[index],
        )

    def _responses(self, exponents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the transforms of t^j e^{st} and of t^j e^{s̄t}: ``(…, F, count)`` each.

        They are φ_j(s - iω), made of one exponential per mode and one per frequency.
        """
        shift = -1j * self.frequencies
        turn, chord = torch.exp(shift), torch.expm1(shift)
        both: list[Tensor] = []
        for s in (exponents, exponents.conj().resolve_conj()):
            # e^{s-iω} - 1 = (e^s - 1) e^{-iω} + (e^{-iω} - 1), so that nothing is taken from one.
            gap = torch.expm1(s)[..., None] * turn + chord
            inverse = gap.reciprocal()
            moments = [-inverse]
            if count > 1:
                growth = gap + 1
                moments.append(growth * inverse * inverse)
                moments.append(-moments[1] * (growth + 1) * inverse)
            both.append(torch.stack(moments[:count], -1))
        return both[0], both[1]

    def _residual(self, iterate: Iterate) -> tuple[Tensor, Tensor, Tensor]:
        direct, mirrored = self._responses(iterate.exponents, 3)
        half = (iterate.residues * iterate.states / 2)[..., None]
        reduced = (half * direct[..., 0] + half.conj() * mirrored[..., 0]).sum(1)
        residual = self.targets - reduced - iterate.D[:, None]
        return direct, mirrored, residual

    def evaluate(self, iterate: Iterate) -> Evaluation:
        direct, mirrored, residual = self._residual(iterate)
        weighted = self.weights * residual
        moments = self._moments(weighted, direct, mirrored)
        c, q = (direct + mirrored) / 2, 1j * (direct - mirrored) / 2
        atoms = torch.stack([c[..., 0], q[..., 0], c[..., 1], q[..., 1]], -1)
        K, m, F, _ = atoms.shape
        columns = atoms.permute(0, 2, 1, 3).reshape(K, F, 4 * m) * self.weights.sqrt()[..., None]
        real = torch.cat([columns.real, columns.imag], 1)
        gram = (real.mT @ real).reshape(K, m, 4, m, 4)
        cross = torch.einsum("kf,kmfa->kma", self.weights, atoms.real)
        return Evaluation(
            (self.weights * residual.abs() ** 2).sum(-1),
            moments,
            gram,
            weighted.real.sum(-1),
            self.weights.sum(-1),
            cross,
        )

    @staticmethod
    def _moments(weighted: Tensor, direct: Tensor, mirrored: Tensor) -> Tensor:
        """Return E_j = ⟨e, c_j⟩ - i ⟨e, q_j⟩, with ⟨x, y⟩ = Σ W Re(x̄ y)."""
        along = torch.einsum("kf,k...fj->k...j", weighted.conj(), direct)
        against = torch.einsum("kf,k...fj->k...j", weighted, mirrored.conj())
        return (along + against) / 2

    def target_moments(self, exponents: Tensor) -> Tensor:
        return self._moments_of(self.targets, exponents)

    def correlate(self, iterate: Iterate, exponents: Tensor, target: Tensor) -> Tensor:
        _, _, residual = self._residual(iterate)
        return self._moments_of(residual, exponents)

    def _moments_of(self, residual: Tensor, exponents: Tensor) -> Tensor:
        rows: list[Tensor] = []
        for candidate, weighted in zip(exponents, self.weights * residual, strict=True):
            direct, mirrored = self._responses(candidate[None], 1)
            rows.append(self._moments(weighted[None], direct, mirrored)[0, :, 0])
        return torch.stack(rows)

    def pair_products(self, exponents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        products: list[Tensor] = []
        for candidate, weight in zip(exponents, self.weights, strict=True):
            direct, mirrored = (x[..., 0] for x in self._responses(candidate, 1))
            c, q = (direct + mirrored) / 2, 1j * (direct - mirrored) / 2
            each = [(x.conj() * y).real @ weight for x, y in ((c, c), (c, q), (q, q))]
            products.append(torch.stack(each))
        stacked = torch.stack(products, 1)
        return stacked[0], stacked[1], stacked[2]

    def real_products(self, exponents: Tensor) -> Tensor:
        direct, mirrored = self._responses(exponents, 1)
        columns = (direct + mirrored)[..., 0] / 2 * self.weights.sqrt()[:, None, :]
        real = torch.cat([columns.real, columns.imag], -1)
        return real @ real.mT
