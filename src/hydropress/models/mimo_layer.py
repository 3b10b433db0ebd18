"""Linear SSM layers with one system of several inputs and outputs in each direction."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hydropress.models.layer import LinearSSM, StepCoefficients, relax
from hydropress.models.scan import padded_length, scan
from hydropress.systems.modal import MIMOSystem


@dataclass(frozen=True)
class MIMOModes:
    """The modes of one direction, x[t] = a x[t-1] + B u[t], y = Re(C x).

    Attributes
    ----------
    exponents
        s = log a, complex128, shape ``(n,)``; pairs first, then real poles.
    B
        With the input gain, complex128, shape ``(n, H)``.
    C
        With the factor 2 of pairs folded in, complex128, shape ``(H, n)``; for a real pole c bᵀ is
        real.
    num_pairs
        How many of the modes are conjugate pairs.
    """

    exponents: Tensor
    B: Tensor
    C: Tensor
    num_pairs: int

    @property
    def num_states(self) -> int:
        """Number of real states."""
        return len(self.exponents) + self.num_pairs

    def inputs(self, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
        """Return real and imaginary parts of B of the pairs, ``(pairs, H)``, and B of the rest."""
        pairs = self.B[: self.num_pairs]
        return [pairs.real.to(dtype), pairs.imag.to(dtype)], self.B[self.num_pairs :].real.to(dtype)

    def outputs(self, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
        """Return what multiplies the same states in Re(C x), ``(H, pairs)`` and the rest."""
        pairs = self.C[:, : self.num_pairs]
        rest = self.C[:, self.num_pairs :]
        return [pairs.real.to(dtype), -pairs.imag.to(dtype)], rest.real.to(dtype)

    def one_step_ahead(self) -> "MIMOModes":
        """Return the modes with kernel k[t + 1]; what is left out is :meth:`first_sample`."""
        return MIMOModes(self.exponents, self.B, self.C * torch.exp(self.exponents), self.num_pairs)

    def first_sample(self) -> Tensor:
        """Return k[0] = Re(C B), shape ``(H, H)``."""
        return (self.C @ self.B).real

    def respond(self, signal: Tensor) -> Tensor:
        """Return k * u for signals of shape ``(H, batch, L)``."""
        channels, batch, length = signal.shape
        flat = signal.reshape(channels, batch * length)
        inputs, single_input = self.inputs(signal.dtype)
        outputs, single_output = self.outputs(signal.dtype)
        total = torch.zeros_like(flat)
        kinds = (
            (self.exponents[: self.num_pairs], inputs, outputs),
            (self.exponents[self.num_pairs :], [single_input], [single_output]),
        )
        for exponents, into, out in kinds:
            if not len(exponents):
                continue
            drive = [(part @ flat).reshape(len(exponents), batch, length) for part in into]
            for part, states in zip(out, scan(exponents, drive), strict=True):
                total = torch.addmm(total, part, states.reshape(len(exponents), batch * length))
        return total.reshape(channels, batch, length)


@dataclass(frozen=True)
class MIMORecurrence(StepCoefficients):
    """The coefficients of a real recurrence x ← x + Δx + Bu, y = Cx, one entry a state."""

    pair_increment: Tensor
    real_increment: Tensor
    B: Tensor
    C: Tensor

    @property
    def num_states(self) -> int:
        return len(self.B)

    def advance(self, sample: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        relaxed = torch.cat(relax(state, self.pair_increment, self.real_increment), dim=-1)
        state = relaxed + sample @ self.B.mT
        return state @ self.C.mT, state


class MIMOSSM(LinearSSM):
    """A linear SSM of H inputs and outputs, one per direction, whose states all channels share.

    Subclasses hold the parameters and supply :meth:`modes`.

    Notes
    -----
    The backward system starts one step ahead, y[t] gets Σ_j k[j] u[t + 1 + j], so that the present
    sample is counted once.  :class:`InclusiveMIMOSSM` brings layers published otherwise to this
    form.
    """

    @abstractmethod
    def modes(self) -> tuple[MIMOModes, ...]:
        """Return the modes of each direction; they may differ in number."""

    def system(self) -> MIMOSystem:
        """Return the system of each direction, batch shape ``(directions,)``, gradients cut.

        D is the forward direction's; the bias is not part of a linear system.
        """
        with torch.no_grad():
            modes = self.modes()
            n = max(1, *(len(one.exponents) for one in modes))
            D = self.feedthrough().double()
            forward = torch.diag(D) if D.ndim == 1 else D
            parts: list[tuple[Tensor, ...]] = []
            for one in modes:
                gap = n - len(one.exponents)
                kind = torch.ones_like(one.exponents, dtype=torch.int64)
                kind[: one.num_pairs] = 2
                parts.append(
                    (
                        torch.cat([one.exponents, one.exponents.new_full((gap,), -1.0)]),
                        functional.pad(one.B, (0, 0, 0, gap)),
                        functional.pad(one.C / kind, (0, gap)),
                        functional.pad(kind, (0, gap)),
                        torch.zeros_like(forward) if parts else forward,
                    )
                )
            exponents, B, C, states, D = map(torch.stack, zip(*parts, strict=True))
            return MIMOSystem(exponents, B, C, states, D, "discrete")

    def respond(self, signal: Tensor) -> Tensor:
        length = signal.shape[-1]
        flat = signal.reshape(-1, self.channels, length).movedim(1, 0)
        forward, *backward = self.modes()
        total = forward.respond(_padded(flat))[..., :length]
        for one in backward:
            ahead = one.respond(_padded(flat.flip(-1)[..., : length - 1]))[..., : length - 1]
            total = total + functional.pad(ahead.flip(-1), (0, 1))
        return total.movedim(0, 1).reshape(signal.shape)

    @property
    def num_states(self) -> int:
        return sum(one.num_states for one in self.modes())

    def recurrence(self) -> MIMORecurrence:
        self.require_causal()
        (modes,), dtype = self.modes(), self.D.dtype
        increment = torch.expm1(modes.exponents)
        (real, imaginary), single = modes.inputs(dtype)
        (real_output, imaginary_output), single_output = modes.outputs(dtype)
        return MIMORecurrence(
            pair_increment=torch.view_as_real(increment[: modes.num_pairs]).mT.to(dtype),
            real_increment=increment.real[modes.num_pairs :].to(dtype),
            B=torch.cat([real, imaginary, single]),
            C=torch.cat([real_output, imaginary_output, single_output], -1),
        )


class InclusiveMIMOSSM(MIMOSSM):
    """A layer whose directions both count the present sample, in its published form.

    Subclasses supply :meth:`published_modes` and hold D as its diagonal, shape ``(H,)``.
    """

    @abstractmethod
    def published_modes(self) -> list[MIMOModes]:
        """Return the modes of each direction, the kernel of both beginning at the present."""

    def modes(self) -> tuple[MIMOModes, ...]:
        forward, *backward = self.published_modes()
        return (forward, *(one.one_step_ahead() for one in backward))

    def feedthrough(self) -> Tensor:
        """Return D, with two directions + Re(C_b B): no longer diagonal, ``(H, H)``."""
        if not self.bidirectional:
            return self.D
        return torch.diag(self.D.double()) + self.published_modes()[1].first_sample()


def _padded(signal: Tensor) -> Tensor:
    """Lengthen signals ``(H, batch, L)`` before they become many states."""
    length = signal.shape[-1]
    return functional.pad(signal, (0, padded_length(length) - length))
