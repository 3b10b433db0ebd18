"""What every linear SSM layer of this package does, whatever its parameters."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.convolution import convolve
from hydropress.systems.modal import ModalSystem, SISOSystem


def require_positive_integer(name: str, value: object) -> None:
    """Raise :class:`InvalidArgumentError` unless it is one."""
    if not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(f"{name}={value!r}; required: a positive integer")


def _full_precision(device_type: str) -> AbstractContextManager[object]:
    """Return a context without automatic mixed precision, which not every device has."""
    if torch.amp.is_autocast_available(device_type):  # type: ignore[attr-defined]
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


class StepCoefficients(ABC):
    """What a layer needs to advance by one sample, computed once for many steps."""

    @property
    @abstractmethod
    def num_states(self) -> int:
        """Number of real states."""

    @abstractmethod
    def advance(self, sample: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the states add to the output, shape ``(batch, H)``, and the next state."""


class LinearSSM(nn.Module, ABC):
    """A linear time-invariant layer of H channels, with feedthrough and bias.

    y = k * u + D u + b, plus the same form run from the far end of the sequence when the layer is
    bidirectional.  Subclasses hold the parameters: :class:`BankSSM` has a scalar system for each
    channel, :class:`~hydropress.models.mimo_layer.MIMOSSM` one system for all of them.

    Parameters
    ----------
    channels
        H, the number of inputs and outputs.
    bidirectional
        Whether a second system reads the sequence backwards, one step ahead of the present.
    """

    D: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, channels: int, *, bidirectional: bool) -> None:
        super().__init__()
        require_positive_integer("channels", channels)
        self.channels = channels
        self.bidirectional = bidirectional

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    @abstractmethod
    def system(self) -> ModalSystem:
        """Return the layer's systems, gradients cut; the first batch axis is the direction.

        D is the forward direction's; the bias is not part of a linear system.
        """

    @abstractmethod
    def respond(self, signal: Tensor) -> Tensor:
        """Return k * u, both directions together, for signals of shape ``(..., H, L)``."""

    @property
    @abstractmethod
    def num_states(self) -> int:
        """Number of real states."""

    @abstractmethod
    def recurrence(self) -> StepCoefficients:
        """Return the step coefficients, to be computed once and passed to every :meth:`step`."""

    def step_scale(self) -> Tensor | None:
        """Return the time units per sample of each system, in the batch shape of :meth:`system`.

        None if the layer has no such scale.
        """
        return None

    def feedthrough(self) -> Tensor:
        """Return D, shape ``(H,)`` if it is diagonal, else ``(H, H)``."""
        return self.D

    def forward(self, signal: Tensor) -> Tensor:
        """Apply the layer to whole sequences, shape ``(..., H, L)`` in and out.

        Under automatic mixed precision too it computes in float32: poles near the boundary do not
        survive less, and there are no transforms in half precision on a processor.
        """
        if signal.ndim < 2 or signal.shape[-2] != self.channels:
            raise InvalidArgumentError(
                f"signal of shape {tuple(signal.shape)}; required: (..., {self.channels}, length); "
                "move the channels to the last axis but one"
            )
        if signal.dtype in (torch.bfloat16, torch.float16):
            signal = signal.float()
        with _full_precision(signal.device.type):
            output = self.respond(signal)
            D = self.feedthrough()
            if D.ndim == 1:
                output = torch.addcmul(output, signal, D[:, None])
            else:
                output = output + D.to(signal.dtype) @ signal
            return output if self.bias is None else output + self.bias[:, None]

    def require_causal(self) -> None:
        """Raise :class:`InvalidArgumentError` if the layer reads the future."""
        if self.bidirectional:
            raise InvalidArgumentError(
                "a bidirectional layer, which reads the future, cannot run step by step; required: "
                "a unidirectional one; use forward() on whole sequences"
            )

    def initial_state(self, batch: int) -> Tensor:
        """Return the state at rest, zeros of shape ``(batch, number of real states)``."""
        return self.D.new_zeros(batch, self.num_states)

    def step(
        self, sample: Tensor, state: Tensor, recurrence: StepCoefficients | None = None
    ) -> tuple[Tensor, Tensor]:
        """Advance by one sample, in real arithmetic throughout.

        Parameters
        ----------
        sample
            u[t], shape ``(batch, H)``.
        state
            x[t - 1], shape ``(batch, states)``: real parts of the pairs, their imaginary parts,
            real poles.
        recurrence
            From :meth:`recurrence`, which spares the step the exponentials.

        Returns
        -------
        output, state
            y[t], shape ``(batch, H)``, and x[t].
        """
        step = self.recurrence() if recurrence is None else recurrence
        required = (sample.shape[0], self.channels), (sample.shape[0], step.num_states)
        if (tuple(sample.shape), tuple(state.shape)) != required:
            raise InvalidArgumentError(
                f"sample of shape {tuple(sample.shape)} with a state of shape "
                f"{tuple(state.shape)}; required: (batch, {self.channels}) and (batch, "
                f"{step.num_states}); start from initial_state(batch)"
            )
        output, state = step.advance(sample, state)
        D = self.feedthrough()
        output = output + (D * sample if D.ndim == 1 else sample @ D.to(sample.dtype).mT)
        return output if self.bias is None else output + self.bias, state


def relax(
    state: Tensor, pair_increment: Tensor, real_increment: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return x + (a - 1) x: real parts of the pairs, their imaginary parts, real poles.

    Increments a - 1 are used instead of a: in float32 the rounding of a alone would move a pole
    with |1 - a| = 5e-4 by 1e-4 of its distance to the boundary.

    Parameters
    ----------
    state
        The three, one after another, shape ``(batch, states)``.
    pair_increment, real_increment
        Shapes ``(2, pairs)``, real and imaginary parts, and ``(real poles,)``.
    """
    pairs = pair_increment.shape[-1]
    real, imaginary, single = state.split([pairs, pairs, len(real_increment)], dim=-1)
    growth, turn = pair_increment
    return (
        real + (growth * real - turn * imaginary),
        imaginary + (turn * real + growth * imaginary),
        single + real_increment * single,
    )


@dataclass(frozen=True)
class Modes:
    """The modes of a layer's bank of scalar systems, flat: one entry per pole pair or real pole.

    Attributes
    ----------
    row
        Which system of the bank an entry belongs to, int64, shape ``(E,)``.
    exponents
        s = log a, complex128, shape ``(E,)``; pairs first, then real poles.
    residues
        ρ with its input gain and, for pairs, the factor 2 folded in, complex128, shape ``(E,)``.
    num_pairs
        How many of the entries are conjugate pairs.
    """

    row: Tensor
    exponents: Tensor
    residues: Tensor
    num_pairs: int


@dataclass(frozen=True)
class Recurrence(StepCoefficients):
    """The coefficients of a bank's real recurrence x ← x + Δx + u, y = Cx, one entry a state."""

    row: Tensor
    pair_increment: Tensor
    pair_output: Tensor
    real_increment: Tensor
    real_output: Tensor

    @property
    def num_states(self) -> int:
        return len(self.row)

    def advance(self, sample: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        pairs, driven = self.pair_increment.shape[-1], sample[:, self.row]
        real, imaginary, single = relax(state, self.pair_increment, self.real_increment)
        real, single = real + driven[:, :pairs], single + driven[:, 2 * pairs :]
        state = torch.cat([real, imaginary, single], dim=-1)
        real_output, imaginary_output = self.pair_output
        weights = torch.cat([real_output, -imaginary_output, self.real_output])
        output = torch.zeros_like(sample).index_add(-1, self.row, weights * state)
        return output, state


class BankSSM(LinearSSM):
    """A bank of scalar linear SSMs, one per channel and direction.

    y_h = k_h * u_h + D_h u_h + b_h, plus the same form run from the far end of the sequence when
    the layer is bidirectional.  Subclasses hold the parameters and supply :meth:`modes`.
    """

    @abstractmethod
    def modes(self) -> Modes:
        """Return the modes of the ``directions * channels`` systems of the bank."""

    @abstractmethod
    def kernel(self, length: int) -> Tensor:
        """Return the convolution kernels without D, shape ``(directions, H, length)``."""

    def system(self) -> SISOSystem:
        """Return the bank as systems, batch shape ``(directions, H)``, gradients cut.

        D is the forward direction's; the bias is not part of a linear system.
        """
        with torch.no_grad():
            modes = self.modes()
            rows = self.directions * self.channels
            order = torch.argsort(modes.row, stable=True)
            row = modes.row[order]
            count = torch.bincount(row, minlength=rows)
            slot = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
            width = max(1, int(count.max()))
            exponents = modes.exponents.new_full((rows, width), -1.0)
            residues = torch.zeros_like(exponents)
            states = torch.zeros(rows, width, dtype=torch.int64, device=row.device)
            kind = torch.where(torch.arange(len(row), device=row.device) < modes.num_pairs, 2, 1)
            exponents[row, slot] = modes.exponents[order]
            states[row, slot] = kind[order]
            residues[row, slot] = modes.residues[order] / kind[order]
            feedthrough = torch.zeros(rows, dtype=torch.float64, device=row.device)
            feedthrough[: self.channels] = self.D.double()
            bank = ModalSystem.from_exponents(exponents, residues, states, feedthrough)
            return bank.reshape(self.directions, self.channels)

    def respond(self, signal: Tensor) -> Tensor:
        kernel = self.kernel(signal.shape[-1]).to(signal.dtype)
        return convolve(signal, kernel[0], kernel[1] if self.bidirectional else None)

    @property
    def num_states(self) -> int:
        modes = self.modes()
        return len(modes.row) + modes.num_pairs

    def recurrence(self) -> Recurrence:
        self.require_causal()
        modes, dtype = self.modes(), self.D.dtype
        increment = torch.expm1(modes.exponents)
        pairs = modes.num_pairs
        return Recurrence(
            row=torch.cat([modes.row[:pairs], modes.row[:pairs], modes.row[pairs:]]),
            pair_increment=torch.view_as_real(increment[:pairs]).T.to(dtype),
            pair_output=torch.view_as_real(modes.residues[:pairs]).T.to(dtype),
            real_increment=increment.real[pairs:].to(dtype),
            real_output=modes.residues.real[pairs:].to(dtype),
        )
