"""Independent routes to what the package computes: textbook formulas in NumPy, SciPy and mpmath.

Everything here takes one system (no batch) as a SISOSystem and reads only what it stores.
"""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from mpmath import mpc, mpf
from numpy.typing import NDArray
from scipy import integrate, linalg

from hydropress.systems.modal import SISOSystem

DIGITS = 50

Array = NDArray[Any]
Mode = tuple[Any, Any]


def entries(system: SISOSystem) -> list[tuple[complex, complex, int]]:
    """Return (exponent, residue, states) of every entry that is not empty, as Python numbers."""
    assert system.exponents.ndim == 1, "an oracle takes one system"
    rows = zip(
        system.exponents.tolist(), system.residues.tolist(), system.states.tolist(), strict=True
    )
    return [row for row in rows if row[2] > 0]


# Dense state space


def dense_state_space(system: SISOSystem) -> tuple[Array, Array, Array, float]:
    """Return real A, B, C, D: a pair is the real and the imaginary part of its complex state."""
    discrete = system.time == "discrete"
    blocks: list[Array] = []
    B: list[float] = []
    C: list[float] = []
    for exponent, residue, states in entries(system):
        pole = complex(np.exp(exponent)) if discrete else exponent
        if states == 1:
            blocks.append(np.array([[pole.real]]))
            B += [1.0]
            C += [residue.real]
        else:
            blocks.append(np.array([[pole.real, -pole.imag], [pole.imag, pole.real]]))
            B += [1.0, 0.0]
            C += [2 * residue.real, -2 * residue.imag]
    A: Array = np.asarray(linalg.block_diag(*blocks)) if blocks else np.zeros((0, 0))
    return A, np.array(B), np.array(C), float(system.D)


def recurrence(
    A: Array, B: Array, C: Array, D: float, signal: Array, state: Array | None = None
) -> Array:
    """Run x[t] = A x[t-1] + B u[t], y[t] = C x[t] + D u[t] sample by sample."""
    x = np.zeros(len(B)) if state is None else state
    output = np.empty(len(signal))
    for t, sample in enumerate(signal):
        x = A @ x + B * sample
        output[t] = C @ x + D * sample
    return output


def kernel(system: SISOSystem, times: Array) -> Array:
    """Return k at ``times``, every mode written out, without D."""
    total = np.zeros(len(times))
    for exponent, residue, states in entries(system):
        total += states * (residue * np.exp(exponent * times)).real
    return total


def transfer_function(system: SISOSystem, points: Array) -> Array:
    """Return C (I - A/z)^-1 B + D (the input acts at once), or C (sI - A)^-1 B + D."""
    A, B, C, D = dense_state_space(system)
    identity = np.eye(len(B))
    values = []
    for z in points:
        matrix = identity - A / z if system.time == "discrete" else z * identity - A
        values.append(C @ np.linalg.solve(matrix, B) + D)
    return np.array(values)


# Norms


def gramians(system: SISOSystem) -> tuple[Array, Array]:
    """Return P and Q of the dense realisation, from SciPy's Lyapunov solvers."""
    A, B, C, _ = dense_state_space(system)
    BB, CC = np.outer(B, B), np.outer(C, C)
    if system.time == "discrete":
        P = linalg.solve_discrete_lyapunov(A, BB)
        Q = linalg.solve_discrete_lyapunov(A.T, CC)
    else:
        P = linalg.solve_continuous_lyapunov(A, -BB)
        Q = linalg.solve_continuous_lyapunov(A.T, -CC)
    return P, Q


def h2_norm_by_gramian(system: SISOSystem) -> float:
    """Return √(C P Cᵀ)."""
    _, _, C, _ = dense_state_space(system)
    P, _ = gramians(system)
    return float(np.sqrt(C @ P @ C))


def hankel_singular_values(system: SISOSystem) -> Array:
    """Return the square roots of the eigenvalues of P Q, descending."""
    P, Q = gramians(system)
    values = np.linalg.eigvals(P @ Q).real
    return np.sort(np.sqrt(np.clip(values, 0, None)))[::-1]


def h2_norm_by_kernel(system: SISOSystem, length: int) -> float:
    """Return √Σ k[t]² over the first ``length`` samples (discrete time)."""
    assert system.time == "discrete"
    return float(np.linalg.norm(kernel(system, np.arange(length))))


def h2_norm_by_quadrature(system: SISOSystem, horizon: float) -> float:
    """Return √∫ k(t)² dt from 0 to ``horizon`` (continuous time)."""
    assert system.time == "continuous"

    def square(t: float) -> float:
        return float(kernel(system, np.array([t]))[0] ** 2)

    total, _ = integrate.quad(square, 0, horizon, limit=2000, epsabs=0, epsrel=1e-11)
    return float(np.sqrt(total))


def h2_norm_by_frequency(system: SISOSystem, count: int = 2**15) -> float:
    """Return the root of the mean of |G - D|² over the unit circle or the imaginary axis."""
    if system.time == "discrete":
        points = np.exp(2j * np.pi * np.arange(count) / count)
        response = transfer_function(system, points) - float(system.D)
        return float(np.sqrt(np.mean(np.abs(response) ** 2)))

    # ω = tan(θ/2) turns the axis into a circle: dω = (1 + ω²)/2 dθ.
    angle = -np.pi + 2 * np.pi * (np.arange(count) + 0.5) / count
    frequency = np.tan(angle / 2)
    response = transfer_function(system, 1j * frequency) - float(system.D)
    integrand = np.abs(response) ** 2 * (1 + frequency**2) / 2
    return float(np.sqrt(np.mean(integrand)))


# High precision


def _modes(system: SISOSystem) -> list[Mode]:
    """Write out all modes, k = Σ weight e^{exponent t}, in high precision and exactly."""
    modes: list[Mode] = []
    for exponent, residue, states in entries(system):
        half = mpc(residue) * states / 2
        modes.append((mpc(exponent), half))
        modes.append((mpmath.conj(mpc(exponent)), mpmath.conj(half)))
    return modes


def _moment(w: Any, discrete: bool, horizon: float | None) -> Any:
    """Return Σ e^{wt} or ∫ e^{wt} dt."""
    if discrete:
        rate = mpmath.expm1(w)
        if horizon is None:
            return -1 / rate
        return mpf(horizon) if rate == 0 else mpmath.expm1(w * int(horizon)) / rate
    if horizon is None:
        return -1 / w
    return mpf(horizon) if w == 0 else mpmath.expm1(w * mpf(horizon)) / w


def _product(first: list[Mode], second: list[Mode], discrete: bool, horizon: float | None) -> Any:
    total = mpc(0)
    for s, a in first[::2]:  # their conjugates add the conjugate sum
        for z, b in second:
            total += a * b * _moment(s + z, discrete, horizon)
    return 2 * mpmath.re(total)


def _in_high_precision(compute: Callable[[], Any]) -> float:
    with mpmath.workdps(DIGITS):
        return float(compute())


def inner_product(first: SISOSystem, second: SISOSystem, horizon: float | None = None) -> float:
    """Return Σ k l or ∫ k l dt in 50 digits."""
    discrete = first.time == "discrete"
    return _in_high_precision(lambda: _product(_modes(first), _modes(second), discrete, horizon))


def h2_norm(system: SISOSystem, horizon: float | None = None) -> float:
    """Return ‖k‖ in 50 digits."""
    discrete = system.time == "discrete"
    return _in_high_precision(
        lambda: mpmath.sqrt(_product(_modes(system), _modes(system), discrete, horizon))
    )


def h2_error(full: SISOSystem, reduced: SISOSystem, horizon: float | None = None) -> float:
    """Return ‖k - k_r‖ in 50 digits."""
    discrete = full.time == "discrete"

    def compute() -> Any:
        negative = [(exponent, -weight) for exponent, weight in _modes(reduced)]
        difference = _modes(full) + negative
        # Of equal systems the last of the 50 digits remain, of either sign.
        return mpmath.sqrt(max(_product(difference, difference, discrete, horizon), 0))

    return _in_high_precision(compute)


def relative_h2_error(full: SISOSystem, reduced: SISOSystem, horizon: float | None = None) -> float:
    """Return ‖k - k_r‖ / ‖k‖ in 50 digits."""
    return h2_error(full, reduced, horizon) / h2_norm(full, horizon)


def accurate_hankel_singular_values(system: SISOSystem) -> Array:
    """Return the roots of the eigenvalues of P Q in 50 digits, descending.

    In coordinates of single modes; a pair on the real axis would count twice.
    """
    modes: list[Mode] = []
    discrete = system.time == "discrete"
    with mpmath.workdps(DIGITS):
        for exponent, residue, states in entries(system):
            modes.append((mpc(exponent), mpc(residue)))
            if states == 2:
                modes.append((mpmath.conj(mpc(exponent)), mpmath.conj(mpc(residue))))
        size = len(modes)
        P, Q = mpmath.matrix(size), mpmath.matrix(size)
        for i, (s, a) in enumerate(modes):
            for j, (z, b) in enumerate(modes):
                P[i, j] = _moment(s + mpmath.conj(z), discrete, None)
                Q[i, j] = mpmath.conj(a) * b * _moment(mpmath.conj(s) + z, discrete, None)
        squares, _ = mpmath.eig(P * Q)
        values = [float(mpmath.sqrt(abs(mpmath.re(square)))) for square in squares]
    return np.array(sorted(values, reverse=True))
