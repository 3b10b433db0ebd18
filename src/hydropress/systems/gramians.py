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

from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.moments import Exponentials, Time, expm1, pair_moments, wrap_phase

EXACT_INPUTS = 8
"""Up to so many inputs a Gramian is factored entry by entry; beyond, its eigenvalues below 10⁻¹⁶ of
the largest are lost, and with them Hankel singular values below 10⁻⁸ of the largest."""


def all_modes(system: SISOSystem) -> tuple[Tensor, Tensor]:
    """Write out both members of every pair.

    Returns
    -------
    exponents, residues
        complex128, shape ``(..., 2n)``; entry i and its conjugate are neighbours.  A real pole
        stands twice with half its residue, an empty entry has residue 0.
    """
    return _both(system.exponents, -1), _both(system.residues * system.states / 2, -1)


def all_mimo_modes(system: ModalSystem) -> tuple[Tensor, Tensor, Tensor]:
    """Write out both members of every pair of a system with any number of inputs and outputs.

    Returns
    -------
    exponents, B, C
        complex128, shapes ``(..., 2n)``, ``(..., 2n, M)``, ``(..., P, 2n)``, arranged as in
        :func:`all_modes`; C carries the weight 1/2 of a real pole's two halves.  A SISO system has
        B = 1 and C = ρ.
    """
    if isinstance(system, MIMOSystem):
        outputs = system.C * (system.states / 2)[..., None, :]
        return _both(system.exponents, -1), _both(system.B, -2), _both(outputs, -1)
    assert isinstance(system, SISOSystem)
    exponents, residues = all_modes(system)
    return exponents, torch.ones_like(residues)[..., None], residues[..., None, :]


def _both(values: Tensor, axis: int) -> Tensor:
    """Interleave values with their conjugates along the last axis or the one before."""
    return torch.stack([values, values.conj()], dim=axis).flatten(axis - 1, axis)


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
    return _cholesky(exponents, _uniform_gramian(exponents, time, None), time)


def _cholesky(exponents: Tensor, kernel: Tensor, time: Time) -> Tensor:
    differences = exponents[..., :, None] - exponents[..., None, :]
    if time == "discrete":
        # (a_i - a_j) / (1 - a_i ā_j), whose common phase a_j is kept: it cancels in L L^H only
        # if every row carries the same.
        poles = torch.exp(exponents)[..., None, :]
        ratio = poles * expm1(wrap_phase(differences)) * kernel
    else:
        ratio = -differences * kernel
    weight = torch.rsqrt(kernel.diagonal(dim1=-2, dim2=-1).real)
    products = torch.cumprod(ratio, dim=-1)
    shifted = torch.cat([torch.ones_like(products[..., :1]), products[..., :-1]], dim=-1)
    return torch.tril(weight[..., None, :] * kernel * shifted)


def controllability_gramian(system: ModalSystem, horizon: float | None = None) -> Tensor:
    """Return P, with A P A^H - P + B B^H = 0 (discrete) or A P + P A^H + B B^H = 0.

    Coordinates are the modes with both members of a pair written out (:func:`all_mimo_modes`),
    those of a SISO system with B = 1.

    Parameters
    ----------
    horizon
        If given, the sum or integral that defines P stops there: at so many samples of the impulse
        response, with a delay one of the modes less.

    Returns
    -------
    Tensor
        Hermitian, complex128, shape ``(..., 2n, 2n)``.
    """
    system.require_finite_norm(horizon)
    exponents, B, _ = all_mimo_modes(system)
    seen = system.horizon_of_modes(horizon)
    return (B @ B.mH) * _uniform_gramian(exponents, system.time, seen)


def observability_gramian(system: ModalSystem, horizon: float | None = None) -> Tensor:
    """Return Q, with A^H Q A - Q + C^H C = 0 (discrete) or A^H Q + Q A + C^H C = 0.

    Coordinates and arguments as in :func:`controllability_gramian`.
    """
    system.require_finite_norm(horizon)
    exponents, _, C = all_mimo_modes(system)
    seen = system.horizon_of_modes(horizon)
    return (C.mH @ C) * _uniform_gramian(exponents, system.time, seen).conj()


def _uniform_gramian(exponents: Tensor, time: Time, horizon: float | None) -> Tensor:
    """Return φ_0(s_i + s̄_j), the controllability Gramian for B = 1."""
    modes = Exponentials.of(exponents)
    _, (mixed,) = pair_moments(modes, modes, 1, time=time, horizon=horizon)
    return mixed.mT


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


def _gramian_factor(rows: Tensor, gramian: Tensor, factor: Tensor | None) -> Tensor:
    """Return Z ``(..., 2n, c)`` with Z Z^H = (rows rows^H) ∘ gramian.

    Parameters
    ----------
    factor
        That of the Gramian, if there is one: the result is then right entry by entry.
    """
    if factor is not None and rows.shape[-1] <= EXACT_INPUTS:
        return (rows[..., :, :, None] * factor[..., :, None, :]).flatten(-2)
    values, vectors = torch.linalg.eigh((rows @ rows.mH) * gramian)
    return vectors * values.clamp_min(0).sqrt()[..., None, :]


def real_gramian_factors(
    system: ModalSystem, horizon: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return real Z_P, Z_Q with P = Z_P Z_P^T and Q = Z_Q Z_Q^T in real modal coordinates.

    Real modal coordinates: two states an entry, A = [[Re a, -Im a], [Im a, Re a]],
    B = √2 (Re b, Im b), C = m/√2 (Re c, -Im c).  The second state of a real pole is decoupled and
    zero.

    Parameters
    ----------
    horizon
        If given, the Gramians are those of the first samples or time units, as in
        :func:`controllability_gramian`.

    Returns
    -------
    Z_P, Z_Q
        float64, shape ``(..., 2n, 2n)``.

    Notes
    -----
    Small Hankel singular values keep their digits for up to eight inputs or outputs on an infinite
    horizon; otherwise those below 10⁻⁸ of the largest are rounding.
    """
    system.require_finite_norm(horizon)
    exponents, B, C = all_mimo_modes(system)
    gramian = _uniform_gramian(exponents, system.time, system.horizon_of_modes(horizon))
    factor = _cholesky(exponents, gramian, system.time) if horizon is None else None
    controlling = _gramian_factor(B, gramian, factor)
    observing = _gramian_factor(C.mT, gramian, factor).conj()
    return _real_rows(controlling), _real_rows(observing)


def hankel_singular_values(system: ModalSystem, horizon: float | None = None) -> Tensor:
    """Return the Hankel singular values, from the SVD of the product of Gramian factors.

    Parameters
    ----------
    horizon
        If given, the time-limited ones: of the Gramians over that many samples or time units, as
        in :func:`controllability_gramian`.

    Returns
    -------
    Tensor
        float64, descending, shape ``(..., 2n)``; the last are zero where the order is below 2n.

    Raises
    ------
    UnstableSystemError
        If a pole does not decay and no horizon is given.

    References
    ----------
    [moore1981]; [antoulas2005], chapter 7; time-limited: [gawronski1990].
    """
    controllability, observability = real_gramian_factors(system, horizon)
    return torch.linalg.svdvals(observability.mT @ controllability)
