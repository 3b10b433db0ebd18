"""DSS: diagonal state spaces, the exp and the softmax variant (Gupta, Gu and Berant, 2022)."""

from typing import get_args

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import BankSSM, Modes, require_positive_integer
from hydropress.models.s4d import Initialization, draw_log_step, initial_poles
from hydropress.systems.discretization import discretize_zoh
from hydropress.systems.kernels import modal_kernel

EPSILON = 1e-7
"""Keeps 1 / x bounded in the softmax variant: conj(x) / (|x|² + ε)."""


class DSS(BankSSM):
    r"""DSS layer: poles shared by all channels, a step and output weights of each.

    With λ_n = -exp(log_decay) + i frequency, weights w and the step Δ of a channel

        exp:      k[t] = Re Σ_n w_n (e^{λ_n Δ} - 1) / λ_n · e^{λ_n Δ t}
        softmax:  k[t] = Re Σ_n w_n / λ_n · e^{λ_n Δ t} / Σ_{r < L} e^{λ_n Δ r}

    Parameters
    ----------
    channels
        H.
    state_size
        Real states per channel, even: a state of N complex numbers counts 2N.
    softmax_length
        L over which the softmax variant normalises, the length of the training sequences; 0 for
        the exp variant.
    initialization
        Of the poles: ``legs``, the paper's, called skew-HiPPO there; ``lin`` or ``inv``.
    bidirectional
        Adds a second set of weights, on the same poles, for the reversed sequence.
    step_range
        Smallest and largest initial step Δ, time units per sample, drawn log-uniformly.

    Notes
    -----
    The published softmax divides by a sum over whatever sequence it is given, so that its kernel
    changes with the length of the input and is no system's.  Here L belongs to the layer: its
    kernel is that of the modal system with poles e^{λΔ} and residues
    w (e^{λΔ} - 1) / (λ (e^{λΔL} - 1)), with the bounded reciprocal of the paper's code, and on
    sequences of length L it is the published one.

    The published softmax also lets Re λ become positive, where it is normalised by its largest,
    last term and so rises towards sample L: no stable system does that, nor is it causal in
    sequences of another length.  It is not supported; Re λ < 0 for every value of the parameters.

    References
    ----------
    [gupta2022dss], propositions 1 and 2, and appendix A.
    """

    def __init__(
        self,
        channels: int,
        state_size: int = 64,
        *,
        softmax_length: int = 0,
        initialization: Initialization = "legs",
        bidirectional: bool = False,
        step_range: tuple[float, float] = (1e-3, 1e-1),
    ) -> None:
        super().__init__(channels, bidirectional=bidirectional)
        require_positive_integer("state_size", state_size)
        if state_size % 2:
            raise InvalidArgumentError(
                f"state_size={state_size}; required: an even number, two real states for each "
                "complex one"
            )
        if softmax_length != 0:
            require_positive_integer("softmax_length", softmax_length)
        if initialization not in get_args(Initialization) or initialization == "real":
            raise InvalidArgumentError(
                f"initialization={initialization!r}; required: lin, inv or legs, complex poles"
            )
        self.state_size = state_size
        self.softmax_length = softmax_length
        poles = initial_poles(initialization, state_size)
        self.log_step = nn.Parameter(draw_log_step(step_range, channels))
        self.log_decay = nn.Parameter(torch.log(-poles.real).float())
        self.frequency = nn.Parameter(poles.imag.float())
        self.W = nn.Parameter(torch.randn(self.directions, channels, len(poles), 2))
        self.D = nn.Parameter(torch.randn(channels))
        self.bias = None

    def _discrete_modes(self) -> tuple[Tensor, Tensor]:
        """Return exponents ``(H, n)`` and residues ``(directions, H, n)``, complex128."""
        poles = torch.complex(-self.log_decay.double().exp(), self.frequency.double())
        exponents, gain = discretize_zoh(poles, self.log_step.double().exp()[:, None])
        if self.softmax_length:
            sums = poles * torch.expm1(exponents * self.softmax_length)
            gain = torch.expm1(exponents) * sums.conj() / (sums.abs().square() + EPSILON)
        return exponents, torch.view_as_complex(self.W.double()) * gain

    def step_scale(self) -> Tensor:
        return self.log_step.detach().exp().expand(self.directions, -1)

    def modes(self) -> Modes:
        exponents, residues = self._discrete_modes()
        systems, entries = self.directions * self.channels, residues.shape[-1]
        row = torch.arange(systems, device=residues.device).repeat_interleave(entries)
        return Modes(row, exponents.expand_as(residues).flatten(), residues.flatten(), len(row))

    def kernel(self, length: int) -> Tensor:
        exponents, residues = self._discrete_modes()
        return modal_kernel(exponents, residues, length).to(self.D.dtype)
