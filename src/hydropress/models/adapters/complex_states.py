"""Between diagonal layers of free complex states, y = Re(C x), and systems of conjugate pairs.

S5 and LRU layers hold N complex states and take the real part of what they put out.  A state whose
pole is not real is one half of a conjugate pair: of Re(c b a^t), the record's 2 Re(R a^t) has half
the residue.  A state on the real axis responds with a real matrix of rank two,
Re(c) Re(b)ᵀ - Im(c) Im(b)ᵀ, so it counts as two real poles unless one of the two terms vanishes.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from hydropress.systems.checks import REAL_TOLERANCE
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.moments import wrap_phase
from hydropress.systems.state_space import turn_phases

ROUNDED_PHASE = 1e-6
"""How far a phase kept in float32, or as its logarithm, lies from a multiple of π that it stands
for, relative to that multiple: a few times the rounding, 1.2e-7."""


@dataclass(frozen=True)
class ComplexStates:
    """x[t] = e^s x[t-1] + B u[t], y[t] = Re(C x[t]) + D u[t], complex states of all kinds.

    Attributes
    ----------
    exponents
        s, complex128, shape ``(N,)``; of a real pole with imaginary part 0 or π.
    B, C
        Complex128, shapes ``(N, M)`` and ``(P, N)``; of a real pole real.
    """

    exponents: Tensor
    B: Tensor
    C: Tensor

    @property
    def poles(self) -> Tensor:
        return torch.exp(self.exponents)


def system_of_states(exponents: Tensor, B: Tensor, C: Tensor, D: Tensor) -> MIMOSystem:
    """Return the real system that complex states and Re(C x) + D u make, one system, no batch.

    Parameters
    ----------
    exponents, B, C, D
        Shapes ``(N,)``, ``(N, M)``, ``(P, N)`` and ``(P, M)``; B with the input's gain, C with
        every factor of the output.
    """
    exponents, real = _on_axis(exponents.to(torch.complex128))
    B, C = B.to(torch.complex128), C.to(torch.complex128)
    lower = ~real & (exponents.imag < 0)
    exponents = torch.where(lower, exponents.conj(), exponents)
    B = torch.where(lower[:, None], B.conj(), B)
    C = torch.where(lower, C.conj(), C)
    turned, outputs = turn_phases(B[real], C[:, real])
    axis = exponents[real]
    halves = ((turned.real, outputs.real), (turned.imag, -outputs.imag))
    shares = [_size(b, c) for b, c in halves]
    kept = [share > REAL_TOLERANCE * (shares[0] + shares[1]) for share in shares]
    kept[0] = ~kept[1] | kept[0]  # a silent state stays, as one
    parts_B = [B[~real], *(b[keep].to(B.dtype) for (b, _), keep in zip(halves, kept, strict=True))]
    parts_C = [
        C[:, ~real] / 2,
        *(c[:, keep].to(C.dtype) for (_, c), keep in zip(halves, kept, strict=True)),
    ]
    everything = torch.cat([exponents[~real], *(axis[keep] for keep in kept)])
    states = torch.ones_like(everything, dtype=torch.int64)
    states[: int((~real).sum())] = 2
    inputs, joined = torch.cat(parts_B), torch.cat(parts_C, -1)
    return MIMOSystem(everything, inputs, joined, states, D.double(), "discrete")


def _on_axis(exponents: Tensor) -> tuple[Tensor, Tensor]:
    """Return exponents with phases in (-π, π], and which poles are real."""
    turns = torch.round(exponents.imag / math.pi)
    rest = (exponents.imag - math.pi * turns).abs()
    real = (exponents.imag == 0) | ((turns != 0) & (rest <= ROUNDED_PHASE * turns.abs()))
    axis = torch.complex(exponents.real, math.pi * torch.remainder(turns, 2).abs())
    return torch.where(real, axis, wrap_phase(exponents)), real


def _size(b: Tensor, c: Tensor) -> Tensor:
    """Return ‖c bᵀ‖ of real terms ``(n, M)`` and ``(P, n)``, shape ``(n,)``."""
    return torch.linalg.vector_norm(b, dim=-1) * torch.linalg.vector_norm(c, dim=0)


def states_of_system(system: MIMOSystem) -> ComplexStates:
    """Return the complex states whose real part is one system's response, one an entry.

    A layer without states is none of the originals', so that a system of order 0 gets one that
    does nothing.
    """
    used = system.states > 0
    states = ComplexStates(
        system.exponents[used], system.B[used], (system.C * system.states)[:, used]
    )
    if len(states.exponents):
        return states
    return ComplexStates(
        states.exponents.new_full((1,), -1.0),
        functional.pad(states.B, (0, 0, 0, 1)),
        functional.pad(states.C, (0, 1)),
    )


def balanced(B: Tensor, C: Tensor, proportion: Tensor) -> tuple[Tensor, Tensor]:
    """Return the same c_i b_iᵀ with ‖c_i‖ / ‖b_i‖ as given.

    How a residue is split between b and c says nothing, but a layer whose parameters are of the
    original's sizes trains at the original's rates.
    """
    inputs = torch.linalg.vector_norm(B, dim=-1)
    outputs = torch.linalg.vector_norm(C, dim=0)
    scale = torch.sqrt(proportion * inputs / outputs)
    usable = torch.isfinite(scale) & (scale > 0)
    scale = torch.where(usable, scale, torch.ones_like(scale))
    return B / scale[:, None], C * scale


def proportion_of(B: Tensor, C: Tensor) -> Tensor:
    """Return the typical ‖c_i‖ / ‖b_i‖ of a layer's parameters; one if there is none."""
    inputs = torch.linalg.vector_norm(B, dim=-1).double()
    outputs = torch.linalg.vector_norm(C, dim=0).double()
    ratios = outputs / inputs
    ratios = ratios[torch.isfinite(ratios) & (ratios > 0)]
    return ratios.median() if len(ratios) else torch.ones((), dtype=torch.float64).to(B.device)


def split_outputs(system: MIMOSystem, directions: int) -> MIMOSystem:
    """Return the system of each direction of one whose outputs stand one above the other.

    Returns
    -------
    MIMOSystem
        Batch shape ``(directions,)``, the same poles and B in all.
    """
    count, channels = system.num_poles, system.num_outputs // directions
    C = system.C.reshape(directions, channels, count)
    D = system.D.reshape(directions, channels, system.num_inputs)
    return replace(
        system,
        exponents=system.exponents.expand(directions, count),
        B=system.B.expand(directions, count, system.num_inputs),
        C=C,
        states=system.states.expand(directions, count),
        D=D,
    )


def stack_outputs(system: MIMOSystem) -> MIMOSystem:
    """Do the opposite of :func:`split_outputs`, for directions of the same poles and B."""
    return replace(
        system[0],
        C=system.C.reshape(-1, system.num_poles),
        D=system.D.reshape(-1, system.num_inputs),
    )


def counted_once(system: MIMOSystem) -> MIMOSystem:
    """Return two directions that both count the present sample as a ``LinearPart`` has them.

    The second one starts a sample ahead then: its C takes up the poles, and what it gave to the
    present sample, k[0], becomes a part of the first one's D, which is diagonal no longer.
    """
    C, D = system.C.clone(), system.D.clone()
    D[0] += _first_sample(system[1])
    C[1] *= torch.exp(system.exponents[1])
    return replace(system, C=C, D=D)


def counted_twice(system: MIMOSystem) -> MIMOSystem:
    """Do the opposite of :func:`counted_once`."""
    C, D = system.C.clone(), system.D.clone()
    C[1] *= torch.exp(-system.exponents[1])
    D[0] -= _first_sample(replace(system, C=C)[1])
    return replace(system, C=C, D=D)


def _first_sample(system: MIMOSystem) -> Tensor:
    return (system.C * system.states @ system.B).real
