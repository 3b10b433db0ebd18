"""H² inner products in closed form; norms and errors as sums of squares, which cannot cancel."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.assembly import difference
from hydropress.systems.delay import require_same_delay
from hydropress.systems.gramians import all_mimo_modes, all_modes, controllability_factor
from hydropress.systems.kernels import modal_kernel
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.moments import Exponentials, exponential_moments, pair_moments

_NODES = 16
_PANEL = 4.0
"""Gauss nodes a panel, and the largest |s| times its width: the rule is exact to rounding."""

_MOST_PANELS = 2**18
"""Four million samples of every system: some seconds."""


_SYSTEMS_AT_ONCE = 32
"""Their Gramians stay in the cache: twice as fast as all of a large bank (measured)."""

_TRUSTED = 1e-5
"""Share of the squared terms that may be left of a difference of them: eleven digits of it are."""

_ENTRIES_AT_ONCE = 2**24
"""Of intermediate matrices: 256 MB in complex128."""


def require_comparable(first: ModalSystem, second: ModalSystem, horizon: float | None) -> None:
    """Raise unless the difference of two systems has a norm over a horizon."""
    if isinstance(first, MIMOSystem) != isinstance(second, MIMOSystem) or (
        isinstance(first, MIMOSystem) and first.D.shape[-2:] != second.D.shape[-2:]
    ):
        raise InvalidArgumentError(
            f"systems with feedthroughs of shapes {tuple(first.D.shape)} and "
            f"{tuple(second.D.shape)}; required: the same inputs and outputs"
        )
    if first.time != second.time:
        raise InvalidArgumentError(
            f"a {first.time}-time and a {second.time}-time system; required: the same time"
        )
    require_same_delay(first, second)
    try:
        torch.broadcast_shapes(first.batch_shape, second.batch_shape)
    except RuntimeError as error:
        raise InvalidArgumentError(
            f"systems of batch shapes {tuple(first.batch_shape)} and {tuple(second.batch_shape)}; "
            "required: shapes that broadcast; index or reshape one of them"
        ) from error
    first.require_finite_norm(horizon)
    second.require_finite_norm(horizon)


def h2_inner_product(
    first: ModalSystem, second: ModalSystem, *, horizon: float | None = None
) -> Tensor:
    r"""Return ⟨k, l⟩ = Σ_t tr k[t]ᵀ l[t] or ∫ tr k(t)ᵀ l(t) dt, without D.

    Parameters
    ----------
    first, second
        Banks of broadcastable batch shapes and the same delay.
    horizon
        Number of samples L or duration T; ``None`` for infinite.

    Returns
    -------
    Tensor
        float64, shape ``(...)``.  Differentiable in exponents and residues.

    Raises
    ------
    UnstableSystemError
        If a pole does not decay and no horizon is given.
    InvalidArgumentError
        If the systems differ in time, delay or shape, or the horizon is not positive.
    """
    require_comparable(first, second, horizon)
    horizon = first.horizon_of_modes(horizon)
    if isinstance(first, SISOSystem) and isinstance(second, SISOSystem):
        left = (first.residues * first.states)[..., :, None]
        right = (second.residues * second.states)[..., None, :]
        s, z = first.exponents[..., :, None], second.exponents[..., None, :]
        (same,) = exponential_moments(s + z, 1, time=first.time, horizon=horizon)
        (mixed,) = exponential_moments(s + z.conj(), 1, time=first.time, horizon=horizon)
        return (left * right * same + left * right.conj() * mixed).real.sum((-2, -1)) / 2
    return _mimo_products(first, second, horizon).sum((-2, -1))


def _mimo_products(first: ModalSystem, second: ModalSystem, horizon: float | None) -> Tensor:
    """Return Re (c_iᴴ c'_j) (b_iᴴ b'_j) φ_0(s̄_i + z_j) of all modes, ``(..., 2n, 2m)``."""
    s, B, C = all_mimo_modes(first)
    z, B_other, C_other = all_mimo_modes(second)
    sums = s.conj()[..., :, None] + z[..., None, :]
    (phi,) = exponential_moments(sums, 1, time=first.time, horizon=horizon)
    return ((C.mH @ C_other) * (B.conj() @ B_other.mT) * phi).real


def h2_norm(system: ModalSystem, *, horizon: float | None = None) -> Tensor:
    r"""Return the H² norm √(Σ_t ‖k[t]‖²) or √(∫ ‖k(t)‖² dt), without D.

    Parameters
    ----------
    horizon
        Number of samples L or duration T; ``None`` for infinite.  With a delay the first of the
        samples is 0.

    Returns
    -------
    Tensor
        float64, shape ``(...)``.

    Raises
    ------
    UnstableSystemError
        If a pole does not decay and no horizon is given.

    Notes
    -----
    On the infinite horizon the closed form is used as long as it does not cancel.  Where it does,
    the norm is ‖L^T ρ‖ with the Cholesky factor of the Gramian
    (:func:`~hydropress.systems.gramians.controllability_factor`): a sum of squares, in which
    nothing is subtracted from anything larger than the kernel itself.  On a finite horizon the
    kernel is sampled, in continuous time at the nodes of Gauss quadratures: also a sum of squares.
    Only where a continuous horizon spans more than a million time constants or radians of the
    fastest mode is the closed form used, in which an error below 10⁻⁷ of the kernel is lost.

    Of a MIMO system the closed form is used as long as it does not cancel, and the above, whose
    cost grows with n² P M, where it does.
    """
    system.require_finite_norm(horizon)
    if isinstance(system, MIMOSystem):
        flat = system.reshape(-1)
        seen = system.horizon_of_modes(horizon)
        norms = [_mimo_norm(flat[index], seen) for index in range(len(flat.D))]
        if not norms:
            return flat.D.new_zeros(system.batch_shape)
        return torch.stack(norms).reshape(system.batch_shape)
    assert isinstance(system, SISOSystem)
    if horizon is None:
        flat = system.reshape(-1)
        parts = torch.arange(len(flat.D), device=flat.D.device).split(_SYSTEMS_AT_ONCE)
        return torch.cat([_infinite_norm(flat[part]) for part in parts]).reshape(system.batch_shape)
    if system.time == "discrete":
        kernel = system.impulse_response(int(horizon))
        return torch.linalg.vector_norm(kernel, dim=-1)
    panels = _panels(system, horizon)
    if panels <= _MOST_PANELS:
        return _norm_by_quadrature(system, horizon, panels)
    return _root(h2_inner_product(system, system, horizon=horizon))


def _root(energy: Tensor) -> Tensor:
    """Return the square root, 0 with no gradient where nothing is left but rounding."""
    positive = energy > 0
    return torch.where(positive, torch.where(positive, energy, 1.0).sqrt(), 0.0)


def _infinite_norm(system: SISOSystem) -> Tensor:
    """Return the norms of a flat bank: in closed form where that does not cancel."""
    weights = system.residues * system.states / 2
    modes = Exponentials.of(system.exponents)
    (same,), (mixed,) = pair_moments(modes, modes, 1, time=system.time)
    left, right = weights[..., :, None], weights[..., None, :]
    products = 2 * (left * right * same + left.conj() * right * mixed).real
    energy, size = products.sum((-2, -1)), products.abs().sum((-2, -1))
    trusted = energy > _TRUSTED * size
    norms = torch.where(trusted, energy, 1.0).sqrt()
    index = torch.nonzero(~trusted)[:, 0]
    if len(index) == 0:
        return norms
    exponents, residues = all_modes(system[index])
    factor = controllability_factor(exponents, system.time)
    exact = torch.linalg.vector_norm(factor.mT @ residues[..., None], dim=(-2, -1))
    return norms.index_copy(0, index, exact)


def _mimo_norm(system: MIMOSystem, horizon: float | None) -> Tensor:
    """Return the norm of one system."""
    products = _mimo_products(system, system, horizon)
    energy, size = products.sum(), products.abs().sum()
    by_quadrature = horizon is not None and system.time == "continuous"
    too_long = by_quadrature and _panels(system, horizon or 0.0) > _MOST_PANELS
    if too_long or bool(energy > _TRUSTED * size):
        return _root(energy)
    exponents, B, C = all_mimo_modes(system)
    if not products.requires_grad:  # the decomposition of a singular matrix has no derivative
        # Nothing changes if C and B are replaced by the triangles of their QR decompositions.
        if C.shape[0] > C.shape[1]:
            C = torch.linalg.qr(C, mode="r").R
        if B.shape[1] > B.shape[0]:
            B = torch.linalg.qr(B.mT, mode="r").R.mT
    entries = C.numel() + C.shape[0] * B.shape[1]
    parts = [
        torch.linalg.vector_norm((columns.mT[:, None, :] * C) @ B)
        for columns in _columns(system, exponents, horizon, entries)
    ]
    return torch.linalg.vector_norm(torch.stack(parts))


def _columns(
    system: MIMOSystem, exponents: Tensor, horizon: float | None, entries: int
) -> Iterator[Tensor]:
    """Yield F with F F^H = φ_0(s_i + s̄_j), a few columns at a time.

    Parameters
    ----------
    entries
        Of the intermediate results for one column.
    """
    at_once = max(1, _ENTRIES_AT_ONCE // max(1, entries))
    if horizon is None:
        yield from controllability_factor(exponents, system.time).split(at_once, 1)
        return
    if system.time == "discrete":
        times = torch.arange(int(horizon), dtype=torch.float64, device=exponents.device)
        weights = torch.ones_like(times)
    else:
        panels = _panels(system, horizon)
        places, shares = np.polynomial.legendre.leggauss(_NODES)
        starts = torch.arange(panels, dtype=torch.float64, device=exponents.device)
        width = horizon / panels
        times = (starts[:, None] + torch.as_tensor((1 + places) / 2).to(starts)).flatten() * width
        weights = torch.as_tensor(shares / 2 * width).to(starts).sqrt().repeat(panels)
    for some, root in zip(times.split(at_once), weights.split(at_once), strict=True):
        yield torch.exp(exponents[:, None] * some) * root


def _panels(system: ModalSystem, horizon: float) -> int:
    """Return how many panels of a quadrature the fastest mode needs."""
    fastest = torch.where(system.states > 0, system.exponents.detach().abs(), 0.0)
    span = float(fastest.max()) * horizon if fastest.numel() else 0.0
    return max(1, math.ceil(span / _PANEL))


def _norm_by_quadrature(system: SISOSystem, horizon: float, panels: int) -> Tensor:
    """Integrate k² from 0 to the horizon by a Gauss rule on each of so many equal panels."""
    width = horizon / panels
    places, weights = np.polynomial.legendre.leggauss(_NODES)
    parts: list[Tensor] = []
    for place, weight in zip(places.tolist(), weights.tolist(), strict=True):
        shifted = torch.exp(system.exponents * ((1 + place) / 2 * width))
        kernel = modal_kernel(
            system.exponents * width, system.residues * system.states * shifted, panels
        )
        parts.append(torch.linalg.vector_norm(kernel, dim=-1) * math.sqrt(weight / 2 * width))
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


def h2_error(full: ModalSystem, reduced: ModalSystem, *, horizon: float | None = None) -> Tensor:
    """Return ‖k - k_r‖, the norm of the difference system; arguments as in :func:`h2_norm`.

    Notes
    -----
    Right to about 16 - log10(‖k‖ / error) digits: eight at a relative error of 10⁻⁸.  The obvious
    ‖k‖² - 2⟨k, k_r⟩ + ‖k_r‖² has none left there.  A finite horizon costs log10(|s| horizon) of
    them, s the fastest undecayed mode, since phases are multiples of a rounded exponent.
    """
    require_comparable(full, reduced, horizon)
    return h2_norm(difference(full, reduced), horizon=horizon)


def relative_h2_error(
    full: ModalSystem, reduced: ModalSystem, *, horizon: float | None = None
) -> Tensor:
    """Return ‖k - k_r‖ / ‖k‖; 0 where both are zero."""
    error = h2_error(full, reduced, horizon=horizon)
    norm = h2_norm(full, horizon=horizon)
    return torch.where(error == 0, torch.zeros_like(error), error / norm)
