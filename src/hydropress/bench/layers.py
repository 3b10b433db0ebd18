"""MIMO layers at initialisation: S5 and LRU, as their papers draw them."""

import math

import torch
from torch import Tensor

from hydropress.models.s5 import hippo_normal
from hydropress.systems.discretization import discretize_zoh
from hydropress.systems.modal import MIMOSystem
from hydropress.systems.moments import Time

STEP_RANGE = 1e-3, 1e-1
"""Initial steps of S5, log-uniform."""

RING = 0.9, 0.999
"""Smallest and largest |λ| of an LRU, as for long sequences."""
MAX_PHASE = math.pi / 10


def s5_layer(
    states: int, width: int, seed: int, time: Time, blocks: int = 2, directions: int = 1
) -> MIMOSystem:
    """Draw one S5 layer.

    Parameters
    ----------
    states
        P, real states; a multiple of twice the number of blocks.
    width
        Inputs and outputs.
    seed
        Of B, C and the steps.
    time
        Discrete by zero-order hold, or continuous in units of a sample: poles Δλ, inputs ΔB.
    blocks
        Diagonal blocks of the state matrix, each HiPPO-N of size P / blocks.
    directions
        2 for a layer that reads its input both ways: the outputs of the two directions, which share
        poles and B, stand one above the other, since their errors add.

    Notes
    -----
    B = Vᴴ B₀ and C = C₀ V with normal B₀, C₀ and the eigenvectors V of HiPPO-N; one member of each
    pair of conjugates is kept; one step Δ a pole.

    References
    ----------
    [smith2023s5], section 3 and appendix B.
    """
    generator = torch.Generator().manual_seed(seed)
    size = states // blocks
    poles, vectors = hippo_normal(size)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    B = torch.cat([vectors.mH @ normal(size, width).to(vectors) for _ in range(blocks)])

    def outputs() -> Tensor:
        drawn = [torch.complex(normal(width, size), normal(width, size)) for _ in range(blocks)]
        return torch.cat([one @ vectors for one in drawn], -1)

    C = outputs()
    B = B / math.sqrt(width)
    low, high = (math.log(step) for step in STEP_RANGE)
    uniform = torch.rand(blocks * len(poles), dtype=torch.float64, generator=generator)
    step = torch.exp(low + (high - low) * uniform)
    C = torch.cat([C, *(outputs() for _ in range(directions - 1))]) / math.sqrt(2 * states)
    exponents, gain = discretize_zoh(poles.repeat(blocks), step)
    if time == "continuous":
        gain = step.to(gain)
    return _layer(exponents, B * gain[:, None], C, time)


def lru_layer(states: int, width: int, seed: int) -> MIMOSystem:
    """Draw one LRU layer (discrete time).

    Parameters
    ----------
    states
        Real states: an LRU of N complex ones, whose output is Re C x, has 2N.
    width
        Inputs and outputs.

    Notes
    -----
    λ uniform on a ring, B and C complex normal, B scaled by γ = √(1 - |λ|²), which gives every
    state unit variance under white inputs.

    References
    ----------
    [orvieto2023lru], section 3.
    """
    generator = torch.Generator().manual_seed(seed)
    count = states // 2

    def uniform() -> Tensor:
        return torch.rand(count, dtype=torch.float64, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.complex128, generator=generator)

    smallest, largest = RING
    log_modulus = torch.log(uniform() * (largest**2 - smallest**2) + smallest**2) / 2
    exponents = torch.complex(log_modulus, MAX_PHASE * uniform())
    gamma = torch.sqrt(-torch.expm1(2 * log_modulus))
    B = normal(count, width) / math.sqrt(width) * gamma[:, None]
    # 2 Re(C x) of a pair is to be Re(C x).
    C = normal(width, count) / math.sqrt(count) / 2
    return _layer(exponents, B, C, "discrete")


def _layer(exponents: Tensor, B: Tensor, C: Tensor, time: Time) -> MIMOSystem:
    """Return a bank of one layer without feedthrough, every entry a pair."""
    pairs = torch.full(exponents.shape, 2)
    D = torch.zeros(1, len(C), B.shape[1], dtype=torch.float64)
    return MIMOSystem(exponents[None], B[None], C[None], pairs[None], D, time)
