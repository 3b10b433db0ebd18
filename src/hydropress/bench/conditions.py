"""First-order optimality by interpolation, apart from the formulas that the engine uses.

With K(x) = Σ k[t] e^{xt} or ∫ k(t) e^{xt} dt of the difference k - k_r, a reduced system with modes
c bᵀ e^{st} is a stationary point of the H² error if and only if at each of its s

    K(s) b = 0,   cᵀ K(s) = 0,   cᵀ K'(s) b = 0:

value (tangential, for several inputs or outputs) and derivative agree at the mirrored poles.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.norms import h2_norm

Array = NDArray[Any]


def interpolation_residuals(full: ModalSystem, reduced: ModalSystem) -> Array:
    """Return the largest scaled residual of each system's conditions.

    Parameters
    ----------
    full, reduced
        Banks of batch shape ``(K,)``.

    Returns
    -------
    ndarray
        float64, shape ``(K,)``.  Each residual is over ‖k‖ and the norm of the direction that it
        belongs to: ‖b‖ ‖e^{st}‖, ‖c‖ ‖e^{st}‖ or ‖c‖ ‖b‖ ‖t e^{st}‖.

    Notes
    -----
    The engine's own ``stationarity`` takes real and imaginary parts of the same inner products over
    norms that differ from these by the phase of the mode: a factor of about 2, at most 5.

    References
    ----------
    [meier1967]; [gugercin2008irka], theorem 3.4; [bunse2010] in discrete time.
    """
    norms = h2_norm(full).numpy()
    rows = zip(range(len(norms)), norms, strict=True)
    return np.array([_largest(full[row], reduced[row], norm) for row, norm in rows])


def _largest(full: ModalSystem, reduced: ModalSystem, norm: float) -> float:
    s, c, b = _stored(reduced)
    if len(s) == 0 or norm == 0:
        return 0.0
    poles, left, right = (
        np.concatenate(pair, 0) for pair in zip(_all(full), _all(reduced, -1), strict=True)
    )
    value, slope = _moments(s[:, None] + poles, full.time)
    size = np.sqrt(_squares(-2 * np.real(s), full.time)) * norm
    K = np.einsum("in,np,nm->ipm", value, left, right)
    derivative = np.einsum("in,ip,np,nm,im->i", slope, c, left, right, b, optimize=True)
    length_b, length_c = (np.linalg.norm(vectors, axis=1) for vectors in (b, c))
    by_output = np.linalg.norm(np.einsum("ipm,im->ip", K, b), axis=1) / (length_b * size[0])
    by_input = np.linalg.norm(np.einsum("ip,ipm->im", c, K), axis=1) / (length_c * size[0])
    by_pole = np.abs(derivative) / (length_b * length_c * size[1])
    return float(np.max([by_output, by_input, by_pole]))


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


def _moments(w: Array, time: str) -> tuple[Array, Array]:
    """Return Σ e^{wt} and Σ t e^{wt}, or the integrals."""
    if time == "continuous":
        return -1 / w, 1 / w**2
    gap = -np.expm1(w)
    return 1 / gap, np.exp(w) / gap**2


def _squares(decay: Array, time: str) -> tuple[Array, Array]:
    """Return ‖e^{st}‖² and ‖t e^{st}‖² for decays -2 Re s."""
    if time == "continuous":
        return 1 / decay, 2 / decay**3
    gap, power = -np.expm1(-decay), np.exp(-decay)
    return 1 / gap, power * (1 + power) / gap**3
