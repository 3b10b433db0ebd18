"""The record that all floors exchange: a batch of real linear systems in modal form."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from hydropress.systems.arguments import (
    mimo_arguments,
    scalar_arguments,
    state_space_arguments,
)
from hydropress.systems.checks import check_delay, check_time
from hydropress.systems.kernels import modal_kernel
from hydropress.systems.modes import Modes
from hydropress.systems.moments import Time
from hydropress.systems.state_space import (
    diagonalize,
    exponents_of,
    pair_up,
    realize,
    turn_phases,
)


class ModalSystem(Modes):
    r"""A batch of real linear time-invariant systems as sums of modes.

        discrete:    k[t] = Σ_i m_i Re(R_i e^{s_i t}),  t = 0, 1, …    pole a_i = e^{s_i}
        continuous:  k(t) = Σ_i m_i Re(R_i e^{s_i t}),  t ≥ 0          pole λ_i = s_i

    and y = k * u + D u, or with a delay of one sample (discrete time only)

        k[0] = 0,  k[t] = Σ_i m_i Re(R_i e^{s_i (t - 1)}),  t = 1, 2, …

    An entry stands for a conjugate pair (m = 2, the member with Im > 0), for
    one real pole (m = 1), or is empty (m = 0), which pads systems of different orders to one
    shape.  R_i is a scalar residue ρ_i (:class:`SISOSystem`) or of rank one, c_i b_iᵀ
    (:class:`MIMOSystem`).

    Construct with :meth:`siso`, :meth:`mimo` or :meth:`from_state_space`.

    Attributes
    ----------
    exponents
        s, complex128, shape ``(..., n)``.  In discrete time the logarithm of the pole, because
        1 - a cannot be formed accurately near the stability boundary.
    states
        m, the number of real states of each entry, int64, shape ``(..., n)``.
    D
        Feedthrough, float64, shape ``(...)``, or ``(..., P, M)`` of a MIMO system.
    time
        ``discrete`` or ``continuous``.
    delay
        0, or in discrete time 1; one for the whole bank.

    Notes
    -----
    Without a delay the input acts at once, x[t] = A x[t-1] + B u[t], y[t] = C x[t] + D u[t], as in
    deep SSM layers.  With it the system is the control engineer's, x[t+1] = A x[t] + B u[t], whose
    k[t] = C A^{t-1} B never meets D: norms and Gramians are those of the same A, B, C, reductions
    keep D.  A pole at 0, whose response is one sample, is legal then only: elsewhere it is a part
    of D.  :func:`~hydropress.systems.delay.with_delay` converts; no function takes both kinds at
    once.
    """

    D: Tensor

    @staticmethod
    def siso(
        poles: Any,
        residues: Any,
        feedthrough: Any = None,
        *,
        time: Time = "discrete",
        delay: int = 0,
    ) -> "SISOSystem":
        """Build a bank of scalar systems from poles and residues.

        Parameters
        ----------
        poles
            Array or tensor, shape ``(..., n)``: one entry per real pole or per conjugate pair (the
            member with Im > 0).  Discrete poles a, not 0 without a delay, or continuous poles λ.
        residues
            ρ, shape ``(..., n)``; a real pole's residue is real.
        feedthrough
            D, shape ``(...)``; zero if not given.
        time
            ``discrete`` or ``continuous``; never guessed from the values.
        delay
            1 if the modes act one sample late, as in x[t+1] = A x[t] + B u[t].

        Raises
        ------
        InvalidArgumentError
            If shapes disagree, values are not finite numbers, a pole has Im < 0, a real pole has a
            complex residue or a discrete pole is zero without a delay.
        """
        exponents, residue, states, D = scalar_arguments(poles, residues, feedthrough, time, delay)
        return ModalSystem.from_exponents(exponents, residue, states, D, time=time, delay=delay)

    @staticmethod
    def mimo(
        poles: Any, B: Any, C: Any, D: Any = None, *, time: Time = "discrete", delay: int = 0
    ) -> "MIMOSystem":
        """Build systems of several inputs and outputs, with residues c_i b_iᵀ.

        Parameters
        ----------
        poles
            As in :meth:`siso`, shape ``(..., n)``.
        B, C
            Complex, shapes ``(..., n, M)`` and ``(..., P, n)``; of a real pole c bᵀ is real.
        D
            Real, shape ``(..., P, M)``; zero if not given.
        time, delay
            As in :meth:`siso`.

        Raises
        ------
        InvalidArgumentError
            As in :meth:`siso`.
        """
        return MIMOSystem(*mimo_arguments(poles, B, C, D, time, delay), time, delay)

    @staticmethod
    def from_exponents(
        exponents: Tensor,
        residues: Tensor,
        states: Tensor,
        feedthrough: Any = None,
        *,
        time: Time = "discrete",
        delay: int = 0,
    ) -> "SISOSystem":
        """Build a bank of scalar systems from what it stores; nothing is checked.

        This is the accurate way in where the exponents are known, as for a discretised layer.
        """
        batch = exponents.shape[:-1]
        if feedthrough is None:
            D = exponents.real.new_zeros(batch)
        else:
            D = torch.as_tensor(feedthrough, dtype=torch.float64, device=exponents.device)
            D = D.expand(batch)
        return SISOSystem(exponents, residues, states, D, time, delay)

    @staticmethod
    def from_state_space(
        A: Any, B: Any, C: Any, D: Any = None, *, time: Time = "discrete", delay: int = 0
    ) -> "ModalSystem":
        """Build systems from real state-space matrices.

        Parameters
        ----------
        A, B, C, D
            Real, shapes ``(..., n, n)``, ``(..., n)`` or ``(..., n, M)``, ``(..., n)`` or
            ``(..., P, n)``, and ``(...)`` or ``(..., P, M)``.
        time
            ``discrete`` or ``continuous``.
        delay
            In discrete time 0 for x[t] = A x[t-1] + B u[t], 1 for x[t+1] = A x[t] + B u[t].

        Returns
        -------
        ModalSystem
            A :class:`SISOSystem` if M = P = 1, else a :class:`MIMOSystem`.

        Raises
        ------
        InvalidArgumentError
            If shapes disagree, values are not finite real numbers, A is not diagonalisable, or so
            nearly not that its modes cannot be told apart, or it has a pole at 0 without a delay.

        Warns
        -----
        IllConditionedWarning
            If the eigenvectors of A have a condition above 10⁸.
        """
        check_time(time)
        check_delay(delay, time)
        matrix, column, row, direct = state_space_arguments(A, B, C, D)
        poles, modal_B, modal_C = diagonalize(matrix, column, row)
        exponents = exponents_of(poles, time, delay)
        return pack(exponents, modal_B, modal_C, direct, time=time, delay=delay)

    @abstractmethod
    def __getitem__(self, index: Any) -> Self:
        """Select along the batch axes."""

    @abstractmethod
    def reshape(self, *shape: int) -> Self:
        """Reshape the batch axes."""

    @abstractmethod
    def impulse_response(self, length: int, *, step: float = 1.0) -> Tensor:
        """Sample the kernel, without D; with a delay its first sample is 0.

        Parameters
        ----------
        length
            L, number of samples.
        step
            Sampling step in time units (continuous time only).

        Returns
        -------
        Tensor
            k[0], …, k[L-1] or k(0), …, k((L-1) step); float64, shape ``(..., L)``, or
            ``(..., P, M, L)`` of a MIMO system.
        """

    @abstractmethod
    def transfer_function(self, points: Any) -> Tensor:
        """Evaluate G at points of the z-plane or s-plane, D included.

        G(z) = D + Σ over all poles of R / (1 - a/z), with a delay R / (z - a), or
        G(s) = D + Σ R / (s - λ).

        Parameters
        ----------
        points
            Complex, shape ``(K,)``.

        Returns
        -------
        Tensor
            complex128, shape ``(..., K)``, or ``(..., K, P, M)`` of a MIMO system.

        Raises
        ------
        InvalidArgumentError
            If a point is a pole, not finite, or 0 in discrete time without a delay.
        """

    @abstractmethod
    def to_state_space(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return a real state-space realisation of one system, in the form that its delay says.

        Returns
        -------
        A, B, C, D
            float64, shapes ``(n, n)`` block diagonal, ``(n, M)``, ``(P, n)``, ``(P, M)``.

        Raises
        ------
        InvalidArgumentError
            If the record holds a batch; index it first.
        """


@dataclass(frozen=True)
class SISOSystem(ModalSystem):
    """A bank of scalar systems, R_i = ρ_i.

    Attributes
    ----------
    residues
        ρ, complex128, shape ``(..., n)``.
    D
        float64, shape ``(...)``.
    exponents, states, time, delay
        See :class:`ModalSystem`.
    """

    exponents: Tensor
    residues: Tensor
    states: Tensor
    D: Tensor
    time: Time
    delay: int = 0

    def __getitem__(self, index: Any) -> "SISOSystem":
        return replace(
            self,
            exponents=self.exponents[index],
            residues=self.residues[index],
            states=self.states[index],
            D=self.D[index],
        )

    def reshape(self, *shape: int) -> "SISOSystem":
        D = self.D.reshape(shape)
        entries = (*D.shape, self.num_poles)
        return replace(
            self,
            exponents=self.exponents.reshape(entries),
            residues=self.residues.reshape(entries),
            states=self.states.reshape(entries),
            D=D,
        )

    def impulse_response(self, length: int, *, step: float = 1.0) -> Tensor:
        exponents = self.exponents if self.time == "discrete" else self.exponents * step
        kernel = modal_kernel(exponents, self.residues * self.states, max(0, length - self.delay))
        return _late(kernel, self.delay)[..., :length]

    def transfer_function(self, points: Any) -> Tensor:
        direct, mirrored = self.mode_responses(points)
        residues = self.residues[..., None]
        return (residues * direct + residues.conj() * mirrored).sum(-2) + self.D[..., None]

    def to_state_space(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.require_one()
        column = torch.ones_like(self.residues)[:, None]
        A, B, C = realize(self.poles, self.states, column, self.residues[None, :])
        return A, B, C, self.D.reshape(1, 1)


@dataclass(frozen=True)
class MIMOSystem(ModalSystem):
    """Systems of M inputs and P outputs with residues of rank one, R_i = c_i b_iᵀ.

    Attributes
    ----------
    B
        b, complex128, shape ``(..., n, M)``.
    C
        c, complex128, shape ``(..., P, n)``.
    D
        float64, shape ``(..., P, M)``.
    exponents, states, time, delay
        See :class:`ModalSystem`.
    """

    exponents: Tensor
    B: Tensor
    C: Tensor
    states: Tensor
    D: Tensor
    time: Time
    delay: int = 0

    @property
    def num_inputs(self) -> int:
        """M."""
        return self.B.shape[-1]

    @property
    def num_outputs(self) -> int:
        """P."""
        return self.C.shape[-2]

    @property
    def residues(self) -> Tensor:
        """c_i b_iᵀ, complex128, shape ``(..., n, P, M)``."""
        return self.C.mT[..., :, None] * self.B[..., None, :]

    def __getitem__(self, index: Any) -> "MIMOSystem":
        return replace(
            self,
            exponents=self.exponents[index],
            B=self.B[index],
            C=self.C[index],
            states=self.states[index],
            D=self.D[index],
        )

    def reshape(self, *shape: int) -> "MIMOSystem":
        D = self.D.reshape(*shape, *self.D.shape[-2:])
        batch, n = D.shape[:-2], self.num_poles
        return replace(
            self,
            exponents=self.exponents.reshape(*batch, n),
            B=self.B.reshape(*batch, n, self.num_inputs),
            C=self.C.reshape(*batch, self.num_outputs, n),
            states=self.states.reshape(*batch, n),
            D=D,
        )

    def impulse_response(self, length: int, *, step: float = 1.0) -> Tensor:
        count = max(0, length - self.delay)
        steps = torch.arange(count, dtype=torch.float64, device=self.D.device)
        if self.time == "continuous":
            steps = step * steps
        modes = self.states[..., None] * torch.exp(self.exponents[..., None] * steps)
        kernel = torch.einsum("...pn,...nl,...nm->...pml", self.C, modes, self.B).real
        return _late(kernel, self.delay)[..., :length]

    def transfer_function(self, points: Any) -> Tensor:
        total = self.D[..., None, :, :].to(torch.complex128)
        both = zip(self.mode_responses(points), (self.B, self.B.conj()), strict=True)
        for (terms, inputs), outputs in zip(both, (self.C, self.C.conj()), strict=True):
            total = total + torch.einsum("...pn,...nk,...nm->...kpm", outputs, terms, inputs)
        return total

    def to_state_space(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.require_one()
        return (*realize(self.poles, self.states, self.B, self.C), self.D)


def _late(kernel: Tensor, delay: int) -> Tensor:
    """Return samples with so many zeros before them."""
    return torch.cat([kernel.new_zeros(*kernel.shape[:-1], delay), kernel], -1) if delay else kernel


def pack(
    exponents: Tensor, B: Tensor, C: Tensor, D: Tensor, *, time: Time, delay: int = 0
) -> ModalSystem:
    """Do as :func:`pack_mimo_modes`, and make a :class:`SISOSystem` if M = P = 1."""
    if D.shape[-2:] == (1, 1):
        residues = B[..., 0] * C[..., 0, :]
        return pack_modes(exponents, residues, D[..., 0, 0], time=time, delay=delay)
    return pack_mimo_modes(exponents, B, C, D, time=time, delay=delay)


def pack_modes(
    exponents: Tensor,
    residues: Tensor,
    feedthrough: Tensor | None = None,
    *,
    time: Time,
    delay: int = 0,
) -> SISOSystem:
    """Turn all n modes of scalar systems into one entry per pair or real pole.

    Parameters
    ----------
    exponents, residues
        Of all poles, both members of a pair, complex128, shape ``(..., n)``; conjugate-closed, a
        real pole's imaginary part 0, or π if it alternates in sign.

    Returns
    -------
    SISOSystem
        ``n`` entries per system at most, the empty ones last.

    Raises
    ------
    InvalidArgumentError
        If a complex pole lacks its conjugate.
    """
    packed, states, index = pair_up(exponents, time)
    chosen = residues.gather(-1, index)
    chosen = torch.where(states == 1, chosen.real.to(chosen.dtype), chosen)
    chosen = torch.where(states == 0, torch.zeros_like(chosen), chosen)
    return ModalSystem.from_exponents(packed, chosen, states, feedthrough, time=time, delay=delay)


def pack_mimo_modes(
    exponents: Tensor, B: Tensor, C: Tensor, D: Tensor, *, time: Time, delay: int = 0
) -> MIMOSystem:
    """Do the same for systems with residues c_i b_iᵀ.

    Parameters
    ----------
    exponents, B, C, D
        Of all poles ``(..., n)``, with ``(..., n, M)``, ``(..., P, n)`` and ``(..., P, M)``.
    """
    packed, states, index = pair_up(exponents, time)
    inputs = B.gather(-2, index[..., None].expand(*index.shape, B.shape[-1]))
    outputs = C.mT.gather(-2, index[..., None].expand(*index.shape, C.shape[-2]))
    inputs, outputs = turn_phases(inputs, outputs.mT)
    real, empty = (states == 1)[..., None], (states == 0)[..., None]
    parts: list[Tensor] = []
    for part in (inputs, outputs.mT):
        kept = torch.where(real, part.real.to(part.dtype), part)
        parts.append(torch.where(empty, torch.zeros_like(kept), kept))
    return MIMOSystem(packed, parts[0], parts[1].mT, states, D, time, delay)
