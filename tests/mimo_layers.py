"""Layers of several inputs and outputs, and simulation of them sample by sample."""

import math

import numpy as np
import torch
from torch import Tensor

from hydropress.systems.modal import MIMOSystem


def layer(
    channels: int, pairs: int, reals: int = 0, *, directions: int = 1, seed: int = 0
) -> MIMOSystem:
    """Draw one system a direction, with a diagonal D forward; the last real pole alternates."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    count = pairs + reals
    decay = 10 ** (-2 + 1.5 * torch.rand(directions, count, generator=generator).double())
    frequency = 0.05 + 1.5 * torch.rand(directions, count, generator=generator).double()
    frequency[:, pairs:] = 0
    if reals:
        frequency[:, -1] = math.pi
    is_pair = (torch.arange(count) < pairs).double()[:, None]
    B = torch.complex(normal(directions, count, channels), is_pair * normal(count, channels))
    C = torch.complex(normal(directions, count, channels), is_pair * normal(count, channels))
    gain = (1 - torch.exp(-2 * decay)).sqrt()[..., None]
    states = torch.where(is_pair[:, 0] > 0, 2, 1).expand(directions, count)
    D = torch.zeros(directions, channels, channels, dtype=torch.float64)
    D[0] = torch.diag(normal(channels))
    return MIMOSystem(
        torch.complex(-decay, frequency), B * gain, C.mT, states.clone(), D, "discrete"
    )


def noise(count: int, channels: int, length: int, *, mean: float = 0.0, seed: int = 0) -> Tensor:
    """Draw smooth sequences of correlated channels, float64, ``(count, channels, length)``."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(count, channels, length + 8, generator=generator).double()
    mixing = torch.randn(channels, channels, generator=generator).double() / channels**0.5
    smooth = white.unfold(-1, 8, 1).mean(-1)[..., :length] * 3
    return mixing @ smooth + mean * torch.linspace(-1, 2, channels).double()[:, None]


def recur(system: MIMOSystem, inputs: Tensor) -> np.ndarray:
    """Return the outputs of all directions together, one sample after the other.

    The second system reads from the end and has seen what comes after the present.
    """
    u = inputs.double().numpy()
    outputs = np.zeros((len(u), system.num_outputs, u.shape[-1]))
    for direction in range(len(system.D)):
        one = system[direction]
        a, B, C, m, D = (
            part.resolve_conj().numpy() for part in (one.poles, one.B, one.C, one.states, one.D)
        )
        state = np.zeros((len(u), len(a)), dtype=complex)
        times = range(u.shape[-1])
        for t in times if direction == 0 else reversed(times):
            if direction == 1:
                outputs[:, :, t] += np.real((state * m) @ C.T)
            state = state * a + u[:, :, t] @ B.T
            if direction == 0:
                outputs[:, :, t] += np.real((state * m) @ C.T)
        outputs += np.einsum("pm,nmt->npt", D, u)
    return outputs


def relative_error(wanted: np.ndarray, actual: np.ndarray) -> float:
    """Return the rms error of all outputs over their standard deviation about own means."""
    variance = wanted.var((0, 2)).sum()
    return float(np.sqrt(np.square(wanted - actual).mean((0, 2)).sum() / variance))
