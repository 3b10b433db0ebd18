"""Independent routes for systems of several inputs and outputs: dense matrices and 50 digits.

Everything here takes one system (no batch) as a MIMOSystem and reads only what it stores.
"""

from typing import Any

import mpmath
import numpy as np
from mpmath import mpc
from numpy.typing import NDArray
from scipy import linalg

import oracles
from hydropress.systems.modal import MIMOSystem
from strategies import build

Array = NDArray[Any]
Mode = tuple[Any, list[Any], list[Any]]


def channel(system: MIMOSystem, output: int, entry: int) -> Any:
    """Return the scalar system from one input to one output."""
    return build(
        system.exponents.tolist(),
        (system.C[output] * system.B[:, entry]).tolist(),
        system.states.tolist(),
        float(system.D[output, entry]),
        system.time,
    )


def _channels(system: MIMOSystem) -> list[Any]:
    rows, columns = system.D.shape
    return [channel(system, p, m) for p in range(rows) for m in range(columns)]


def inner_product(first: MIMOSystem, second: MIMOSystem, horizon: float | None = None) -> float:
    """Return Σ tr kᵀ l in 50 digits, channel by channel."""
    pairs = zip(_channels(first), _channels(second), strict=True)
    return sum(oracles.inner_product(left, right, horizon) for left, right in pairs)


def _modes(system: MIMOSystem, sign: int = 1) -> list[Mode]:
    """Write out all modes; products c b are formed in high precision."""
    modes: list[Mode] = []
    for s, b, c, states in zip(
        system.exponents.tolist(),
        system.B.tolist(),
        system.C.mT.tolist(),
        system.states.tolist(),
        strict=True,
    ):
        if states == 0:
            continue
        inputs, outputs = [mpc(x) for x in b], [mpc(x) * states * sign / 2 for x in c]
        modes.append((mpc(s), inputs, outputs))
        conj = mpmath.conj
        modes.append((conj(mpc(s)), [conj(x) for x in inputs], [conj(x) for x in outputs]))
    return modes


def h2_error(full: MIMOSystem, reduced: MIMOSystem | None, horizon: float | None = None) -> float:
    """Return ‖k - k_r‖ in 50 digits."""
    discrete = full.time == "discrete"
    with mpmath.workdps(oracles.DIGITS):
        modes = _modes(full) + ([] if reduced is None else _modes(reduced, -1))
        total = mpc(0)
        for s, b, c in modes:
            for z, e, d in modes:
                inputs = sum((x * mpmath.conj(y) for x, y in zip(b, e, strict=True)), mpc(0))
                outputs = sum((x * mpmath.conj(y) for x, y in zip(c, d, strict=True)), mpc(0))
                phi = oracles._moment(s + mpmath.conj(z), discrete, horizon)
                total += inputs * outputs * phi
        return float(mpmath.sqrt(max(mpmath.re(total), 0)))


def h2_norm(system: MIMOSystem, horizon: float | None = None) -> float:
    """Return ‖k‖ in 50 digits."""
    return h2_error(system, None, horizon)


def relative_h2_error(full: MIMOSystem, reduced: MIMOSystem, horizon: float | None = None) -> float:
    """Return ‖k - k_r‖ / ‖k‖ in 50 digits."""
    return h2_error(full, reduced, horizon) / h2_norm(full, horizon)


def dense_state_space(system: MIMOSystem) -> tuple[Array, Array, Array]:
    """Return real A, B, C: a pair is the real and the imaginary part of its complex state."""
    blocks: list[Array] = []
    inputs: list[Array] = []
    outputs: list[Array] = []
    for s, b, c, states in zip(
        system.exponents.tolist(),
        system.B.resolve_conj().numpy(),
        system.C.mT.resolve_conj().numpy(),
        system.states.tolist(),
        strict=True,
    ):
        a = np.exp(s) if system.time == "discrete" else s
        if states == 1:
            blocks.append(np.array([[a.real]]))
            inputs.append(b.real[None])
            outputs.append(c.real[:, None])
        elif states == 2:
            blocks.append(np.array([[a.real, -a.imag], [a.imag, a.real]]))
            inputs.append(np.stack([b.real, b.imag]))
            outputs.append(np.stack([2 * c.real, -2 * c.imag], -1))
    return np.asarray(linalg.block_diag(*blocks)), np.concatenate(inputs), np.hstack(outputs)


def gramians(system: MIMOSystem, horizon: int | None = None) -> tuple[Array, Array]:
    """Return P and Q of the dense realisation: SciPy's Lyapunov solvers, or finite sums."""
    A, B, C = dense_state_space(system)
    if horizon is not None:
        return _limited(A, B @ B.T, system.time, horizon), _limited(
            A.T, C.T @ C, system.time, horizon
        )
    if system.time == "discrete":
        P = linalg.solve_discrete_lyapunov(A, B @ B.T)
        return P, linalg.solve_discrete_lyapunov(A.T, C.T @ C)
    P = linalg.solve_continuous_lyapunov(A, -B @ B.T)
    return P, linalg.solve_continuous_lyapunov(A.T, -C.T @ C)


def _limited(A: Array, right: Array, time: str, horizon: float) -> Array:
    """Return Σ A^t R A^tᵀ over the first samples, or the integral by Gauss's rule."""
    total = np.zeros_like(right)
    if time == "discrete":
        for _ in range(int(horizon)):
            total, right = total + right, A @ right @ A.T
        return total
    for node, weight in zip(*np.polynomial.legendre.leggauss(60), strict=True):
        moved = np.asarray(linalg.expm(A * (horizon * (1 + node) / 2)))
        total += weight * horizon / 2 * moved @ right @ moved.T
    return total


def hankel_singular_values(system: MIMOSystem, horizon: int | None = None) -> Array:
    """Return the square roots of the eigenvalues of P Q, descending."""
    P, Q = gramians(system, horizon)
    return np.sort(np.sqrt(np.clip(np.linalg.eigvals(P @ Q).real, 0, None)))[::-1]


def h2_norm_by_gramian(system: MIMOSystem, horizon: int | None = None) -> float:
    """Return √tr(C P Cᵀ)."""
    _, _, C = dense_state_space(system)
    return float(np.sqrt(np.trace(C @ gramians(system, horizon)[0] @ C.T)))


def kernel(system: MIMOSystem, length: int) -> Array:
    """Return C A^t B, power by power, shape ``(length, P, M)`` (discrete time)."""
    A, B, C = dense_state_space(system)
    samples, state = [], B
    for _ in range(length):
        samples.append(C @ state)
        state = A @ state
    return np.stack(samples)


def transfer_function(system: MIMOSystem, points: Array) -> Array:
    """Return C (I - A/z)^-1 B + D (the input acts at once), or C (sI - A)^-1 B + D."""
    A, B, C = dense_state_space(system)
    identity = np.eye(len(A))
    values = []
    for z in points:
        matrix = identity - A / z if system.time == "discrete" else z * identity - A
        values.append(C @ np.linalg.solve(matrix, B) + system.D.numpy())
    return np.array(values)
