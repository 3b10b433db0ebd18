"""A small classifier of handwritten digits around the SSMs of each family, with their own starts.

The layers are the packages where there are any, else the stand-ins that are compared with recorded
outputs; of the two Flax families, ports to torch that hold the tensors of their trees.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hydropress.compression.state_dict import read_layers
from hydropress.models.layer import LinearSSM
from models.adapters.mimo_standins import LRU, SSMLayer
from models.adapters.standins import (
    DSS,
    S4D,
    FFTConv,
    S4Block,
    as_complex,
    causal,
    powers,
)

CHANNELS, LAYERS, LENGTH = 16, 2, 64
STATES, SHARED = 64, 128
"""Real states of each channel, or of a layer whose channels share them."""
SLOW, FAST = 0.02, 0.5
"""Initial steps: a digit has 64 samples."""


class Digits(nn.Module):
    """A backbone that is nobody's: channels last between layers, tuples unpacked."""

    def __init__(self, make: Callable[[], nn.Module], *, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.embed = nn.Linear(1, CHANNELS)
        self.layers = nn.ModuleList(make() for _ in range(LAYERS))
        self.norms = nn.ModuleList(nn.LayerNorm(CHANNELS) for _ in range(LAYERS))
        self.mixes = nn.ModuleList(nn.Linear(CHANNELS, CHANNELS) for _ in range(LAYERS))
        self.head = nn.Linear(CHANNELS, 10)

    def forward(self, sequences: Tensor) -> Tensor:
        hidden = self.embed(sequences)
        for layer, norm, mix in zip(self.layers, self.norms, self.mixes, strict=True):
            branch = norm(hidden)
            branch = layer(branch if self.channels_last else branch.mT)
            branch = branch[0] if isinstance(branch, tuple) else branch
            branch = branch if self.channels_last else branch.mT
            hidden = hidden + mix(nn.functional.gelu(branch))
        return self.head(hidden.mean(1))


def steps(*shape: int) -> Tensor:
    """Return logarithms of steps, evenly spread."""
    return math.log(SLOW) + torch.rand(shape) * math.log(FAST / SLOW)


def frequencies(count: int) -> Tensor:
    return math.pi * torch.arange(count)


def filled(layer: nn.Module, **values: Tensor | float) -> nn.Module:
    """Set parameters by the last part of their names; D and what is complex are drawn."""
    with torch.no_grad():
        for path, parameter in layer.named_parameters():
            name = path.rpartition(".")[2]
            if name in values:
                parameter.copy_(torch.as_tensor(values[name]).expand_as(parameter))
            elif name in ("C", "W"):
                parameter.normal_(std=math.sqrt(0.5))
            elif name == "D":
                parameter.normal_()
    return layer


def s4d() -> nn.Module:
    layer = S4D(CHANNELS, STATES)
    return filled(
        layer, log_dt=steps(CHANNELS), log_A_real=math.log(0.5), A_imag=frequencies(STATES // 2)
    )


def s4(layer: nn.Module) -> nn.Module:
    unit = torch.tensor([1.0, 0.0])
    return filled(
        layer,
        inv_dt=steps(CHANNELS, 1),
        A_real=math.log(0.5),
        A_imag=frequencies(STATES // 2),
        B=unit,
    )


def dss() -> nn.Module:
    layer = DSS(CHANNELS, STATES // 2, version="exp")
    nn.init.normal_(layer.output_linear.weight, std=CHANNELS**-0.5)
    return filled(
        layer,
        log_dt=steps(CHANNELS, 1),
        Lambda_log_neg_re=math.log(0.5),
        Lambda_im=frequencies(STATES // 2),
    )


def attenuate() -> nn.Module:
    pairs = SHARED // 2
    return filled(
        SSMLayer(pairs, CHANNELS, CHANNELS),
        log_dt=steps(pairs),
        A=torch.stack([torch.zeros(pairs), 1 + frequencies(pairs) / 4], -1),
        B=torch.randn(pairs, CHANNELS) / CHANNELS**0.5,
        C=torch.randn(CHANNELS, pairs) / pairs**0.5,
    )


def s5() -> nn.Module:
    from s5 import S5

    return S5(CHANNELS, SHARED // 2, dt_min=SLOW, dt_max=FAST)


def lru() -> nn.Module:
    pairs = SHARED // 2
    radius = torch.linspace(0.6, 0.99, pairs)
    return filled(
        LRU(CHANNELS, CHANNELS, pairs),
        D=torch.randn(CHANNELS, CHANNELS) / CHANNELS**0.5,
        nu_log=torch.log(-torch.log(radius)),
        theta_log=torch.log(math.pi / 2 * torch.rand(pairs)),
        gamma_log=torch.log1p(-radius.square()) / 2,
        B=torch.randn(pairs, CHANNELS, dtype=torch.complex64) / CHANNELS**0.5,
        C=torch.randn(CHANNELS, pairs, dtype=torch.complex64) / pairs**0.5,
    )


class ChannelsLast(nn.Module):
    """A layer of ours called with (B, L, H)."""

    def __init__(self, layer: LinearSSM) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, signal: Tensor) -> Tensor:
        return self.layer(signal.mT).mT


class Port(nn.Module):
    """A layer of a Flax model as its authors compute it; its parameters are the tree's.

    Sequences (B, L, H).
    """

    family: str

    def read(self) -> nn.Module:
        """Return what a user of the tree gets to put into a network."""
        (layer,) = read_layers(dict(self.named_parameters()), family=self.family).values()
        return ChannelsLast(layer)


class AnnotatedS4D(Port):
    """As :func:`models.adapters.standins.annotated_s4d` computes it, for many sequences."""

    family = "annotated-s4d"

    def __init__(self) -> None:
        super().__init__()
        shape = (STATES // 2, CHANNELS)
        self.A_re = nn.Parameter(torch.full(shape, -0.5))
        self.A_im = nn.Parameter(frequencies(STATES // 2)[:, None].expand(shape).clone())
        self.B_re, self.B_im = nn.Parameter(torch.ones(shape)), nn.Parameter(torch.zeros(shape))
        self.C = nn.Parameter(torch.randn(*shape, 2))
        self.D = nn.Parameter(torch.ones(1, CHANNELS))
        self.log_step = nn.Parameter(steps(1, CHANNELS))

    def forward(self, signal: Tensor) -> Tensor:
        A = torch.complex(self.A_re.double().clamp(max=-1e-4), self.A_im.double())
        scaled = A * self.log_step.double().exp()
        weights = as_complex(self.C) * (scaled.exp() - 1) / A
        kernel = (weights[..., None] * powers(scaled.exp(), signal.shape[1])).sum(0).real
        driven = causal(kernel, signal.double().mT) + self.D.mT * signal.mT
        return driven.mT.to(signal.dtype)


class FlaxS5(Port):
    """lindermanlab/S5 with ``conj_sym`` and zero-order hold, as a sum over the past."""

    family = "s5"

    def __init__(self) -> None:
        super().__init__()
        pairs = SHARED // 2
        self.Lambda_re = nn.Parameter(torch.full((pairs,), -0.5))
        self.Lambda_im = nn.Parameter(frequencies(pairs))
        self.B = nn.Parameter(torch.randn(pairs, CHANNELS, 2) / CHANNELS**0.5)
        self.C = nn.Parameter(torch.randn(CHANNELS, pairs, 2) / pairs**0.5)
        self.D = nn.Parameter(torch.randn(CHANNELS))
        self.log_step = nn.Parameter(steps(pairs, 1))

    def forward(self, signal: Tensor) -> Tensor:
        poles = torch.complex(self.Lambda_re, self.Lambda_im)
        scaled = poles * self.log_step[:, 0].exp()
        B = ((scaled.exp() - 1) / poles)[:, None] * torch.view_as_complex(self.B)
        state, states = torch.zeros(len(signal), len(poles), dtype=B.dtype), []
        driven = signal.to(B.dtype) @ B.mT
        for sample in driven.unbind(1):
            state = scaled.exp() * state + sample
            states.append(state)
        C = torch.view_as_complex(self.C)
        return 2 * (torch.stack(states, 1) @ C.mT).real + self.D * signal


def _around(make: Callable[[], nn.Module], *, channels_last: bool) -> Callable[[], nn.Module]:
    return lambda: Digits(make, channels_last=channels_last)


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "s4-s4d": _around(s4d, channels_last=False),
    "s4-block": _around(lambda: s4(S4Block(CHANNELS, STATES)), channels_last=False),
    "s4-both-ways": _around(
        lambda: s4(FFTConv(CHANNELS, STATES, bidirectional=True)), channels_last=True
    ),
    "dss": _around(dss, channels_last=False),
    "annotated-s4d": _around(AnnotatedS4D, channels_last=True),
    # Channels share their states.
    "attenuate": _around(attenuate, channels_last=False),
    "s5-pytorch": _around(s5, channels_last=True),
    "s5-flax": _around(FlaxS5, channels_last=True),
    "lru-reduction": _around(lru, channels_last=True),
}
"""By name, the untrained model of each family."""
