"""What all S5 layers compute, whatever their tensors are called: matrices to systems and back."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.complex_states import (
    balanced,
    counted_once,
    counted_twice,
    proportion_of,
    split_outputs,
    stack_outputs,
    states_of_system,
    system_of_states,
)
from hydropress.systems.discretization import discretize_bilinear, discretize_zoh
from hydropress.systems.modal import MIMOSystem

OFF_DIAGONAL = 1e-9
"""Share of the largest entry of D up to which what is off its diagonal is rounding, as of a pole
that was divided out."""

CLIPPED = -1e-4
"""Largest real part of Λ in layers that clip it."""


@dataclass(frozen=True)
class Rule:
    """How a layer turns Λ and B into a discrete-time recurrence.

    Attributes
    ----------
    forward
        Poles and steps to exponents and gains.
    poles_of
        Exponents and steps back to poles.
    """

    forward: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    poles_of: Callable[[Tensor, Tensor], Tensor]


RULES = {
    "zoh": Rule(discretize_zoh, lambda exponents, step: exponents / step),
    "bilinear": Rule(
        discretize_bilinear, lambda exponents, step: 2 * torch.tanh(exponents / 2) / step
    ),
}


def rule_named(name: object) -> Rule:
    """Return the rule of a name."""
    if not isinstance(name, str) or name not in RULES:
        raise InvalidArgumentError(
            f"discretization={name!r}; required: one of {', '.join(RULES)}, the names that S5 has"
        )
    return RULES[name]


@dataclass(frozen=True)
class S5Matrices:
    """x' = Λ x + B u, y = m Re(C x) + D u, and the same from the end of the sequence.

    Attributes
    ----------
    poles, B
        Λ and B, complex, shapes ``(P,)`` and ``(P, H)``.
    C
        One for each direction, complex, shape ``(H, P)``.
    D
        Diagonal, shape ``(H,)``.
    log_step
        log Δ of each state, shape ``(P,)``.
    rescale
        Factor of all steps.
    """

    poles: Tensor
    B: Tensor
    C: tuple[Tensor, ...]
    D: Tensor
    log_step: Tensor
    rescale: float = 1.0

    @property
    def scale(self) -> Tensor:
        """The geometric mean of the steps, which stands for all of them."""
        return self.rescale * torch.exp(self.log_step.double().mean())

    def system(self, rule: Rule, factor: float) -> MIMOSystem:
        """Return the system of each direction, as a ``LinearPart`` has it.

        Parameters
        ----------
        factor
            m: 2 where each state stands for a conjugate pair, else 1.
        """
        step = self.rescale * torch.exp(self.log_step.double())
        exponents, gain = rule.forward(self.poles.to(torch.complex128), step)
        B = gain[:, None] * self.B.to(torch.complex128)
        outputs = torch.cat([factor * C.to(torch.complex128) for C in self.C])
        D = torch.diag(self.D.double())
        beside = torch.zeros_like(D).expand(len(self.C) - 1, *D.shape).flatten(0, 1)
        whole = system_of_states(exponents, B, outputs, torch.cat([D, beside]))
        split = split_outputs(whole, len(self.C))
        return split if len(self.C) == 1 else counted_once(split)

    def of_system(
        self, system: MIMOSystem, rule: Rule, factor: float, *, clipped: bool = False
    ) -> "S5Matrices":
        """Return matrices of the same family that realise a system; this layer's set the scales.

        Every state gets the geometric mean of this layer's steps (a shorter one where Λ would be
        clipped otherwise), and B and C the proportion of this layer's.

        Parameters
        ----------
        system
            Batch shape ``(directions,)``; of two directions the poles and B are the same.
        clipped
            Whether the layer clips Re Λ at ``CLIPPED``.

        Raises
        ------
        InvalidArgumentError
            If the layer, of one set of poles and a diagonal D, cannot be the system.
        """
        if len(self.C) == 2:
            _require_shared(system)
            system = counted_twice(system)
        D = _require_diagonal(system.D[0])
        states = states_of_system(stack_outputs(system))
        exponents = states.exponents
        step = self.scale.expand(len(exponents))
        if clipped:
            step = torch.minimum(step, exponents.real / (1.0001 * CLIPPED))
        # Gains are those of the rounded parameters, so that residues survive the rounding.
        log_step = torch.log(step / self.rescale).to(self.log_step.dtype)
        step = self.rescale * torch.exp(log_step.double())
        poles, real = rule.poles_of(exponents, step), self.poles.real.dtype
        poles = torch.complex(poles.real.to(real), poles.imag.to(real))
        _, gain = rule.forward(poles.to(torch.complex128), step)
        proportion = proportion_of(self.B, torch.cat(self.C))
        B, C = balanced(states.B / gain[:, None], states.C / factor, proportion)
        return S5Matrices(poles, B, C.chunk(len(self.C)), D, log_step, self.rescale)


def _require_shared(system: MIMOSystem) -> None:
    same = torch.equal(system.exponents[0], system.exponents[1])
    same = same and torch.equal(system.states[0], system.states[1])
    if not same or not torch.allclose(system.B[0], system.B[1], rtol=1e-9, atol=0):
        raise InvalidArgumentError(
            "two directions with poles or B of their own for an S5 layer, which has one set of "
            "both; required: the same in both; reduce the directions as one system of two outputs"
        )


def _require_diagonal(D: Tensor) -> Tensor:
    """Return the diagonal of D, or raise if there is anything else."""
    diagonal = torch.diagonal(D)
    off = (D - torch.diag(diagonal)).abs().max()
    if bool(off > OFF_DIAGONAL * D.abs().max()):
        raise InvalidArgumentError(
            f"a system whose D has entries of {off.item():.2g} off its diagonal for an S5 layer, "
            "whose D is a vector; required: a diagonal D, of two directions as counted_twice has "
            "it; reduce a system of that form with D kept"
        )
    return diagonal
