r"""Gramians of modal systems, factored without forming what would cancel.

With every conjugate pair written out, a modal system has A diagonal, B = 1 and C = ρ.  Its
controllability Gramian P_ij = φ_0(s_i + s̄_j) is a Cauchy-like matrix, whose Cholesky factor is a
product of differences of poles (the coefficients of the modes in the orthonormal Takenaka-Malmquist
basis):

    P = L L^H,   L_ik = √p_k · φ_0(s_i + s̄_k) · Π_{j<k} (a_i - a_j) / (1 - a_i ā_j),   k ≤ i,

with p_k = 1 / φ_0(2 Re s_k).  Each entry is right to working precision however close the poles lie
to each other or to the boundary, so norms of differences and small Hankel singular values keep
their digits.
"""

import torch
from torch import Tensor

from hydropress.systems.modal import SISOSystem
from hydropress.systems.moments import Time, exponential_moments, wrap_phase


def all_modes(system: SISOSystem) -> tuple[Tensor, Tensor]:
    """Write out both members of every pair.

    Returns
    -------
    exponents, residues
        complex128, shape ``(..., 2n)``; entry i and its conjugate are neighbours.  A real pole
        stands twice with half its residue, an empty entry has residue 0.
    """
    half = system.residues * system.states / 2
    exponents = torch.stack([system.exponents, system.exponents.conj()], dim=-1).flatten(-2)
    return exponents, torch.stack([half, half.conj()], dim=-1).flatten(-2)


def controllability_factor(exponents: Tensor, time: Time) -> Tensor:
    """Return the Cholesky factor L of P_ij = φ_0(s_i + s̄_j), infinite horizon.

    Parameters
    ----------
    exponents
        Complex, shape ``(..., n)``, all with Re s < 0.

    Returns
    -------
    Tensor
        Lower triangular, complex128, shape ``(..., n, n)``.  A repeated pole gives a zero on the
        diagonal.
    """
    sums = exponents[..., :, None] + exponents.conj()[..., None, :]
    differences = exponents[..., :, None] - exponents[..., None, :]
    (kernel,) = exponential_moments(sums, 1, time=time)
    if time == "discrete":
        # (a_i - a_j) / (1 - a_i ā_j), whose common phase a_j is kept: it cancels in L L^H only
        # if every row carries the same.
        poles = torch.exp(exponents)[..., None, :]
        ratio = poles * torch.expm1(wrap_phase(differences)) * kernel
    else:
        ratio = -differences * kernel
    weight = torch.rsqrt(kernel.diagonal(dim1=-2, dim2=-1).real)
    products = torch.cumprod(ratio, dim=-1)
    shifted = torch.cat([torch.ones_like(products[..., :1]), products[..., :-1]], dim=-1)
    return torch.tril(weight[..., None, :] * kernel * shifted)


def controllability_gramian(system: SISOSystem, horizon: float | None = None) -> Tensor:
    """Return P, with A P A^H - P + B B^H = 0 (discrete) or A P + P A^H + B B^H = 0.

    Coordinates are the modes with both members of a pair written out (:func:`all_modes`), B = 1.

    Parameters
    ----------
    horizon
        If given, the sum or integral that defines P stops there.

    Returns
    -------
    Tensor
        Hermitian, complex128, shape ``(..., 2n, 2n)``.
    """
    system.require_finite_norm(horizon)
    exponents, _ = all_modes(system)
    sums = exponents[..., :, None] + exponents.conj()[..., None, :]
    return exponential_moments(sums, 1, time=system.time, horizon=horizon)[0]


def observability_gramian(system: SISOSystem, horizon: float | None = None) -> Tensor:
    """Return Q, with A^H Q A - Q + C^H C = 0 (discrete) or A^H Q + Q A + C^H C = 0, C = ρ.

    Coordinates and arguments as in :func:`controllability_gramian`.
    """
    _, residues = all_modes(system)
    gramian = controllability_gramian(system, horizon).conj()
    return residues.conj()[..., :, None] * gramian * residues[..., None, :]


def _real_rows(factor: Tensor) -> Tensor:
    """Turn a factor in conjugate coordinates into a real one of the same real Gramian.

    The coordinates (x, x̄) of a pair become ((x + x̄)/√2, (x - x̄)/(√2 i)), and F F^H, real then,
    equals R^T R with R from the QR decomposition of [Re F, Im F]^T.
    """
    first, second = factor[..., 0::2, :], factor[..., 1::2, :]
    root = 2**-0.5
    rotated = torch.stack([(first + second) * root, (first - second) * (-1j * root)], dim=-2)
    rotated = rotated.flatten(-3, -2)
    stacked = torch.cat([rotated.real, rotated.imag], dim=-1)
    return torch.linalg.qr(stacked.mT, mode="r").R.mT


def real_gramian_factors(system: SISOSystem) -> tuple[Tensor, Tensor]:
    """Return real Z_P, Z_Q with P = Z_P Z_P^T and Q = Z_Q Z_Q^T in real modal coordinates.

    Real modal coordinates: two states an entry, A = [[Re a, -Im a], [Im a, Re a]], B = (√2, 0),
    C = m/√2 (Re ρ, -Im ρ).  The second state of a real pole is decoupled and zero.

    Returns
    -------
    Z_P, Z_Q
        float64, shape ``(..., 2n, 2n)``.
    """
    system.require_stable()
    exponents, residues = all_modes(system)
    factor = controllability_factor(exponents, system.time)
    observing = residues.conj()[..., :, None] * factor.conj()
    return _real_rows(factor), _real_rows(observing)


def hankel_singular_values(system: SISOSystem) -> Tensor:
    """Return the Hankel singular values, from the SVD of the product of Gramian factors.

    Returns
    -------
    Tensor
        float64, descending, shape ``(..., 2n)``; the last are zero where the order is below 2n.

    Raises
    ------
    UnstableSystemError
        If a pole does not decay.

    References
    ----------
    [moore1981]; [antoulas2005], chapter 7.
    """
    controllability, observability = real_gramian_factors(system)
    return torch.linalg.svdvals(observability.mT @ controllability)
