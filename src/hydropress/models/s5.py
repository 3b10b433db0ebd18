"""S5: one MIMO system with a step for each state (Smith, Warrington and Linderman, 2023)."""

import math
from typing import get_args

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import require_positive_integer
from hydropress.models.mimo_layer import InclusiveMIMOSSM, MIMOModes
from hydropress.models.s4d import Discretization, draw_log_step, initial_poles
from hydropress.systems.discretization import discretize_bilinear, discretize_zoh

LARGEST_REAL_PART = -1e-4
"""Of a pole, per time unit: beyond it the published layer clips, if it is told to."""

TRUNCATED_DEVIATION = 0.87962566103423978
"""Standard deviation of a standard normal variable cut off at ±2."""


def hippo_normal(size: int) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues with Im > 0 and eigenvectors of the normal part of HiPPO-LegS.

    Parameters
    ----------
    size
        N, even.

    Returns
    -------
    poles, vectors
        complex128, shapes ``(N/2,)`` and ``(N, N/2)``; the columns are orthonormal.
    """
    root = torch.sqrt(2 * torch.arange(size, dtype=torch.float64) + 1)
    skew = torch.tril(torch.outer(root, root), -1) / 2
    # A = -1/2 I - (skew - skewᵀ) = -1/2 I + i H: H is Hermitian and has the eigenvectors of A.
    _, vectors = torch.linalg.eigh(1j * (skew - skew.T))
    return initial_poles("legs", size), vectors[:, size // 2 :]


def _lecun_normal(*shape: int, fan_in: int) -> Tensor:
    """Draw from a normal distribution of variance 1 / fan_in that is cut off at two deviations."""
    deviation = 1 / math.sqrt(fan_in) / TRUNCATED_DEVIATION
    drawn = torch.empty(*shape, dtype=torch.float64)
    return nn.init.trunc_normal_(drawn, std=deviation, a=-2 * deviation, b=2 * deviation)


class S5(InclusiveMIMOSSM):
    r"""S5 layer.

        x' = Λ x + B u,  sampled with a step Δ for each state,   y = 2 Re(C x) + D u

    and, if bidirectional, + 2 Re(C_b x_b) with the states x_b of the reversed sequence.

    Parameters
    ----------
    channels
        H.
    state_size
        P, real states of the whole layer; one of each conjugate pair is stored.
    blocks
        J: at first the state matrix is block diagonal, each block HiPPO-N of size P / J.
    discretization
        ``zoh`` or ``bilinear``.
    bidirectional
        Adds a second C, on the same states of the reversed sequence.
    step_range
        Smallest and largest initial step Δ, time units per sample, drawn log-uniformly.

    Notes
    -----
    At first B = Vᴴ B₀ and C = C₀ V with the eigenvectors V of the blocks and B₀, real, and C₀,
    complex, of truncated normal entries of variance 1 / P, as the published code draws them; it
    keeps the conjugates, Im λ < 0.

    Re λ is a parameter as published and is clipped to -10⁻⁴, an option there: every value of the
    parameters is stable.

    The published layer counts the present sample in both directions; :meth:`modes` and
    :meth:`feedthrough` count it once, and are the same layer.

    References
    ----------
    [smith2023s5], sections 3 and 4, and appendix B.
    """

    def __init__(
        self,
        channels: int,
        state_size: int = 64,
        *,
        blocks: int = 1,
        discretization: Discretization = "zoh",
        bidirectional: bool = False,
        step_range: tuple[float, float] = (1e-3, 1e-1),
    ) -> None:
        super().__init__(channels, bidirectional=bidirectional)
        require_positive_integer("state_size", state_size)
        require_positive_integer("blocks", blocks)
        if state_size % (2 * blocks):
            raise InvalidArgumentError(
                f"state_size={state_size} with {blocks} blocks; required: a multiple of twice the "
                "number of blocks, since poles come in conjugate pairs"
            )
        if discretization not in get_args(Discretization):
            raise InvalidArgumentError(
                f"discretization={discretization!r}; required: one of "
                f"{', '.join(get_args(Discretization))}"
            )
        self.state_size = state_size
        self.blocks = blocks
        self.discretization = discretization
        size, pairs = state_size // blocks, state_size // 2
        poles, vectors = hippo_normal(size)
        poles = poles.repeat(blocks)
        self.log_step = nn.Parameter(draw_log_step(step_range, pairs))
        self.real_part = nn.Parameter(poles.real.float())
        self.frequency = nn.Parameter(poles.imag.float())
        inputs = _lecun_normal(blocks, size, channels, fan_in=state_size)
        outputs = _lecun_normal(self.directions, channels, blocks, size, 2, fan_in=state_size)
        B = (vectors.mH @ inputs.to(vectors.dtype)).reshape(pairs, channels)
        C = (torch.view_as_complex(outputs) @ vectors).flatten(-2)
        self.B = nn.Parameter(torch.view_as_real(B).float())
        self.C = nn.Parameter(torch.view_as_real(C).float())
        self.D = nn.Parameter(torch.randn(channels))
        self.bias = None

    def step_scale(self) -> Tensor:
        """Return the geometric mean of the states' steps for each direction."""
        return self.log_step.detach().mean().exp().expand(self.directions)

    def published_modes(self) -> list[MIMOModes]:
        real_part = self.real_part.double().clamp_max(LARGEST_REAL_PART)
        poles = torch.complex(real_part, self.frequency.double())
        discretize = discretize_zoh if self.discretization == "zoh" else discretize_bilinear
        exponents, gain = discretize(poles, self.log_step.double().exp())
        B = torch.view_as_complex(self.B.double()) * gain[:, None]
        C = 2 * torch.view_as_complex(self.C.double())
        return [MIMOModes(exponents, B, one, len(exponents)) for one in C]
