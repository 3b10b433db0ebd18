"""What all S5 layers compute, whatever their tensors are called: matrices to systems and back."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.complex_states import (
    ComplexStates,
    balanced,
    proportion_of,
    split_outputs,
    states_of_system,
    system_of_states,
)
from hydropress.models.adapters.nearest_feedthrough import nearest_backward
from hydropress.systems.discretization import discretize_bilinear, discretize_zoh
from hydropress.systems.modal import MIMOSystem

OFF_DIAGONAL = 1e-12
"""Share of the largest entry of D up to which what is off its diagonal is rounding."""

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
    """

    poles: Tensor
    B: Tensor
    C: tuple[Tensor, ...]
    D: Tensor
    log_step: Tensor

    @property
    def scale(self) -> Tensor:
        """The geometric mean of the steps, which stands for all of them."""
        return torch.exp(self.log_step.double().mean())

    def system(self, rule: Rule, factor: float) -> MIMOSystem:
        """Return the system of each direction, as a ``LinearPart`` has it.

        Both directions of an S5 count the present sample.  Here the second one starts a sample
        ahead: its C takes up the poles, and what it gave to the present sample, m Re(C B), is a
        part of D, which is diagonal no longer.

        Parameters
        ----------
        factor
            m: 2 where each state stands for a conjugate pair, else 1.
        """
        step = torch.exp(self.log_step.double())
        exponents, gain = rule.forward(self.poles.to(torch.complex128), step)
        B = gain[:, None] * self.B.to(torch.complex128)
        forward, *backward = [factor * C.to(torch.complex128) for C in self.C]
        D = torch.diag(self.D.double())
        blocks, feedthrough = [forward], [D]
        for C in backward:
            feedthrough[0] = feedthrough[0] + (C @ B).real
            blocks.append(C * torch.exp(exponents))
            feedthrough.append(torch.zeros_like(D))
        whole = system_of_states(exponents, B, torch.cat(blocks), torch.cat(feedthrough))
        return split_outputs(whole, len(self.C))

    def of_system(
        self, system: MIMOSystem, rule: Rule, factor: float, *, clipped: bool = False
    ) -> "S5Matrices":
        """Return matrices of the same family that realise a system; this layer's set the scales.

        Every state gets the geometric mean of this layer's steps (a shorter one where Λ would be
        clipped otherwise), and B and C the proportion of this layer's.

        Parameters
        ----------
        system
            Batch shape ``(directions,)``.  Two directions have to share their poles and B; a D
            that no diagonal one can make up for is approached, see
            :func:`~hydropress.models.adapters.nearest_feedthrough.nearest_backward`.
        clipped
            Whether the layer clips Re Λ at ``CLIPPED``.
        """
        if len(self.C) == 1:
            states, outputs = states_of_system(system[0]), ()
            D = torch.diagonal(system.D[0])
        else:
            states, ahead = _shared_states(system)
            backward, D = nearest_backward(states, ahead, system.D[0])
            outputs = (backward,)
        exponents = states.exponents
        step = self.scale.expand(len(exponents))
        if clipped:
            step = torch.minimum(step, exponents.real / (1.0001 * CLIPPED))
        # Gains are those of the rounded parameters, so that residues survive the rounding.
        log_step, real = torch.log(step).to(self.log_step.dtype), self.poles.real.dtype
        poles = rule.poles_of(exponents, torch.exp(log_step.double()))
        poles = torch.complex(poles.real.to(real), poles.imag.to(real))
        _, gain = rule.forward(poles.to(torch.complex128), torch.exp(log_step.double()))
        joined = torch.cat([states.C, *outputs]) / factor
        B, C = balanced(states.B / gain[:, None], joined, self._proportion())
        return S5Matrices(poles, B, C.chunk(len(self.C)), D, log_step)

    def checked(self, system: MIMOSystem) -> MIMOSystem:
        """Return a system that is to be written, or raise if it cannot be with this layer's D."""
        if len(self.C) == 1:
            D = system.D[0]
            off = (D - torch.diag(torch.diagonal(D))).abs().max()
            if bool(off > OFF_DIAGONAL * D.abs().max()):
                raise InvalidArgumentError(
                    f"a D with entries of {off.item():.2g} off its diagonal for an S5 layer, whose "
                    "D is a vector; required: a diagonal D; reduce without fit_feedthrough"
                )
        return system

    def _proportion(self) -> Tensor:
        """Return the typical proportion of B and C; beside two C's lies what they have together."""
        return proportion_of(self.B, torch.cat(self.C))


def _shared_states(system: MIMOSystem) -> tuple[ComplexStates, Tensor]:
    """Return the states of both directions with the forward C, and the C of the backward one."""
    same = torch.equal(system.exponents[0], system.exponents[1])
    same = same and torch.equal(system.states[0], system.states[1])
    if not same or not torch.allclose(system.B[0], system.B[1], rtol=1e-9, atol=0):
        raise InvalidArgumentError(
            "two directions with poles or B of their own for an S5 layer, which has one set of "
            "both; required: the same in both; reduce the directions as one system of two outputs"
        )
    channels = system.num_outputs
    stacked = replace(
        system[0],
        C=system.C.reshape(-1, system.num_poles),
        D=system.D.reshape(-1, system.num_inputs),
    )
    states = states_of_system(stacked)
    return replace(states, C=states.C[:channels]), states.C[channels:]
