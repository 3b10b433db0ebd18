"""The record that all floors exchange: a batch of real linear systems in modal form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, get_args

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError, UnstableSystemError
from hydropress.systems.kernels import modal_kernel
from hydropress.systems.moments import Time, wrap_phase

REAL_TOLERANCE = 1e-9
"""A pole counts as real if |Im| is at most this share of its distance to the origin (discrete) or
of its modulus (continuous): well above rounding, well below any frequency of a trained SSM."""


def _is_real(poles: Tensor) -> Tensor:
    return poles.imag.abs() <= REAL_TOLERANCE * poles.abs()


def _check_time(time: Any) -> None:
    if time not in get_args(Time):
        raise InvalidArgumentError(f"time={time!r}; required: 'discrete' or 'continuous'")


def _finite_numbers(name: str, values: Any, device: torch.device | None = None) -> Tensor:
    """Return numbers of any kind as complex128; Python's keep all their digits."""
    try:
        tensor = torch.as_tensor(values, dtype=torch.complex128, device=device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"{name} is a {type(values).__name__} ({error}); required: an array or tensor of "
            "numbers; convert it first"
        ) from error
    if not bool(torch.isfinite(torch.view_as_real(tensor)).all()):
        raise InvalidArgumentError(f"{name} contains NaN or infinity; required: finite numbers")
    return tensor


def _finite_reals(name: str, values: Any, device: torch.device | None = None) -> Tensor:
    tensor = _finite_numbers(name, values, device)
    if bool((tensor.imag != 0).any()):
        raise InvalidArgumentError(f"{name} is complex; required: real numbers, of a real system")
    return tensor.real


@dataclass(frozen=True)
class ModalSystem:
    r"""A batch of real SISO linear time-invariant systems as sums of modes.

        discrete:    k[t] = Σ_i m_i Re(ρ_i e^{s_i t}),  t = 0, 1, …    pole a_i = e^{s_i}
        continuous:  k(t) = Σ_i m_i Re(ρ_i e^{s_i t}),  t ≥ 0          pole λ_i = s_i

    and y = k * u + D u.  An entry stands for a conjugate pair (m = 2, the member with Im > 0), for
    one real pole (m = 1), or is empty (m = 0), which pads systems of different orders to one
    shape.

    Construct with :meth:`siso` or :meth:`from_state_space`.

    Attributes
    ----------
    exponents
        s, complex128, shape ``(..., n)``.  In discrete time the logarithm of the pole, because
        1 - a cannot be formed accurately near the stability boundary.
    residues
        ρ, complex128, shape ``(..., n)``.
    states
        m, the number of real states of each entry, int64, shape ``(..., n)``.
    D
        Feedthrough, float64, shape ``(...)``.
    time
        ``discrete`` or ``continuous``.

    Notes
    -----
    In discrete time the input acts at once: x[t] = A x[t-1] + B u[t], y[t] = C x[t] + D u[t], as
    in deep SSM layers.  The form x[t+1] = A x[t] + B u[t] has the same k = C A^t B one step later;
    its norm, Gramians and reductions are the same.
    """

    exponents: Tensor
    residues: Tensor
    states: Tensor
    D: Tensor
    time: Time

    @staticmethod
    def siso(
        poles: Any, residues: Any, feedthrough: Any = None, *, time: Time = "discrete"
    ) -> "ModalSystem":
        """Build a bank of scalar systems from poles and residues.

        Parameters
        ----------
        poles
            Array or tensor, shape ``(..., n)``: one entry per real pole or per conjugate pair (the
            member with Im > 0).  Discrete poles a ≠ 0, or continuous poles λ.
        residues
            ρ, shape ``(..., n)``; a real pole's residue is real.
        feedthrough
            D, shape ``(...)``; zero if not given.
        time
            ``discrete`` or ``continuous``; never guessed from the values.

        Raises
        ------
        InvalidArgumentError
            If shapes disagree, values are not finite numbers, a pole has Im < 0, a real pole has a
            complex residue or a discrete pole is zero.
        """
        _check_time(time)
        pole = _finite_numbers("poles", poles)
        residue = _finite_numbers("residues", residues, pole.device)
        if pole.ndim == 0 or pole.shape != residue.shape:
            raise InvalidArgumentError(
                f"poles of shape {tuple(pole.shape)} with residues of shape "
                f"{tuple(residue.shape)}; required: equal shapes (..., n)"
            )
        D = None
        if feedthrough is not None:
            D = _finite_reals("feedthrough", feedthrough, pole.device)
            if D.shape not in ((), pole.shape[:-1]):
                raise InvalidArgumentError(
                    f"feedthrough of shape {tuple(D.shape)} with poles of shape "
                    f"{tuple(pole.shape)}; required: one number, or one for each system"
                )
        real = _is_real(pole)
        if bool(((pole.imag < 0) & ~real).any()):
            worst = pole[(pole.imag < 0) & ~real][0].item()
            raise InvalidArgumentError(
                f"pole {worst:.6g} has a negative imaginary part; required: one entry per "
                "conjugate pair, its member with Im > 0; drop the other member"
            )
        if bool((real & (residue.imag.abs() > REAL_TOLERANCE * residue.abs())).any()):
            raise InvalidArgumentError(
                "a real pole has a complex residue; required: a real one, since the system is real"
            )
        pole = torch.where(real, torch.complex(pole.real, torch.zeros_like(pole.real)), pole)
        residue = torch.where(
            real, torch.complex(residue.real, torch.zeros_like(pole.real)), residue
        )
        if time == "discrete":
            if bool((pole == 0).any()):
                raise InvalidArgumentError(
                    "a discrete pole is 0 (a pure delay); required: non-zero poles; put a "
                    "direct term into the feedthrough"
                )
            exponents = torch.log(pole)
        else:
            exponents = pole
        return ModalSystem.from_exponents(exponents, residue, torch.where(real, 1, 2), D, time=time)

    @staticmethod
    def from_exponents(
        exponents: Tensor,
        residues: Tensor,
        states: Tensor,
        feedthrough: Any = None,
        *,
        time: Time = "discrete",
    ) -> "ModalSystem":
        """Build the record from what it stores; nothing is checked.

        This is the accurate way in where the exponents are known, as for a discretised layer.
        """
        batch = exponents.shape[:-1]
        if feedthrough is None:
            D = exponents.real.new_zeros(batch)
        else:
            D = torch.as_tensor(feedthrough, dtype=torch.float64, device=exponents.device)
            D = D.expand(batch)
        return ModalSystem(exponents, residues, states, D, time)

    @staticmethod
    def from_state_space(
        A: Any, B: Any, C: Any, D: Any = None, *, time: Time = "discrete"
    ) -> "ModalSystem":
        """Build a bank of scalar systems from real state-space matrices.

        Parameters
        ----------
        A, B, C, D
            Real, shapes ``(..., n, n)``, ``(..., n)`` or ``(..., n, 1)``, ``(..., n)`` or
            ``(..., 1, n)``, and ``(...)`` or ``(..., 1, 1)``.

        Raises
        ------
        InvalidArgumentError
            If shapes disagree, values are not finite real numbers, or A is not diagonalisable, or
            so nearly not that its modes cannot be told apart.
        """
        _check_time(time)
        matrix = _finite_reals("A", A)
        if matrix.ndim < 2 or matrix.shape[-2] != matrix.shape[-1]:
            raise InvalidArgumentError(
                f"A of shape {tuple(matrix.shape)}; required: a square matrix (..., n, n)"
            )
        order, batch = matrix.shape[-1], tuple(matrix.shape[:-2])

        def part(name: str, values: Any, *shapes: tuple[int, ...]) -> Tensor:
            tensor = _finite_reals(name, values, matrix.device)
            allowed = [batch + shape for shape in shapes]
            if tuple(tensor.shape) not in allowed:
                raise InvalidArgumentError(
                    f"{name} of shape {tuple(tensor.shape)} with A of shape "
                    f"{tuple(matrix.shape)}; required: {' or '.join(map(str, allowed))}; pass one "
                    "input and one output at a time"
                )
            return tensor.reshape(batch + shapes[0])

        column, row = part("B", B, (order,), (order, 1)), part("C", C, (order,), (1, order))
        feedthrough = None if D is None else part("D", D, (), (1, 1))
        poles, vectors = torch.linalg.eig(matrix)
        condition = torch.linalg.cond(vectors) if order else matrix.new_ones(batch)
        if not bool((condition < 1e12).all()):
            raise InvalidArgumentError(
                f"A has eigenvectors of condition {condition.max().item():.1e}; required: a "
                "diagonalisable A (below 1e12); perturb or block-reduce its repeated poles"
            )
        controls = torch.linalg.solve(vectors, column.to(poles.dtype))
        observes = (row.to(poles.dtype)[..., None, :] @ vectors)[..., 0, :]
        return pack_modes(poles, controls * observes, feedthrough, time=time)

    @property
    def poles(self) -> Tensor:
        """Discrete poles a or continuous poles λ, complex128, shape ``(..., n)``; 0 if empty."""
        poles = torch.exp(self.exponents) if self.time == "discrete" else self.exponents
        poles = torch.where(self.states == 1, torch.complex(poles.real, 0 * poles.real), poles)
        return torch.where(self.states > 0, poles, torch.zeros_like(poles))

    @property
    def batch_shape(self) -> torch.Size:
        """The leading ``...``."""
        return self.exponents.shape[:-1]

    @property
    def num_poles(self) -> int:
        """n, the number of stored entries, padding included."""
        return self.exponents.shape[-1]

    @property
    def order(self) -> Tensor:
        """The number of real states of each system (McMillan degree), int64, shape ``(...)``."""
        return self.states.sum(-1)

    @property
    def decay(self) -> Tensor:
        """-Re s, the decay per sample or time unit, shape ``(..., n)``; infinite if empty."""
        return torch.where(self.states > 0, -self.exponents.real, math.inf)

    def __getitem__(self, index: Any) -> "ModalSystem":
        """Select along the batch axes."""
        return replace(
            self,
            exponents=self.exponents[index],
            residues=self.residues[index],
            states=self.states[index],
            D=self.D[index],
        )

    def reshape(self, *shape: int) -> "ModalSystem":
        """Reshape the batch axes."""
        D = self.D.reshape(shape)
        entries = (*D.shape, self.num_poles)
        return replace(
            self,
            exponents=self.exponents.reshape(entries),
            residues=self.residues.reshape(entries),
            states=self.states.reshape(entries),
            D=D,
        )

    def require_stable(self) -> None:
        """Raise :class:`UnstableSystemError`, naming the worst pole, unless all decay."""
        if not bool((self.decay > 0).all()):
            worst = self.poles.flatten()[self.decay.argmin()].item()
            raise UnstableSystemError(
                f"{self.time}-time pole {worst:.9g} does not decay; required: every pole inside "
                "the stability region for an infinite horizon; pass a finite horizon or remove it"
            )

    def require_finite_norm(self, horizon: float | None) -> None:
        """Raise unless the norm over a horizon, ``None`` for infinite, exists.

        Raises
        ------
        UnstableSystemError
            If the horizon is infinite and a pole does not decay.
        InvalidArgumentError
            If the horizon is not a positive number, and in discrete time a whole one.
        """
        if horizon is None:
            self.require_stable()
            return
        valid = isinstance(horizon, Real) and math.isfinite(horizon) and horizon > 0
        if not valid or (self.time == "discrete" and horizon != int(horizon)):
            kind = "number of samples" if self.time == "discrete" else "duration"
            raise InvalidArgumentError(
                f"horizon={horizon!r}; required: a positive {kind}, or None for infinite"
            )

    def impulse_response(self, length: int, *, step: float = 1.0) -> Tensor:
        """Sample the kernel, without D.

        Parameters
        ----------
        length
            L, number of samples.
        step
            Sampling step in time units (continuous time only).

        Returns
        -------
        Tensor
            k[0], …, k[L-1] or k(0), …, k((L-1) step); float64, shape ``(..., L)``.
        """
        exponents = self.exponents if self.time == "discrete" else self.exponents * step
        return modal_kernel(exponents, self.residues * self.states, length)

    def transfer_function(self, points: Any) -> Tensor:
        """Evaluate G at points of the z-plane or s-plane, D included.

        G(z) = D + Σ over all poles of ρ / (1 - a/z), or G(s) = D + Σ ρ / (s - λ).

        Parameters
        ----------
        points
            Complex, shape ``(K,)``.

        Returns
        -------
        Tensor
            complex128, shape ``(..., K)``.

        Raises
        ------
        InvalidArgumentError
            If a point is a pole, not finite, or 0 in discrete time.
        """
        point = _finite_numbers("points of a transfer function", points, self.exponents.device)
        if point.ndim != 1:
            raise InvalidArgumentError(
                f"points of a transfer function have shape {tuple(point.shape)}; required: (K,)"
            )
        half = (self.states / 2)[..., None]
        total = torch.zeros(*self.batch_shape, len(point), dtype=torch.complex128)
        total = total.to(point.device)
        for exponents, residues in (
            (self.exponents, self.residues),
            (self.exponents.conj(), self.residues.conj()),
        ):
            if self.time == "discrete":
                terms = -1 / torch.expm1(wrap_phase(exponents[..., None] - torch.log(point)))
            else:
                terms = 1 / (point - exponents[..., None])
            total = total + (half * residues[..., None] * terms).sum(-2)
        valued = torch.isfinite(torch.view_as_real(total)).all(-1)
        if not bool(valued.all()):
            worst = point.expand_as(total)[~valued][0].item()
            raise InvalidArgumentError(
                f"the transfer function has no finite value at {worst:.6g}; required: points that "
                "are no poles, nor 0 in discrete time"
            )
        return total + self.D[..., None]

    def to_state_space(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return a real state-space realisation of one system.

        Returns
        -------
        A, B, C, D
            float64, shapes ``(n, n)`` block diagonal, ``(n, 1)``, ``(1, n)``, ``(1, 1)``.

        Raises
        ------
        InvalidArgumentError
            If the record holds a batch; index it first.
        """
        if self.batch_shape != ():
            raise InvalidArgumentError(
                f"a batch of shape {tuple(self.batch_shape)}; required: one system; index it first"
            )
        keep = self.states > 0
        blocks: list[Tensor] = []
        inputs: list[float] = []
        outputs: list[Tensor] = []
        for pole, residue, states in zip(
            self.poles[keep], self.residues[keep], self.states[keep], strict=True
        ):
            if states == 1:
                blocks.append(pole.real.reshape(1, 1))
                inputs.append(1.0)
                outputs.append(residue.real.reshape(1))
            else:
                blocks.append(
                    torch.stack(
                        [torch.stack([pole.real, -pole.imag]), torch.stack([pole.imag, pole.real])]
                    )
                )
                inputs += [math.sqrt(2), 0.0]
                outputs.append(math.sqrt(2) * torch.stack([residue.real, -residue.imag]))
        D = self.D.reshape(1, 1)
        if not blocks:
            return D.new_zeros(0, 0), D.new_zeros(0, 1), D.new_zeros(1, 0), D
        B = torch.tensor(inputs, dtype=torch.float64, device=D.device)
        return torch.block_diag(*blocks), B[:, None], torch.cat(outputs)[None, :], D


def stack(systems: Sequence[ModalSystem]) -> ModalSystem:
    """Stack banks of one batch shape along a new first axis; short ones get empty entries."""
    slots = max(system.num_poles for system in systems)

    def widen(values: Tensor, empty: int) -> Tensor:
        missing = (*values.shape[:-1], slots - values.shape[-1])
        return torch.cat([values, values.new_full(missing, empty)], -1)

    return ModalSystem(
        torch.stack([widen(system.exponents, -1) for system in systems]),
        torch.stack([widen(system.residues, 0) for system in systems]),
        torch.stack([widen(system.states, 0) for system in systems]),
        torch.stack([system.D for system in systems]),
        systems[0].time,
    )


def pack_modes(
    poles: Tensor, residues: Tensor, feedthrough: Tensor | None = None, *, time: Time
) -> ModalSystem:
    """Turn all n poles of real systems into one entry per pair or real pole.

    Parameters
    ----------
    poles, residues
        All poles, both members of a pair, complex128, shape ``(..., n)``; conjugate-closed.

    Returns
    -------
    ModalSystem
        ``n`` entries per system at most, the empty ones last.

    Raises
    ------
    InvalidArgumentError
        If a complex pole lacks its conjugate.
    """
    real = _is_real(poles)
    upper = (poles.imag > 0) & ~real
    lower = (poles.imag < 0) & ~real
    if bool((upper.sum(-1) != lower.sum(-1)).any()):
        raise InvalidArgumentError("a complex pole lacks its conjugate; required: a real system")
    states = torch.where(real, 1, torch.where(upper, 2, 0))
    order = torch.argsort(-states, dim=-1, stable=True)
    used = max(1, int((states > 0).sum(-1).max())) if states.numel() else 0
    order = order[..., :used]
    states = states.gather(-1, order)
    poles, residues = poles.gather(-1, order), residues.gather(-1, order)
    zero = torch.zeros_like(poles.real)
    poles = torch.where(states == 1, torch.complex(poles.real, zero), poles)
    residues = torch.where(states == 1, torch.complex(residues.real, zero), residues)
    residues = torch.where(states == 0, torch.zeros_like(residues), residues)
    if time == "discrete":
        if bool((poles == 0).any()):
            raise InvalidArgumentError(
                "a discrete pole is 0 (a pure delay); required: non-zero poles; put a direct term "
                "into the feedthrough"
            )
        poles = torch.log(poles)
    exponents = torch.where(states == 0, torch.complex(zero - 1, zero), poles)
    return ModalSystem.from_exponents(exponents, residues, states, feedthrough, time=time)
