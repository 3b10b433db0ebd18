"""The unknowns of the optimiser: reduced systems in coordinates that keep them stable."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hydropress.systems.modal import ModalSystem, SISOSystem
from hydropress.systems.moments import Time

AXIS_TOLERANCE = 1e-7
"""A pair whose frequency is below this share of its decay is one real pole: its sine part, to be
visible, would need a residue larger than any that the descent accepts."""


@dataclass(frozen=True)
class Iterate:
    """K reduced systems of at most m modes each.

    Attributes
    ----------
    log_decay
        log(-Re s), float64, shape ``(K, m)``: every value is stable.
    frequency
        Im s, float64, shape ``(K, m)``; of a real pole 0, or π if it alternates in sign.
    residues
        ρ, complex128, shape ``(K, m)``.
    states
        2 for a pair, 1 for a real pole, 0 for an empty slot, int64, shape ``(K, m)``.
    D
        Change of the feedthrough, float64, shape ``(K,)``.
    """

    log_decay: Tensor
    frequency: Tensor
    residues: Tensor
    states: Tensor
    D: Tensor

    @property
    def exponents(self) -> Tensor:
        """s, complex128, shape ``(K, m)``."""
        return torch.complex(-self.log_decay.exp(), self.frequency)

    @staticmethod
    def from_system(system: SISOSystem) -> "Iterate":
        """Take over a bank of batch shape ``(K,)``; its D starts at zero change."""
        empty = system.states == 0
        decay = torch.where(empty, 1.0, -system.exponents.real).clamp_min(1e-300)
        return Iterate(
            torch.log(decay),
            torch.where(empty, 0.0, system.exponents.imag),
            torch.where(empty, 0.0, system.residues),
            system.states,
            torch.zeros_like(system.D),
        )

    def to_system(self, D: Tensor, time: Time) -> SISOSystem:
        """Return the bank, with Im s ≥ 0 and pairs on the axis turned into real poles.

        Parameters
        ----------
        D
            Feedthrough that ``self.D`` is added to, shape ``(K,)``.
        """
        frequency, residues = self.frequency, self.residues
        if time == "discrete":
            frequency = torch.remainder(frequency + math.pi, 2 * math.pi) - math.pi
            at_boundary = (self.states == 1) & (self.frequency.abs() > math.pi / 2)
            frequency = torch.where(at_boundary, math.pi, frequency)
        lower = frequency < 0
        frequency = frequency.abs()
        residues = torch.where(lower, residues.conj(), residues)
        distance = frequency
        if time == "discrete":
            distance = torch.minimum(frequency, math.pi - frequency)
        on_axis = (self.states == 2) & (distance <= AXIS_TOLERANCE * self.log_decay.exp())
        if time == "discrete":
            frequency = torch.where(on_axis & (frequency > math.pi / 2), math.pi, frequency)
            frequency = torch.where(on_axis & (frequency <= math.pi / 2), 0.0, frequency)
        else:
            frequency = torch.where(on_axis, 0.0, frequency)
        states = torch.where(on_axis, 1, self.states)
        scale = torch.where(on_axis, 2.0, 1.0)
        real = torch.complex(residues.real * scale, torch.zeros_like(frequency))
        residues = torch.where(states == 1, real, residues)
        # A mode of no weight is no state at all.
        states = torch.where(residues == 0, 0, states)
        exponents = torch.complex(-self.log_decay.exp(), frequency)
        empty = states == 0
        exponents = torch.where(empty, torch.full_like(exponents, -1), exponents)
        residues = torch.where(empty, torch.zeros_like(residues), residues)
        return ModalSystem.from_exponents(exponents, residues, states, D + self.D, time=time)

    def select(self, index: Tensor | slice) -> "Iterate":
        """Return the systems of an index, a mask or a slice."""
        return Iterate(*(getattr(self, field.name)[index] for field in fields(self)))

    def pad(self, slots: int) -> "Iterate":
        """Append empty slots up to ``slots``."""
        extra = slots - self.states.shape[1]
        if extra <= 0:
            return self

        def widen(tensor: Tensor) -> Tensor:
            return torch.cat([tensor, tensor.new_zeros(len(tensor), extra)], dim=1)

        return Iterate(
            widen(self.log_decay),
            widen(self.frequency),
            widen(self.residues),
            widen(self.states),
            self.D,
        )

    def where(self, condition: Tensor, other: "Iterate") -> "Iterate":
        """Return ``self`` where the condition of shape ``(K,)`` holds, else ``other``."""
        slots = max(self.states.shape[1], other.states.shape[1])
        first, second = self.pad(slots), other.pad(slots)
        column = condition[:, None]
        return Iterate(
            torch.where(column, first.log_decay, second.log_decay),
            torch.where(column, first.frequency, second.frequency),
            torch.where(column, first.residues, second.residues),
            torch.where(column, first.states, second.states),
            torch.where(condition, first.D, second.D),
        )

    def scatter(self, index: Tensor, other: "Iterate") -> "Iterate":
        """Return a copy in which the systems at ``index`` are those of ``other``."""
        slots = max(self.states.shape[1], other.states.shape[1])
        base, new = self.pad(slots), other.pad(slots)
        parts: list[Tensor] = []
        for field in fields(self):
            tensor = getattr(base, field.name).clone()
            tensor[index] = getattr(new, field.name)
            parts.append(tensor)
        return Iterate(*parts)

    def append(self, exponents: Tensor, states: Tensor) -> "Iterate":
        """Add modes with zero residues.

        Parameters
        ----------
        exponents, states
            Shape ``(K, a)``.
        """
        return Iterate(
            torch.cat([self.log_decay, torch.log(-exponents.real)], dim=1),
            torch.cat([self.frequency, exponents.imag], dim=1),
            torch.cat([self.residues, torch.zeros_like(exponents)], dim=1),
            torch.cat([self.states, states], dim=1),
            self.D,
        ).compact()

    def without(self, slots: list[int]) -> "Iterate":
        """Return a copy in which these slots are empty."""
        states, residues = self.states.clone(), self.residues.clone()
        states[:, slots], residues[:, slots] = 0, 0
        return Iterate(self.log_decay, self.frequency, residues, states, self.D)

    def compact(self) -> "Iterate":
        """Move empty slots to the end and drop those that no system uses."""
        order = torch.argsort((self.states == 0).long(), dim=1, stable=True)
        used = max(1, int((self.states > 0).sum(1).max())) if len(self.states) else 1
        order = order[:, :used]
        return Iterate(
            self.log_decay.gather(1, order),
            self.frequency.gather(1, order),
            self.residues.gather(1, order),
            self.states.gather(1, order),
            self.D,
        )


def empty_iterate(num_systems: int, device: torch.device) -> Iterate:
    """Return K systems without a mode."""
    zeros = torch.zeros(num_systems, 1, dtype=torch.float64, device=device)
    return Iterate(zeros, zeros, zeros.to(torch.complex128), zeros.to(torch.int64), zeros[:, 0])


def stack_iterates(iterates: list[Iterate]) -> Iterate:
    """Concatenate along K, padded to one number of slots."""
    slots = max(iterate.states.shape[1] for iterate in iterates)
    padded = [iterate.pad(slots) for iterate in iterates]
    return Iterate(
        *(torch.cat([getattr(one, field.name) for one in padded]) for field in fields(Iterate))
    )
