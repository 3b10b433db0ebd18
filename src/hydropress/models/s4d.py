"""S4D: one diagonal SSM per channel (Gu, Gupta, Goel and Ré, 2022)."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import BankSSM, Modes, require_positive_integer
from hydropress.systems.discretization import discretize_bilinear, discretize_zoh
from hydropress.systems.kernels import modal_kernel

Initialization = Literal["lin", "inv", "legs", "real"]
Discretization = Literal["zoh", "bilinear"]


def initial_poles(initialization: Initialization, state_size: int) -> Tensor:
    """Return the continuous-time poles of an S4D initialisation.

    Parameters
    ----------
    initialization
        ``lin``: -1/2 + iπn.  ``inv``: -1/2 + i(N/π)(N/(2n+1) - 1).  ``legs``: the spectrum of the
        normal part of the HiPPO-LegS matrix.  ``real``: -(n + 1).
    state_size
        N, the number of real states; even except for ``real``.

    Returns
    -------
    Tensor
        complex128, one entry per pair with Im ≥ 0, shape ``(N/2,)``, or ``(N,)`` for ``real``.

    References
    ----------
    [gu2022s4d], section 4 and equations (9), (10).
    """
    n = torch.arange(state_size // 2, dtype=torch.float64)
    match initialization:
        case "lin":
            frequency = math.pi * n
        case "inv":
            frequency = state_size / math.pi * (state_size / (2 * n + 1) - 1)
        case "legs":
            root = torch.sqrt(2 * torch.arange(state_size, dtype=torch.float64) + 1)
            skew = torch.tril(torch.outer(root, root), -1) / 2
            # A = -1/2 I - (skew - skew^T): normal, its eigenvalues are -1/2 ± i frequency.
            hermitian = 1j * (skew - skew.T)
            frequency = torch.linalg.eigvalsh(hermitian)[state_size // 2 :]
        case "real":
            return torch.complex(
                -torch.arange(1, state_size + 1, dtype=torch.float64),
                torch.zeros(state_size, dtype=torch.float64),
            )
    return torch.complex(torch.full_like(frequency, -0.5), frequency)


def draw_log_step(step_range: tuple[float, float], count: int) -> Tensor:
    """Draw steps log-uniformly and return their logarithms, shape ``(count,)``."""
    if len(step_range) != 2 or not 0 < step_range[0] <= step_range[1] < math.inf:
        raise InvalidArgumentError(
            f"step_range={step_range!r}; required: the smallest and the largest step, positive"
        )
    low, high = (math.log(value) for value in step_range)
    return low + (high - low) * torch.rand(count)


class S4D(BankSSM):
    """S4D layer with a learned step per channel.

    Parameters
    ----------
    channels
        H.
    state_size
        N, real states per channel.
    initialization
        ``lin``, ``inv``, ``legs`` or ``real``.
    discretization
        ``zoh`` or ``bilinear``.
    bidirectional
        Adds a second set of output weights, on the same poles, for the reversed sequence.
    step_range
        Smallest and largest initial step Δ, time units per sample, drawn log-uniformly.

    Notes
    -----
    B is fixed to 1 and absorbed by C.  Poles are -exp(log_decay) + i frequency, so every value of
    the parameters is stable.  Exponentials run in float64 and cost little (see
    :func:`~hydropress.systems.kernels.modal_kernel`); everything of length L in the layer's dtype.
    """

    def __init__(
        self,
        channels: int,
        state_size: int = 64,
        *,
        initialization: Initialization = "lin",
        discretization: Discretization = "zoh",
        bidirectional: bool = False,
        step_range: tuple[float, float] = (1e-3, 1e-1),
    ) -> None:
        super().__init__(channels, bidirectional=bidirectional)
        if initialization not in get_args(Initialization):
            raise InvalidArgumentError(
                f"initialization={initialization!r}; required: one of "
                f"{', '.join(get_args(Initialization))}"
            )
        if discretization not in get_args(Discretization):
            raise InvalidArgumentError(
                f"discretization={discretization!r}; required: one of "
                f"{', '.join(get_args(Discretization))}"
            )
        require_positive_integer("state_size", state_size)
        if initialization != "real" and state_size % 2:
            raise InvalidArgumentError(
                f"state_size={state_size} with initialization={initialization!r}; required: a "
                "positive even number (odd only for 'real'), since poles come in conjugate pairs"
            )
        self.state_size = state_size
        self.initialization = initialization
        self.discretization = discretization
        self.has_real_poles = initialization == "real"
        poles = initial_poles(initialization, state_size).expand(channels, -1)
        self.log_step = nn.Parameter(draw_log_step(step_range, channels))
        self.log_decay = nn.Parameter(torch.log(-poles.real).float())
        if self.has_real_poles:
            self.C = nn.Parameter(torch.randn(self.directions, *poles.shape, 1))
        else:
            self.frequency = nn.Parameter(poles.imag.float().clone())
            self.C = nn.Parameter(torch.randn(self.directions, *poles.shape, 2) * math.sqrt(0.5))
        self.D = nn.Parameter(torch.randn(channels))
        self.bias = None

    def _discrete_modes(self) -> tuple[Tensor, Tensor]:
        """Return exponents ``(H, n)`` and residues ``(directions, H, n)``, complex128."""
        decay = -torch.exp(self.log_decay.double())
        frequency = torch.zeros_like(decay) if self.has_real_poles else self.frequency.double()
        poles = torch.complex(decay, frequency)
        discretize = discretize_zoh if self.discretization == "zoh" else discretize_bilinear
        exponents, gain = discretize(poles, torch.exp(self.log_step.double())[:, None])
        if self.has_real_poles:
            return exponents, self.C[..., 0].double() * gain
        return exponents, 2 * torch.view_as_complex(self.C.double()) * gain

    def step_scale(self) -> Tensor:
        return self.log_step.detach().exp().expand(self.directions, -1)

    def modes(self) -> Modes:
        exponents, residues = self._discrete_modes()
        num_systems, num_entries = residues.shape[0] * residues.shape[1], residues.shape[2]
        row = torch.arange(num_systems, device=residues.device).repeat_interleave(num_entries)
        num_pairs = 0 if self.has_real_poles else len(row)
        return Modes(row, exponents.expand_as(residues).flatten(), residues.flatten(), num_pairs)

    def kernel(self, length: int) -> Tensor:
        exponents, residues = self._discrete_modes()
        return modal_kernel(exponents, residues, length).to(self.D.dtype)
