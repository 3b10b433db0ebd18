"""What a linear part says the output is, sample by sample, and hostile systems to write."""

import math

import torch
from torch import Tensor

from hydropress.models.adapters.protocol import LinearPart
from hydropress.systems.modal import MIMOSystem

FLOAT32 = 1e-5
"""Outputs of an original that computes in float32, relative to the largest: rounding of its poles
and of (e^z - 1) / z, z a hundredth, over a few hundred samples."""

FLOAT64 = 1e-10
"""The same of an original made to compute in float64."""


def response(part: LinearPart, signal: Tensor) -> Tensor:
    """Return the output for ``(L, M)`` by explicit recurrences, ``(L, P)``, float64."""
    system = part.system
    assert isinstance(system, MIMOSystem)
    inputs = signal.double()
    output = inputs @ system.D[0].mT
    forward = _run(system[0], inputs)
    output = output + forward
    if part.directions == 2:
        assert not system.D[1].any()
        backward = _run(system[1], inputs.flip(0)).flip(0)
        # It starts one sample ahead: y[t] has what reversed time has had at t + 1.
        output[:-1] += backward[1:]
    return output if part.bias is None else output + part.bias.double()


def _run(system: MIMOSystem, inputs: Tensor) -> Tensor:
    state = torch.zeros(system.num_poles, dtype=torch.complex128)
    poles, outputs = system.poles, []
    weights = system.C * system.states
    for sample in inputs:
        state = poles * state + system.B @ sample.to(state.dtype)
        outputs.append((weights @ state).real)
    return torch.stack(outputs)


def worst(output: Tensor, expected: Tensor) -> float:
    """Return the largest difference relative to the largest entry."""
    assert output.shape == expected.shape
    output, expected = output.detach().double(), expected.detach()
    return float((output - expected).abs().max() / expected.abs().max())


def awkward_system(channels: int, *, directions: int = 1, diagonal: bool = True) -> MIMOSystem:
    """Return pairs, a real pole of each sign, fast and slow, with D."""
    generator = torch.Generator().manual_seed(channels)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    exponents = torch.tensor(
        [-0.02 + 0.3j, -0.5 + 3.0j, -0.05, -0.3 + 1j * math.pi], dtype=torch.complex128
    )
    states = torch.tensor([2, 2, 1, 1])
    real = (states == 1)[:, None]
    B = torch.complex(normal(directions, 4, channels), normal(directions, 4, channels))
    C = torch.complex(normal(directions, 4, channels), normal(directions, 4, channels))
    B, C = (torch.where(real, part.real.to(part.dtype), part) for part in (B, C))
    D = normal(directions, channels, channels)
    D[1:] = 0
    if diagonal:
        D[0] = torch.diag(torch.diagonal(D[0]))
    return MIMOSystem(
        exponents.expand(directions, 4), B, C.mT, states.expand(directions, 4), D, "discrete"
    )
