"""Between the record and the textbooks' matrices, polynomials and zeros.

In discrete time these say x[t+1] = A x[t] + B u[t], y[t] = C x[t] + D u[t], so that the input acts
one step later than in the record; the input-output behaviour is kept.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.checks import finite_reals
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem, pack, pack_modes
from hydropress.systems.moments import Time
from hydropress.systems.norms import h2_norm
from hydropress.systems.rational import (
    ZerosPolesGain,
    expand,
    factorize,
    find_zeros,
    repeated_pole,
)
from hydropress.systems.state_space import LARGEST_CONDITION, diagonalize, exponents_of

Array = NDArray[Any]

FASTEST_POLE = 1e-8
"""|a| up to which a discrete pole counts as a delay: beside ρ = h[1] / a half the digits of
h[0] = D + Σ ρ are lost there, and rounding leaves a computed zero pole below it."""

MOST_CANCELLATION = 1e7
"""Largest norm of a mode of a transfer function over that of the whole: nine digits are left, and
a double root of a polynomial, which is known to half its digits, gives 10⁸."""


def from_matrices(A: Any, B: Any, C: Any, D: Any, time: Time) -> ModalSystem:
    """Build a system from real matrices ``(n, n)``, ``(n, M)``, ``(P, n)``, ``(P, M)``."""
    matrices = zip("ABCD", (A, B, C, D), strict=True)
    A, B, C, D = (finite_reals(name, np.array(values)) for name, values in matrices)
    poles, modal_B, modal_C = diagonalize(A, B, C)
    if time == "discrete":
        modal_B = modal_B / _without_delays(poles)[:, None]
        D = D - (modal_C @ modal_B).real
    return pack(exponents_of(poles, time), modal_B, modal_C, D, time=time)


def from_zeros(function: ZerosPolesGain, time: Time) -> SISOSystem:
    """Build a scalar system; zeros and poles at 0 that cancel are left out."""
    zeros, poles, gain = function
    common = min(np.sum(zeros == 0), np.sum(poles == 0))
    zeros, poles = (
        np.delete(roots, np.flatnonzero(roots == 0)[:common]) for roots in (zeros, poles)
    )
    pole, residue, gain = expand(ZerosPolesGain(zeros, poles, gain))
    pole, residue = torch.as_tensor(pole), torch.as_tensor(residue)
    direct = torch.tensor(gain, dtype=torch.float64)
    if time == "discrete":
        residue = residue / _without_delays(pole)
        direct = direct - residue.sum().real
    system = pack_modes(exponents_of(pole, time), residue, direct, time=time)
    _require_apart(system)
    return system


def from_entries(
    numerators: Sequence[Sequence[Any]], denominators: Sequence[Sequence[Any]], time: Time
) -> ModalSystem:
    """Build a system from P rows of M ratios of polynomials; each entry keeps its own poles."""
    entries = [
        [from_zeros(factorize(*pair), time) for pair in zip(*rows, strict=True)]
        for rows in zip(numerators, denominators, strict=True)
    ]
    P, M = len(entries), len(entries[0])
    if (P, M) == (1, 1):
        return entries[0][0]
    flat = [(p, m, entries[p][m]) for p in range(P) for m in range(M)]
    return MIMOSystem(
        torch.cat([entry.exponents for _, _, entry in flat]),
        torch.cat([_unit(m, M).expand(entry.num_poles, M) for _, m, entry in flat]),
        torch.cat([_unit(p, P)[:, None] * entry.residues for p, _, entry in flat], -1),
        torch.cat([entry.states for _, _, entry in flat]),
        torch.stack([entry.D for _, _, entry in flat]).reshape(P, M),
        time,
    )


def to_matrices(system: ModalSystem) -> tuple[Array, Array, Array, Array]:
    """Return real A, B, C and D of one system."""
    A, B, C, D = (matrix.detach().cpu().numpy() for matrix in system.to_state_space())
    if system.time == "continuous":
        return A, B, C, D
    first = D + C @ B
    rounding = np.finfo(float).eps * (len(A) + 1) * (abs(D) + abs(C) @ abs(B))
    # A strictly proper system came in with D = -C B; what rounding leaves of it is no feedthrough.
    return A, B, C @ A, np.where(abs(first) <= rounding, 0.0, first)


def to_zeros(system: ModalSystem) -> ZerosPolesGain:
    """Return zeros, poles and gain of one scalar system."""
    A, B, C, D = to_matrices(system)
    if D.shape != (1, 1):
        raise InvalidArgumentError(
            f"a system of {D.shape[1]} inputs and {D.shape[0]} outputs; required: one of each for "
            "zeros and sections; convert to a state space, or take single entries of B and C"
        )
    poles = system.poles.detach().cpu()
    pairs, reals = poles[system.states == 2], poles[system.states == 1]
    both = torch.cat([pairs, pairs.conj(), reals]).resolve_conj().numpy()
    return find_zeros(A, B, C, D.item(), both)


def solve_for_derivative(E: Any, A: Any, B: Any) -> tuple[Array, Array]:
    """Return E⁻¹ A and E⁻¹ B.

    Raises
    ------
    InvalidArgumentError
        If E, its rows scaled to one norm, is singular or nearly.
    """
    matrices = zip("EAB", (E, A, B), strict=True)
    mass, A, B = (finite_reals(name, np.array(values)) for name, values in matrices)
    size = torch.linalg.vector_norm(mass, dim=1, keepdim=True)
    size = torch.where(size > 0, size, torch.ones_like(size))
    condition = torch.linalg.cond(mass / size).item()
    if not condition < LARGEST_CONDITION:
        raise InvalidArgumentError(
            f"E has condition {condition:.1e}; required: a regular E (below "
            f"{LARGEST_CONDITION:.0e}), since an algebraic equation is no mode; eliminate it first"
        )
    A, B = (torch.linalg.solve(mass / size, part / size) for part in (A, B))
    return A.numpy(), B.numpy()


def sampling_time(system: ModalSystem, dt: float | None) -> float:
    """Return what other libraries store: 0 in continuous time, else ``dt`` or 1."""
    discrete = system.time == "discrete"
    valid = dt is None or (discrete and np.isfinite(dt) and dt > 0)
    if not valid:
        required = "a positive number of time units" if discrete else "none in continuous time"
        raise InvalidArgumentError(f"dt={dt!r}; required: {required}; leave it out for the default")
    if not discrete:
        return 0
    return 1.0 if dt is None else dt


def _unit(index: int, size: int) -> Tensor:
    return torch.eye(size, dtype=torch.complex128)[index]


def _without_delays(poles: Tensor) -> Tensor:
    delays = int((poles.abs() <= FASTEST_POLE).sum())
    if delays:
        raise InvalidArgumentError(
            f"{delays} discrete pole(s) at 0 (up to {FASTEST_POLE:.0e}), pure delays; required: "
            "non-zero poles; take the delays out of the system and delay its input instead"
        )
    return poles


def _require_apart(system: SISOSystem) -> None:
    """Raise if the modes cancel each other but for rounding, as those of a split double pole do.

    Measured with every mode damped until it decays, so that unstable systems can be judged too.
    """
    if not bool((system.residues != 0).any()):
        return
    slowest = float((-system.decay).max())
    shift = 0.0 if slowest < 0 else slowest + float(system.exponents.abs().max())
    damped = replace(system, exponents=system.exponents - (shift or 0.0))
    single = replace(
        damped,
        exponents=damped.exponents[:, None],
        residues=damped.residues[:, None],
        states=damped.states[:, None],
        D=damped.D.expand(damped.num_poles),
    )
    modes = h2_norm(single)
    if not bool((modes <= MOST_CANCELLATION * h2_norm(damped)).all()):
        raise repeated_pole(system.poles[int(modes.argmax())].item())
