"""LRU: the linear recurrent unit (Orvieto et al., 2023)."""

import math

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import require_positive_integer
from hydropress.models.mimo_layer import InclusiveMIMOSSM, MIMOModes

SMALLEST_SHARE = 1e-6
"""Of the range that poles are drawn from: at its very ends their logarithms are infinite."""


class LRU(InclusiveMIMOSSM):
    r"""LRU layer.

        x[t] = λ x[t-1] + γ B u[t],   y = Re(C x) + D u,   λ = exp(-e^ν + i e^θ)

    and, if bidirectional, + Re(C_b x_b) with the states x_b of the reversed sequence.

    Parameters
    ----------
    channels
        H.
    state_size
        Real states of the whole layer, even: a state of N complex numbers counts 2N.
    ring
        Smallest and largest initial |λ|; the poles are uniform on the area between them.
    max_phase
        Largest initial phase of a pole, radians per sample.
    bidirectional
        Adds a second C, on the same states of the reversed sequence; the present sample counts in
        both directions, as in :class:`~hydropress.models.s5.S5`.

    Notes
    -----
    ν is the parameter ``log_decay``, θ ``log_phase`` and log γ ``log_gamma``, at first
    γ = √(1 - |λ|²), which gives every state the variance of its input if that is white.  Entries of
    B have variance 1 / H, those of C 2 / N.  |λ| < 1 for every value of the parameters.

    References
    ----------
    [orvieto2023lru], sections 3.3 and 3.4, and appendix A.
    """

    def __init__(
        self,
        channels: int,
        state_size: int = 64,
        *,
        ring: tuple[float, float] = (0.0, 1.0),
        max_phase: float = 2 * math.pi,
        bidirectional: bool = False,
    ) -> None:
        super().__init__(channels, bidirectional=bidirectional)
        require_positive_integer("state_size", state_size)
        if state_size % 2:
            raise InvalidArgumentError(
                f"state_size={state_size}; required: an even number, two real states for each "
                "complex one"
            )
        if len(ring) != 2 or not 0 <= ring[0] < ring[1] <= 1:
            raise InvalidArgumentError(
                f"ring={ring!r}; required: the smallest and the largest modulus, from 0 to 1"
            )
        if not 0 < max_phase <= 2 * math.pi:
            raise InvalidArgumentError(
                f"max_phase={max_phase!r}; required: a positive angle, at most 2π"
            )
        self.state_size = state_size
        count = state_size // 2
        smallest, largest = ring
        share = _uniform(count) * (largest**2 - smallest**2) + smallest**2
        log_modulus = torch.log(share) / 2
        self.log_decay = nn.Parameter(torch.log(-log_modulus).float())
        self.log_phase = nn.Parameter(torch.log(max_phase * _uniform(count)).float())
        # Of the decay as it was rounded.
        decay = self.log_decay.detach().double().exp()
        self.log_gamma = nn.Parameter((torch.log(-torch.expm1(-2 * decay)) / 2).float())
        self.B = nn.Parameter(torch.randn(count, channels, 2) / math.sqrt(2 * channels))
        self.C = nn.Parameter(torch.randn(self.directions, channels, count, 2) / math.sqrt(count))
        self.D = nn.Parameter(torch.randn(channels))
        self.bias = None

    def published_modes(self) -> list[MIMOModes]:
        decay, phase = self.log_decay.double().exp(), self.log_phase.double().exp()
        exponents = torch.complex(-decay, phase)
        gamma = self.log_gamma.double().exp()
        B = torch.view_as_complex(self.B.double()) * gamma[:, None]
        C = torch.view_as_complex(self.C.double())
        return [MIMOModes(exponents, B, one, len(exponents)) for one in C]


def _uniform(count: int) -> Tensor:
    share = torch.rand(count, dtype=torch.float64)
    return SMALLEST_SHARE + (1 - 2 * SMALLEST_SHARE) * share
