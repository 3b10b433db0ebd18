"""First-order optimality by interpolation, apart from the formulas that the engine uses.

With K(x) = Σ k[t] e^{xt} or ∫ k(t) e^{xt} dt of the difference k - k_r, a reduced system with modes
c bᵀ e^{st} is a stationary point of the H² error if and only if at each of its s

    K(s) b = 0,   cᵀ K(s) = 0,   cᵀ K'(s) b = 0:

value (tangential, for several inputs or outputs) and derivative agree at the mirrored poles.  On a
finite horizon the sums end there.  With a covariance R = L Lᵀ of the inputs B is that of white
inputs, Bᵀ L.  With a spectrum W the error E(ω) = G - G_r on the unit circle takes the place of k:
its inner products Σ tr E W Tᴴ with the derivatives T of G_r have to vanish.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.weights import InputCovariance, SpectralWeight, Weight
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem

Array = NDArray[Any]
FLOOR = DescentConfig().decay_floor
"""Least decay that a pole may take: there the conditions are those of a constrained optimum."""


def interpolation_residuals(
    full: ModalSystem,
    reduced: ModalSystem,
    *,
    horizon: float | None = None,
    weight: Weight | None = None,
) -> Array:
    """Return the largest scaled residual of each system's conditions.

    Parameters
    ----------
    full, reduced
        Banks of batch shape ``(K,)``.
    horizon
        Samples or time units that count; None for infinite.
    weight
        Covariance of the inputs, or their spectrum, with values ``(F,)`` or ``(K, F)``, of several
        inputs ``(F, M, M)``.

    Returns
    -------
    ndarray
        float64, shape ``(K,)``.  Each residual is over ‖k‖ and the norm of the direction that it
        belongs to: ‖b‖ ‖e^{st}‖, ‖c‖ ‖e^{st}‖ or ‖c‖ ‖b‖ ‖t e^{st}‖, all in the metric.

    Notes
    -----
    The engine's own ``stationarity`` takes real and imaginary parts of the same inner products over
    norms that differ from these by the phase of the mode: a factor of about 2, at most 5.

    References
    ----------
    [meier1967]; [gugercin2008irka], theorem 3.4; [bunse2010] in discrete time.
    """
    rows = range(len(full.D))
    if isinstance(weight, SpectralWeight):
        points, values = weight.frequencies.numpy(), weight.values.numpy()
        # Of scalar systems each may have its own.
        shared = values.ndim in (1, 3)
        return np.array(
            [
                _weighted(full[row], reduced[row], points, values if shared else values[row])
                for row in rows
            ]
        )
    if isinstance(weight, InputCovariance):
        factor = np.linalg.cholesky(weight.values.numpy())
        full, reduced = _seen_through(full, factor), _seen_through(reduced, factor)
    return np.array([_largest(full[row], reduced[row], horizon) for row in rows])


def _seen_through(system: ModalSystem, factor: Array) -> MIMOSystem:
    assert isinstance(system, MIMOSystem)
    return replace(system, B=system.B @ system.B.new_tensor(factor))


def _largest(full: ModalSystem, reduced: ModalSystem, horizon: float | None) -> float:
    s, c, b = _stored(reduced)
    moments = _Moments(full.time, horizon)
    norm = _norm(full, moments)
    if len(s) == 0 or norm == 0:
        return 0.0
    poles, left, right = (
        np.concatenate(pair, 0) for pair in zip(_all(full), _all(reduced, -1), strict=True)
    )
    value, slope = moments.first(s[:, None] + poles)
    size = np.sqrt(moments.squares(-2 * np.real(s))) * norm
    K = np.einsum("in,np,nm->ipm", value, left, right, optimize=True)
    derivative = np.einsum("in,ip,np,nm,im->i", slope, c, left, right, b, optimize=True)
    length_b, length_c = (np.linalg.norm(vectors, axis=1) for vectors in (b, c))
    by_output = np.linalg.norm(np.einsum("ipm,im->ip", K, b), axis=1) / (length_b * size[0])
    by_input = np.linalg.norm(np.einsum("ip,ipm->im", c, K), axis=1) / (length_c * size[0])
    # The error would fall if a pole on the decay floor decayed less, which it may not.
    held = (-np.real(s) <= FLOOR * (1 + 1e-9)) & (derivative.real > 0)
    derivative = np.where(held, 1j * derivative.imag, derivative)
    by_pole = np.abs(derivative) / (length_b * length_c * size[1])
    return float(np.max([by_output, by_input, by_pole]))


def _norm(system: ModalSystem, moments: "_Moments") -> float:
    """Return ‖k‖, pole by pole."""
    poles, left, right = _all(system)
    phi = moments.first(poles[:, None] + poles)[0]
    return float(np.sqrt(max(0.0, np.sum(phi * (left @ left.T) * (right @ right.T)).real)))


def _weighted(full: ModalSystem, reduced: ModalSystem, points: Array, values: Array) -> float:
    """Return the largest residual in the metric of a spectrum."""
    s, c, b = _stored(reduced)
    W = values if values.ndim == 3 else values[:, None, None]
    z = np.exp(1j * points)

    def response(poles: Array, left: Array, right: Array) -> Array:
        return np.einsum("fn,np,nm->fpm", 1 / (z[:, None] - np.exp(poles)), left, right)

    G, G_r = response(*_all(full)), response(*_all(reduced))
    norm = np.sqrt(np.einsum("fpm,fmk,fpk->", G, W, G.conj(), optimize=True).real)
    if len(s) == 0 or norm == 0:
        return 0.0
    error = (G - G_r) @ W

    def products(s: Array, c: Array, b: Array) -> tuple[Array, Array, Array]:
        """Return the inner products with the derivatives by c, b and s of one of a pair."""
        a = np.exp(s)
        phi = 1 / (z[:, None] - a)
        slope = a * phi**2
        return (
            np.einsum("fpm,fi,im->ip", error, phi.conj(), b.conj(), optimize=True),
            np.einsum("fpm,fi,ip->im", error, phi.conj(), c.conj(), optimize=True),
            np.einsum("fpm,fi,ip,im->i", error, slope.conj(), c.conj(), b.conj(), optimize=True),
        )

    # A pair moves with its conjugate: c T + c̄ T̄ gives the conjugate of one product and the other.
    upper, lower = products(s, c, b), products(s.conj(), c.conj(), b.conj())
    by_output, by_input, by_pole = (
        first.conj() + second for first, second in zip(upper, lower, strict=True)
    )
    length_c = np.linalg.norm(c, axis=1)
    along = np.einsum("im,fmk,ik->fi", b, W, b.conj(), optimize=True).real
    all_inputs = np.einsum("fmm->f", W).real[:, None] / W.shape[1]
    # The given frequencies and their negatives, where the conjugate's derivative stands.
    both = np.stack([1 / (z[:, None] - a) for a in (np.exp(s), np.exp(s.conj()))])
    values = (np.abs(both) ** 2).sum(0)
    slopes = (np.abs(np.exp(s) * both**2) ** 2).sum(0)
    sizes = (
        np.sqrt((along * values).sum(0)),
        np.sqrt((all_inputs * values).sum(0)) * length_c,
        np.sqrt((along * slopes).sum(0)) * length_c,
    )
    residuals = (
        np.linalg.norm(by_output, axis=1),
        np.linalg.norm(by_input, axis=1),
        np.abs(by_pole),
    )
    largest = max(np.max(r / size) for r, size in zip(residuals, sizes, strict=True))
    return float(largest / (np.sqrt(2) * norm))


def _stored(system: ModalSystem) -> tuple[Array, Array, Array]:
    """Return s ``(n,)``, c ``(n, P)`` and b ``(n, M)`` of the entries in use."""
    used = system.states.numpy() > 0
    exponents = system.exponents.numpy()[used]
    if isinstance(system, MIMOSystem):
        return exponents, system.C.numpy().T[used], system.B.numpy()[used]
    assert isinstance(system, SISOSystem)
    residues = system.residues.numpy()[used][:, None]
    return exponents, residues, np.ones_like(residues)


def _all(system: ModalSystem, sign: int = 1) -> tuple[Array, Array, Array]:
    """Return both members of every pair, c with its weight and a sign."""
    exponents, c, b = _stored(system)
    weight = sign * system.states.numpy()[system.states.numpy() > 0][:, None] / 2
    return (
        np.concatenate([exponents, exponents.conj()]),
        np.concatenate([c * weight, c.conj() * weight]),
        np.concatenate([b, b.conj()]),
    )


@dataclass(frozen=True)
class _Moments:
    """Sums or integrals of exponentials up to a horizon."""

    time: str
    horizon: float | None

    def first(self, w: Array) -> tuple[Array, Array]:
        """Return Σ e^{wt} and Σ t e^{wt}, or the integrals."""
        h = self.horizon
        if self.time == "continuous":
            tail: Array = np.zeros_like(w) if h is None else np.exp(w * h)
            length = 0.0 if h is None else h
            return (tail - 1) / w, (1 + tail * (w * length - 1)) / w**2
        if h is None:
            gap = -np.expm1(w)
            return 1 / gap, np.exp(w) / gap**2
        # Sample by sample: nothing cancels where w is next to 0.
        t = np.arange(int(h))
        powers = np.exp(w[..., None] * t)
        return powers.sum(-1), (powers * t).sum(-1)

    def squares(self, decay: Array) -> tuple[Array, Array]:
        """Return ‖e^{st}‖² and ‖t e^{st}‖² for decays -2 Re s."""
        d, h = decay, self.horizon
        if self.time == "continuous":
            if h is None:
                return 1 / d, 2 / d**3
            tail = np.exp(-d * h)
            return (1 - tail) / d, (2 - tail * ((d * h) ** 2 + 2 * d * h + 2)) / d**3
        if h is None:
            gap, power = -np.expm1(-d), np.exp(-d)
            return 1 / gap, power * (1 + power) / gap**3
        t = np.arange(int(h))
        powers = np.exp(-d[:, None] * t)
        return powers.sum(1), (powers * t**2).sum(1)
