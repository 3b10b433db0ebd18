"""Systems of several inputs and outputs for the tests of what is done mode by mode."""

from dataclasses import replace

import torch
from torch import Tensor

from hydropress.systems.modal import MIMOSystem, SISOSystem
from hydropress.systems.moments import Time
from strategies import seeded_bank


def mimo_bank(
    batch: tuple[int, ...],
    pairs: int,
    reals: int = 0,
    *,
    inputs: int = 3,
    outputs: int = 2,
    time: Time = "discrete",
    seed: int = 0,
    decays: tuple[float, float] = (1e-2, 1.0),
) -> MIMOSystem:
    """Draw poles as ``seeded_bank`` does, with normal B, C and D."""
    poles = seeded_bank(batch, pairs, reals, time=time, seed=seed, decays=decays)
    generator = torch.Generator().manual_seed(seed + 1)
    real = poles.states == 1

    def normal(*shape: int) -> Tensor:
        return torch.randn(*batch, *shape, dtype=torch.complex128, generator=generator)

    B, C = normal(pairs + reals, inputs), normal(outputs, pairs + reals)
    B = torch.where(real[..., None], B.real.to(B.dtype), B)
    C = torch.where(real[..., None, :], C.real.to(C.dtype), C)
    return MIMOSystem(poles.exponents, B, C, poles.states, normal(outputs, inputs).real, poles.time)


def as_mimo(system: SISOSystem) -> MIMOSystem:
    """Return the same systems as ones of one input and one output, ρ = c b with c = ρ / b."""
    b = 2.0 - 0.5 * torch.arange(system.num_poles, dtype=torch.float64) / system.num_poles
    B = b.expand(system.residues.shape).to(torch.complex128)
    return MIMOSystem(
        system.exponents,
        B[..., None],
        (system.residues / B)[..., None, :],
        system.states,
        system.D[..., None, None],
        system.time,
    )


def only_mode(system: MIMOSystem, index: int) -> MIMOSystem:
    """Return the system of one entry alone, without D."""
    entry = slice(index, index + 1)
    return replace(
        system,
        exponents=system.exponents[..., entry],
        B=system.B[..., entry, :],
        C=system.C[..., entry],
        states=system.states[..., entry],
        D=torch.zeros_like(system.D),
    )
