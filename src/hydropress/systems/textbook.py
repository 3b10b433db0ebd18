"""Between the record and the textbooks' matrices, polynomials and zeros.

In discrete time these say x[t+1] = A x[t] + B u[t], y[t] = C x[t] + D u[t]: records of delay 1.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.arguments import diagonal_arguments
from hydropress.systems.checks import DEADBEAT, check_time, finite_reals
from hydropress.systems.delay import with_delay
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem, pack_modes
from hydropress.systems.moments import Time
from hydropress.systems.norms import h2_norm
from hydropress.systems.rational import (
    ZerosPolesGain,
    expand,
    factorize,
    find_zeros,
    repeated_pole,
)
from hydropress.systems.state_space import LARGEST_CONDITION, exponents_of

Array = NDArray[Any]

MOST_CANCELLATION = 1e7
"""Largest condition of the modes of a transfer function, the norm of one over that of the whole:
nine digits are left, and a double root of a polynomial, known to half its digits, gives 10⁸."""


def from_matrices(A: Any, B: Any, C: Any, D: Any, time: Time) -> ModalSystem:
    """Build systems from real matrices ``(n, n)``, ``(n, M)``, ``(P, n)``, ``(P, M)``.

    Or from all n poles ``(n,)`` of a diagonal A, with complex B and C.
    """
    check_time(time)
    A, B, C = (_copied(name, values) for name, values in zip("ABC", (A, B, C), strict=True))
    D = None if D is None else _copied("D", D)
    delay = _delay_of(time)
    if A.ndim != 1:
        return ModalSystem.from_state_space(A, B, C, D, time=time, delay=delay)
    poles, inputs, outputs, direct = diagonal_arguments(A, B, C, D)
    if direct.shape == (1, 1):
        residues = inputs[:, 0] * outputs[0]
        return ModalSystem.siso(poles, residues, direct[0, 0], time=time, delay=delay)
    return ModalSystem.mimo(poles, inputs, outputs, direct, time=time, delay=delay)


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
    delay = _delay_of(time)
    system = pack_modes(exponents_of(pole, time, delay), residue, direct, time=time, delay=delay)
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
        _delay_of(time),
    )


def to_matrices(system: ModalSystem) -> tuple[Array, Array, Array, Array]:
    """Return real A, B, C and D of one system."""
    if system.time == "discrete":
        system = with_delay(system, 1)
    A, B, C, D = (matrix.detach().cpu().numpy() for matrix in system.to_state_space())
    return A, B, C, D


def to_zeros(system: ModalSystem) -> ZerosPolesGain:
    """Return zeros, poles and gain of one scalar system."""
    A, B, C, D = to_matrices(system)
    if D.shape != (1, 1):
        raise InvalidArgumentError(
            f"a system of {D.shape[1]} inputs and {D.shape[0]} outputs; required: one of each for "
            "zeros and sections; convert to a state space, or take single entries of B and C"
        )
    assert isinstance(system, SISOSystem)
    poles = system.poles.detach().cpu()
    pairs, reals = poles[system.states == 2], poles[system.states == 1]
    both = torch.cat([pairs, pairs.conj(), reals]).resolve_conj().numpy()
    points = _beside_the_poles(system)
    responses = system.transfer_function(points).detach().cpu().numpy()
    return find_zeros(A, B, C, D.item(), both, points.numpy(), responses)


def _beside_the_poles(system: SISOSystem) -> Tensor:
    """Return the mirror images of the poles in the boundary, and a point or two farther out.

    Of a pole next to the boundary it is a point at a thousandth of its distance from the origin.
    """
    used = system.exponents[system.states > 0].detach().cpu()
    decays, sizes = used.real.abs(), used.abs()
    if system.time == "discrete":
        decays, sizes = decays.clamp_max(1), sizes.clamp_max(1)
    outside = torch.maximum(decays, 1e-3 * sizes)
    mirrored = torch.complex(torch.where(outside > 0, outside, 1), used.imag)
    if system.time == "discrete":
        return torch.cat([torch.exp(mirrored), mirrored.new_tensor([1.5, -1.5])])
    return torch.cat([mirrored, 1 + sizes.sum()[None]])


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


def _copied(name: str, values: Any) -> Array:
    try:
        return np.array(values)
    except ValueError as error:
        raise InvalidArgumentError(
            f"{name} is no array ({error}); required: numbers in rows of one length"
        ) from error


def _unit(index: int, size: int) -> Tensor:
    return torch.eye(size, dtype=torch.complex128)[index]


def _delay_of(time: Time) -> int:
    return 1 if time == "discrete" else 0


def _require_apart(system: SISOSystem) -> None:
    """Raise if the modes cancel each other but for rounding, as those of a split double pole do.

    Measured with every mode damped until it decays, so that unstable systems can be judged too.
    """
    if not bool((system.residues != 0).any()):
        return
    slowest = float((-system.decay).max())
    sizes = torch.where(system.exponents.real > DEADBEAT, system.exponents.abs(), 0.0)
    shift = 0.0 if slowest < 0 else slowest + float(sizes.max())
    damped = replace(system, exponents=system.exponents - (shift or 0.0))
    single = replace(
        damped,
        exponents=damped.exponents[:, None],
        residues=damped.residues[:, None],
        states=damped.states[:, None],
        D=damped.D.expand(damped.num_poles),
    )
    modes, whole = h2_norm(single), h2_norm(damped)
    if not bool((modes <= MOST_CANCELLATION * whole).all()):
        condition = float(modes.max() / whole)
        raise repeated_pole(system.poles[int(modes.argmax())].item(), condition, MOST_CANCELLATION)
