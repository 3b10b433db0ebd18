"""Hypothesis strategies that draw awkward systems on purpose, and seeded banks."""

import math
from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

from hydropress.models.s4d import S4D
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.moments import Time

NEAREST = 1e-6
"""Distance of the nearest poles to the stability boundary."""


def build(
    exponents: Sequence[complex],
    residues: Sequence[complex],
    states: Sequence[int],
    feedthrough: float = 0.0,
    time: Time = "discrete",
) -> SISOSystem:
    """Make one system from plain numbers, exponents as they are stored."""
    return ModalSystem.from_exponents(
        torch.tensor(exponents, dtype=torch.complex128),
        torch.tensor(residues, dtype=torch.complex128),
        torch.tensor(states, dtype=torch.int64),
        torch.tensor(feedthrough, dtype=torch.float64),
        time=time,
    )


def bank(systems: Sequence[SISOSystem]) -> SISOSystem:
    """Pad single systems of one time to a bank of shape ``(len(systems),)``."""
    width = max(system.num_poles for system in systems)

    def stack(name: str, filler: complex) -> Tensor:
        rows = [getattr(system, name) for system in systems]
        return torch.stack(
            [torch.cat([row, row.new_full((width - len(row),), filler)]) for row in rows]
        )

    return ModalSystem.from_exponents(
        stack("exponents", -1.0),
        stack("residues", 0.0),
        stack("states", 0),
        torch.stack([system.D for system in systems]),
        time=systems[0].time,
    )


def _log_uniform(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(math.log(low), math.log(high)).map(math.exp)


@st.composite
def _mode(draw, time: Time, nearest: float) -> tuple[complex, complex, int]:
    decay = draw(_log_uniform(nearest, 3.0))
    size = draw(st.one_of(st.just(1.0), _log_uniform(1e-1, 1e1), _log_uniform(1e-8, 1e-6)))
    if draw(st.booleans()):
        top = 3.1 if time == "discrete" else 1e2
        frequency = draw(st.one_of(_log_uniform(1e-4, 1e-2), st.floats(1e-2, top)))
        angle = draw(st.floats(-math.pi, math.pi))
        return complex(-decay, frequency), size * complex(math.cos(angle), math.sin(angle)), 2
    alternating = time == "discrete" and draw(st.booleans())
    sign = draw(st.sampled_from([1.0, -1.0]))
    return complex(-decay, math.pi if alternating else 0.0), complex(sign * size), 1


@st.composite
def modal_systems(
    draw,
    time: Time | None = None,
    *,
    max_modes: int = 5,
    nearest: float = NEAREST,
) -> SISOSystem:
    """Draw one stable system.

    It has real poles (of both signs in discrete time) and pairs, decays from ``nearest`` to 3,
    residues of size 1 and of 1e-8, D, often a single mode, and at times a cluster: a second pole
    near the first, at 1e-3 of its distance to the boundary.
    """
    chosen: Time = draw(st.sampled_from(["discrete", "continuous"])) if time is None else time
    count = draw(st.integers(1, max_modes))
    modes = [draw(_mode(chosen, nearest)) for _ in range(count)]
    if count > 1 and draw(st.booleans()):
        exponent, _, states = modes[0]
        shift = exponent.real * draw(st.sampled_from([1e-3, 1e-2]))
        modes[1] = (exponent + shift, modes[1][1] if states == 2 else 0.7 + 0j, states)
    exponents, residues, states = zip(*modes, strict=True)
    feedthrough = draw(st.sampled_from([0.0, 0.5, -2.0]))
    return build(exponents, residues, states, feedthrough, chosen)


@st.composite
def modal_banks(
    draw,
    time: Time | None = None,
    *,
    max_systems: int = 3,
    max_modes: int = 4,
    nearest: float = NEAREST,
) -> SISOSystem:
    """Draw a bank of systems of different orders, padded to one shape ``(systems, n)``."""
    chosen: Time = draw(st.sampled_from(["discrete", "continuous"])) if time is None else time
    count = draw(st.integers(1, max_systems))
    one = modal_systems(chosen, max_modes=max_modes, nearest=nearest)
    return bank([draw(one) for _ in range(count)])


def seeded_bank(
    batch: tuple[int, ...],
    pairs: int,
    reals: int = 0,
    *,
    time: Time = "discrete",
    seed: int = 0,
    decays: tuple[float, float] = (1e-2, 1.0),
) -> SISOSystem:
    """Draw a plain bank: ``pairs`` pairs and ``reals`` real poles each, decays log-uniform."""
    generator = torch.Generator().manual_seed(seed)
    shape = (*batch, pairs + reals)

    def uniform(low: float, high: float) -> Tensor:
        draw = torch.rand(shape, dtype=torch.float64, generator=generator)
        return low + (high - low) * draw

    paired = torch.arange(pairs + reals) < pairs
    decay = uniform(math.log(decays[0]), math.log(decays[1])).exp()
    frequency = torch.where(paired, uniform(0.1, 3.0), torch.zeros(()))
    real = torch.randn(shape, dtype=torch.float64, generator=generator)
    imaginary = torch.randn(shape, dtype=torch.float64, generator=generator)
    residues = torch.complex(real, torch.where(paired, imaginary, torch.zeros(())))
    states = torch.where(paired, 2, 1).expand(shape).contiguous()
    feedthrough = torch.randn(batch, dtype=torch.float64, generator=generator)
    return ModalSystem.from_exponents(
        torch.complex(-decay, frequency), residues, states, feedthrough, time=time
    )


def seeded_mimo(
    batch: tuple[int, ...],
    inputs: int,
    outputs: int,
    pairs: int,
    reals: int = 0,
    *,
    time: Time = "discrete",
    seed: int = 0,
) -> MIMOSystem:
    """Draw systems of several inputs and outputs with the poles of :func:`seeded_bank`."""
    poles = seeded_bank(batch, pairs, reals, time=time, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    paired = (poles.states == 2)[..., None]

    def draw(count: int) -> Tensor:
        shape = (*batch, pairs + reals, count)
        values = torch.randn(shape, dtype=torch.complex128, generator=generator)
        return torch.where(paired, values, values.real.to(values.dtype))

    D = torch.randn((*batch, outputs, inputs), dtype=torch.float64, generator=generator)
    return ModalSystem.mimo(poles.poles, draw(inputs), draw(outputs).mT, D, time=time)


@st.composite
def mimo_systems(
    draw, time: Time | None = None, *, max_modes: int = 4, nearest: float = NEAREST
) -> MIMOSystem:
    """Draw one stable system of up to three inputs and outputs.

    Poles and sizes of the residues are those of :func:`modal_systems`, so clusters, poles near the
    boundary, alternating poles and residues of 1e-8 come up; at times a mode is exactly repeated.
    """
    scalar = draw(modal_systems(time, max_modes=max_modes, nearest=nearest))
    inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    exponents, n = scalar.exponents.clone(), scalar.num_poles
    if n > 1 and int(scalar.states[0]) == int(scalar.states[-1]) and draw(st.booleans()):
        exponents[-1] = exponents[0]
    paired = (scalar.states == 2)[:, None]

    def directions(count: int) -> Tensor:
        values = torch.randn(n, count, dtype=torch.complex128, generator=generator)
        return torch.where(paired, values, values.real.to(values.dtype))

    B = directions(inputs) * scalar.residues.abs()[:, None]
    D = torch.randn(outputs, inputs, dtype=torch.float64, generator=generator)
    return MIMOSystem(exponents, B, directions(outputs).mT, scalar.states, D, scalar.time)


def s4d_bank(channels: int, order: int, seed: int = 0) -> SISOSystem:
    """Return the systems of an S4D-Lin layer at initialisation, batch shape ``(channels,)``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return S4D(channels, order).system()[0]
