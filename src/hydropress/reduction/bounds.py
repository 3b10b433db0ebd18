r"""What no system of a given order can do better than."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hydropress.reduction.order_two import search_order_two
from hydropress.systems.gramians import EXACT_INPUTS, all_mimo_modes, hankel_singular_values
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.moments import exponential_moments
from hydropress.systems.norms import h2_norm

DAMPINGS = (0.1, 0.3, 1.0, 3.0)
"""γ tried, in multiples of each system's median decay; the largest bound counts."""

MOST_ROWS = 2048
"""Of a block of samples, times the outputs or inputs: 10 ms a system of 64 states."""

NODES, PANEL = 16, 4.0
"""Gauss nodes a panel, and the largest change of an exponent on it: exact to rounding."""

SEARCH_SLACK = 1e-3
"""Share of the least error of order two that the search of all models leaves open."""

SAME_FREQUENCY = 1e-9
"""Radians per sample within which two frequencies are one."""


def lower_bound(system: ModalSystem, order: int, horizon: float | None = None) -> Tensor:
    r"""Return a lower bound on ‖k - k_r‖ over all systems k_r of an order.

    Let f, g ≥ 0 be sequences with (f ∗ g)[t] ≤ 1 for every t, and σ_i the singular values of the
    weighted Hankel matrix with entries √f[i] k[i + j] √g[j].  For every k_r of order r,

        ‖k - k_r‖² ≥ Σ_{i>r} σ_i².

    Proof.  Let e = k - k_r and let H, H_r be the weighted matrices of k and k_r (of blocks, for
    several inputs and outputs).  H_r has rank r at most: k_r[i + j] = (C A^i)(A^j B), and weights
    on rows and columns add no rank.  So ‖H - H_r‖_F² ≥ Σ_{i>r} σ_i² (Eckart, Young, Mirsky).  The
    sample e[t] stands on the places of an antidiagonal, so ‖H - H_r‖_F² = Σ_t (f ∗ g)[t] ‖e[t]‖²,
    which is at most ‖e‖².  In continuous time H is an integral operator, and the same holds of
    (f ∗ g)(t) = ∫ f(x) g(t - x) dx.  ∎

    For scalar systems on an infinite horizon and orders one and two, a search of all models of
    order two (:mod:`hydropress.reduction.order_two`) gives a bound within 0.1 % of what the best
    one leaves; the larger counts.

    On an infinite horizon two kinds are tried.  f = g = binom(2i, i)/4^i, whose convolution with
    itself is 1 everywhere (their generating function is (1 - z)^{-1/2}; in continuous time
    f = 1/√(πx)): ‖H‖_F = ‖k‖, so that the bound of order 0 is the error.  And damped ones,
    f = g = e^{-2γi} over the root of max_t (t + 1) e^{-2γt} (or of max_t t e^{-2γt}), which see
    small values better.

    On a finite horizon L the matrix is p x q with p + q - 1 = L, so that it holds no sample beyond.
    f and g are the above, the same from the last sample backwards, and constant: each sample stands
    on min(p, q) places at most, so f = g = min(p, q)^{-1/2} will do.  In continuous time p + q = L,
    and the integrals are sums over Gauss nodes, to rounding.

    Parameters
    ----------
    system
        Stable unless there is a horizon, of any batch shape ``(...)``.
    order
        r.
    horizon
        Samples or time units that count; ``None`` for all.

    Returns
    -------
    Tensor
        float64, shape ``(...)``; the best of those tried.

    Notes
    -----
    What may be rounding in a singular value is taken off it.  A long horizon is cut to what
    ``MOST_ROWS`` rows hold: the error over fewer samples is no larger.
    """
    flat = system.reshape(-1)
    if not flat.num_poles:
        return system.exponents.real.new_zeros(system.batch_shape)
    if horizon is not None:
        bounds = [_horizon_bound(flat[row], order, horizon) for row in range(len(flat.D))]
        found = torch.stack(bounds) if bounds else flat.exponents.real.new_zeros(0)
    else:
        found = torch.maximum(_damped_bound(flat, order), _even_bound(flat, order))
        if isinstance(flat, SISOSystem) and order in (1, 2):
            found = torch.maximum(found, _searched_bound(flat))
    return found.reshape(system.batch_shape)


def spectral_lower_bound(
    system: ModalSystem, order: int, frequencies: Tensor, weights: Tensor, *, free: bool = False
) -> Tensor:
    r"""Return a lower bound on √(Σ_k W_k |E(e^{iω_k})|²) over all systems of an order.

    It exists where the frequencies and their mirrors -ω are all N-th roots of 1 or of -1.  The
    spectrum is at least its smallest value there, and of the plain sum over the N points

        Σ_k |E(e^{iω_k})|² = N Σ_{t<N} |ẽ[t]|²,   ẽ[t] = Σ_m (±1)^m e[t + mN],

    the folded kernel ẽ of a system of order r is one of order r too, C A^t (I ∓ A^N)⁻¹ B: the bound
    of :func:`lower_bound` on the horizon N holds of it.

    Parameters
    ----------
    system
        Discrete-time, stable, batch shape ``(K,)``.
    frequencies, weights
        ω ``(F,)`` and W ``(K, F)`` or ``(F,)``; of a cross-spectrum its least eigenvalues.
    free
        Whether D is free, which takes the first sample off ẽ.

    Returns
    -------
    Tensor
        float64, shape ``(K,)``; NaN on other frequencies.
    """
    count = len(system.D)
    grid = _roots_of_unity(frequencies.to(torch.float64), weights.to(torch.float64))
    if grid is None:
        return torch.full((count,), torch.nan, dtype=torch.float64, device=system.D.device)
    points, sign, least = grid
    folded = _folded(system, points, sign)
    if free:
        folded = _scaled(folded, folded.poles)
    if points - free == 0:
        return torch.zeros(count, dtype=torch.float64, device=system.D.device)
    return lower_bound(folded, order, points - free) * (points * least).sqrt()


def _roots_of_unity(frequencies: Tensor, weights: Tensor) -> tuple[int, int, Tensor] | None:
    """Return N, whether the points are roots of 1 or -1, and the least weight of one.

    A weight at ω counts half there and half at -ω.
    """
    angles = torch.remainder(torch.cat([frequencies, -frequencies]), 2 * math.pi)
    angles = torch.where(angles > 2 * math.pi - SAME_FREQUENCY, 0.0, angles)
    ordered = angles.sort().values
    count = 1 + int((ordered.diff() > SAME_FREQUENCY).sum())
    step = 2 * math.pi / count
    first = float(ordered[0])
    sign = 1 if first < SAME_FREQUENCY else -1
    places = (angles - (0.0 if sign > 0 else step / 2)) / step
    index = places.round()
    if float((places - index).abs().max()) * step > SAME_FREQUENCY:
        return None
    halves = torch.cat([weights, weights], -1) / 2
    total = halves.new_zeros(*halves.shape[:-1], count)
    index = index.long().remainder(count).expand(halves.shape)
    return count, sign, total.scatter_add(-1, index, halves).amin(-1)


def _folded(system: ModalSystem, points: int, sign: int) -> ModalSystem:
    """Return the systems with kernel Σ_m (±1)^m k[t + m N]."""
    power = system.exponents * points
    around = -torch.expm1(power) if sign > 0 else 1 + torch.exp(power)
    return _scaled(system, 1 / around)


def _scaled(system: ModalSystem, factors: Tensor) -> ModalSystem:
    """Return the systems with every residue times a factor."""
    if isinstance(system, MIMOSystem):
        return replace(system, C=system.C * factors[..., None, :])
    assert isinstance(system, SISOSystem)
    return replace(system, residues=system.residues * factors)


def _damped_bound(system: ModalSystem, order: int) -> Tensor:
    """Return the best bound of those with f = g = c e^{-2γi}."""
    # The median of the decays of the entries in use.
    decay = torch.where(system.states > 0, -system.exponents.real, torch.nan)
    middle = decay.nanmedian(-1).values.nan_to_num(1.0)
    bounds: list[Tensor] = []
    for multiple in DAMPINGS:
        gamma = multiple * middle
        damped = system.exponents - gamma[..., None]
        values = hankel_singular_values(_with_exponents(system, damped))
        tail = _tail(values, order, _rounding(system) * values[..., :1])
        bounds.append((tail / _largest_weight(gamma, system.time)).sqrt())
    return torch.stack(bounds).amax(0)


def _even_bound(system: ModalSystem, order: int) -> Tensor:
    """Return the bound with f ∗ g = 1: the Gramians are those of φ_0(s + z̄)^{1/2}."""
    exponents, B, C = all_mimo_modes(system)
    inputs, outputs = B.norm(dim=-1), C.norm(dim=-2)
    used = (inputs > 0) & (outputs > 0)
    scale = torch.where(used, outputs / torch.where(used, inputs, 1.0), 1.0).sqrt()
    B, C = B * scale[..., None], C / scale[..., None, :]
    sums = exponents[..., :, None] + exponents.conj()[..., None, :]
    (phi,) = exponential_moments(sums, 1, time=system.time)
    root = phi.sqrt()
    controllability, observability = (B @ B.mH) * root, (C.mH @ C) * root.conj()
    left, right = _factor(observability), _factor(controllability)
    values = torch.linalg.svdvals(left.mH @ right)
    # An eigenvalue is right to rounding of the largest, and what is left of it is a square.
    size = torch.linalg.matrix_norm(controllability) * torch.linalg.matrix_norm(observability)
    return _tail(values, order, 1e-7 * size.sqrt()[..., None]).sqrt()


def _searched_bound(system: SISOSystem) -> Tensor:
    """Return what the best model of order two leaves, less than 0.1 % of it taken off."""
    norm = h2_norm(system)
    energy = torch.where(norm > 0, norm**2, torch.ones_like(norm))
    return search_order_two(system, energy, SEARCH_SLACK).bound * norm


def _factor(gramian: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(gramian)
    return vectors * values.clamp_min(0).sqrt()[..., None, :]


def _tail(values: Tensor, order: int, rounding: Tensor) -> Tensor:
    """Return Σ_{i>r} σ_i², what may be rounding taken off every σ."""
    return (values - rounding)[..., order:].clamp_min(0).square().sum(-1)


def _horizon_bound(system: ModalSystem, order: int, horizon: float) -> Tensor:
    """Return the best bound of one system on a finite horizon."""
    exponents = system.exponents
    B, C = _real_maps(system)
    bounds = [exponents.real.new_zeros(())]
    wide = max(B.shape[1], C.shape[0], 1)
    for rows, columns in _weighted_blocks(system, horizon, MOST_ROWS // wide):
        O = _observed(exponents, C, *rows)  # noqa: E741 - the observability matrix
        R = _reached(exponents, B, *columns)
        # Sizes of rows against columns are a matter of coordinates.
        sizes = [part.unflatten(-1, (-1, 2)).square().sum((0, 2)).sqrt() for part in (O, R)]
        used = (sizes[0] > 0) & (sizes[1] > 0)
        scale = torch.where(used, sizes[1] / torch.where(used, sizes[0], 1.0), 1.0).sqrt()
        scale = scale.repeat_interleave(2)
        left = torch.linalg.qr(O * scale, mode="r").R
        right = torch.linalg.qr(R / scale, mode="r").R
        values = torch.linalg.svdvals(left @ right.mT)
        rounding = 1e-13 * torch.linalg.matrix_norm(left) * torch.linalg.matrix_norm(right)
        bounds.append(_tail(values, order, rounding).sqrt())
    return torch.stack(bounds).amax()


def _real_maps(system: ModalSystem) -> tuple[Tensor, Tensor]:
    """Return B and C of one system as real maps of (Re, Im), no larger than its order asks for.

    Returns
    -------
    B, C
        complex128 ``(n, M')`` and ``(P', n)``: orthogonal mixing of inputs or of outputs changes
        no singular value.
    """
    if isinstance(system, MIMOSystem):
        B, C = system.B, system.C * system.states
    else:
        assert isinstance(system, SISOSystem)
        weights = system.residues * system.states
        B, C = torch.ones_like(weights)[:, None], weights[None, :]
    return _fewer_rows(B.mT).mT, _fewer_rows(C)


def _fewer_rows(matrix: Tensor) -> Tensor:
    if matrix.shape[0] <= 2 * matrix.shape[1]:
        return matrix
    real = torch.cat([matrix.real, matrix.imag], 1)
    triangle = torch.linalg.qr(real, mode="r").R
    return torch.complex(*triangle.split(matrix.shape[1], 1))


def _observed(exponents: Tensor, C: Tensor, times: Tensor, weights: Tensor) -> Tensor:
    """Return √f(t) C e^{st} as real rows for (Re x, Im x), shape ``(T P, 2n)``."""
    powers = torch.exp(times[:, None] * exponents) * weights.sqrt()[:, None]
    rows = (powers[:, None, :] * C).flatten(0, 1)
    return torch.stack([rows.real, -rows.imag], -1).flatten(1)


def _reached(exponents: Tensor, B: Tensor, times: Tensor, weights: Tensor) -> Tensor:
    """Return e^{st} B √g(t), transposed, as real rows for (Re x, Im x), shape ``(T M, 2n)``."""
    powers = torch.exp(times[:, None] * exponents) * weights.sqrt()[:, None]
    rows = (powers[:, None, :] * B.mT).flatten(0, 1)
    return torch.stack([rows.real, rows.imag], -1).flatten(1)


Weighted = tuple[Tensor, Tensor]
"""Times and the weights f at them."""


def _weighted_blocks(
    system: ModalSystem, horizon: float, most: int
) -> Iterator[tuple[Weighted, Weighted]]:
    """Yield rows and columns of the matrices tried."""
    most = max(most, NODES)
    like = system.exponents.real
    if system.time == "discrete":
        length = int(horizon)
        p, q = (min(size, most) for size in ((length + 2) // 2, (length + 1) // 2))
        sides = [torch.arange(size, dtype=like.dtype, device=like.device) for size in (p, q)]
        falling = [_central_binomials(side) for side in sides]
        yield (sides[0], falling[0]), (sides[1], falling[1])
        yield (sides[0], falling[0].flip(0)), (sides[1], falling[1].flip(0))
        flat = [torch.full_like(side, min(p, q) ** -0.5) for side in sides]
        yield (sides[0], flat[0]), (sides[1], flat[1])
        return
    fastest = float(torch.where(system.states > 0, system.exponents.abs(), 0.0).max())
    panels = max(1, most // NODES)
    side = horizon / 2
    if fastest * side * 2 > PANEL * panels:
        side = PANEL * panels / (2 * fastest)
    else:
        panels = max(1, math.ceil(fastest * side * 2 / PANEL))
    # With x = y² the root at 0 is no more: dx / √(πx) = 2 dy / √π.
    places, shares = np.polynomial.legendre.leggauss(NODES)
    starts = torch.arange(panels, dtype=like.dtype, device=like.device)[:, None]
    width = math.sqrt(side) / panels
    y = ((starts + torch.as_tensor((1 + places) / 2).to(like)) * width).flatten()
    share = torch.as_tensor(shares / 2 * width).to(like).repeat(panels)
    even = share * (2 / math.sqrt(math.pi))
    for one in ((y**2, even), (side - y**2, even), (y**2, share * 2 * y / math.sqrt(side))):
        yield one, one


def _central_binomials(places: Tensor) -> Tensor:
    """Return binom(2i, i) / 4^i for the places i = 0, 1, and so on."""
    ratios = torch.where(places > 0, (2 * places - 1) / (2 * places).clamp_min(1), 1.0)
    return ratios.cumprod(0)


def _with_exponents(system: ModalSystem, exponents: Tensor) -> ModalSystem:
    return replace(system, exponents=exponents)  # type: ignore[type-var]


def _rounding(system: ModalSystem) -> float:
    """Return which share of the largest Hankel singular value may be rounding in any."""
    if isinstance(system, MIMOSystem) and max(system.D.shape[-2:]) > EXACT_INPUTS:
        return 1e-7
    return 1e-12


def _largest_weight(gamma: Tensor, time: str) -> Tensor:
    """Return max over t of (t + 1) e^{-2γt}, t = 0, 1, …, or of t e^{-2γt}, t ≥ 0."""
    if time == "continuous":
        return 1 / (2 * math.e * gamma)
    # (t + 1) e^{-2γt} peaks at t = 1/(2γ) - 1: over the reals is at least over the integers.
    peak = (1 / (2 * gamma) - 1).clamp_min(0)
    return (peak + 1) * torch.exp(-2 * gamma * peak)
