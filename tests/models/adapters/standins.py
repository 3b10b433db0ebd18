"""Modules with the names, tensors and documented forward passes of layers that others wrote.

Written from their descriptions, to be compared with what the originals computed (``vectors``).
Kernels are powers of the discrete pole, convolutions sums over the past, both in float64.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def causal(kernel: Tensor, signal: Tensor) -> Tensor:
    """y[t] = Σ_j k[j] u[t - j]; kernel (H, K), signal (..., H, L)."""
    length = signal.shape[-1]
    output = torch.zeros_like(signal)
    for lag in range(min(kernel.shape[-1], length)):
        output[..., lag:] += kernel[:, lag, None] * signal[..., : length - lag]
    return output


def anticausal(kernel: Tensor, signal: Tensor) -> Tensor:
    """y[t] = Σ_j k[j] u[t + 1 + j]."""
    ahead = functional.pad(signal, (0, 1))[..., 1:]
    return causal(kernel, ahead.flip(-1)).flip(-1)


def powers(poles: Tensor, length: int) -> Tensor:
    """a^t, shape (..., n, length)."""
    steps = [torch.ones_like(poles)]
    for _ in range(length - 1):
        steps.append(steps[-1] * poles)
    return torch.stack(steps, -1)


def as_complex(pairs: Tensor) -> Tensor:
    pairs = pairs.double()
    return torch.complex(pairs[..., 0], pairs[..., 1])


class WithKernel(nn.Module):
    """What S4D, S4 and DSS layers have in common."""

    D: nn.Parameter
    kernel: Any
    activation: nn.Module
    transposed: bool
    bidirectional = False
    longest: int | None = None

    def kernels(self, length: int) -> Tensor:
        raise NotImplementedError

    def linear(self, signal: Tensor) -> Tensor:
        """(B, H, L) in and out."""
        length = signal.shape[-1]
        k = self.kernels(length if not self.longest else min(length, self.longest))
        output = causal(k[0], signal)
        if self.bidirectional:
            output = output + anticausal(k[1], signal)
        return (output + self.D.reshape(-1)[:, None] * signal).to(signal.dtype)


class S4DKernel(nn.Module):
    def __init__(self, d_model: int, N: int, lr: float | None = None) -> None:
        super().__init__()
        shape = (d_model, N // 2)
        self.C = nn.Parameter(torch.zeros(*shape, 2))
        for name, size in (("log_dt", shape[:1]), ("log_A_real", shape), ("A_imag", shape)):
            if lr == 0:
                self.register_buffer(name, torch.zeros(size))
            else:
                self.register_parameter(name, nn.Parameter(torch.zeros(size)))

    def forward(self, L: int) -> Tensor:
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        decay = tensors["log_A_real"].double().exp()
        poles = torch.complex(-decay, tensors["A_imag"].double())
        scaled = poles * tensors["log_dt"].double().exp()[:, None]
        weights = as_complex(self.C) * (scaled.exp() - 1) / poles
        return 2 * (weights[..., None] * powers(scaled.exp(), L)).sum(1).real


class S4D(WithKernel):
    def __init__(
        self, d_model: int, d_state: int, *, transposed: bool = True, lr: float | None = None
    ) -> None:
        super().__init__()
        self.transposed = transposed
        self.D = nn.Parameter(torch.zeros(d_model))
        self.kernel = S4DKernel(d_model, d_state, lr)
        self.activation = nn.GELU()
        self.output_linear = nn.Sequential(nn.Conv1d(d_model, 2 * d_model, 1), nn.GLU(-2))

    def kernels(self, length: int) -> Tensor:
        return self.kernel(L=length)[None]

    def forward(self, u: Tensor) -> tuple[Tensor, None]:
        u = u if self.transposed else u.mT
        output = self.output_linear(self.activation(self.linear(u)))
        return (output if self.transposed else output.mT), None


POSITIVE: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "exp": torch.exp,
    "relu": lambda x: x.clamp_min(0) + 1e-4,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "softplus": lambda x: torch.log(1 + torch.exp(x)),
}


def diagonal_kernel(
    step: Tensor, A: Tensor, weights: Tensor, disc: str, bandlimit: float | None, length: int
) -> Tensor:
    """step (H, 1 or n), A (S, n), weights (rows, H, n): B times C."""
    A = A[torch.arange(len(step)) % len(A)]
    scaled = step * A
    if bandlimit is not None:
        weights = torch.where(scaled.imag.abs() / (2 * math.pi) < bandlimit / 2, weights, 0)
    if disc == "bilinear":
        discrete, gain = (2 + scaled) / (2 - scaled), 2 * step / (2 - scaled)
    else:
        discrete, gain = scaled.exp(), (scaled.exp() - 1) / A
    factor = 2
    if disc == "dss":
        divisor = A * (torch.exp(scaled * length) - 1)
        gain = (scaled.exp() - 1) * divisor.conj() / (divisor * divisor.conj() + 1e-7)
        factor = 1
    return factor * ((weights * gain)[..., None] * powers(discrete, length)).sum(2).real


class SSMKernelDiag(nn.Module):
    """Version 4."""

    def __init__(self, d_model: int, d_state: int, rows: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.is_real = options.get("is_real", False)
        n = d_state if self.is_real else d_state // 2
        n_ssm = options.get("n_ssm") or d_model
        self.disc = options.get("disc", "zoh")
        self.dt_fast = options.get("dt_fast", False)
        self.dt_transform = options.get("dt_transform", "exp")
        self.real_transform = options.get("real_transform", "exp")
        self.imag_transform = options.get("imag_transform", "none")
        self.bandlimit = options.get("bandlimit")
        last = () if self.is_real else (2,)
        self.inv_dt = nn.Parameter(torch.zeros(d_model, 1 if options.get("dt_tie", True) else n))
        self.C = nn.Parameter(torch.zeros(rows, d_model, n, *last))
        self.B = nn.Parameter(torch.zeros(1, n_ssm, n, *last))
        self.A_real = nn.Parameter(torch.zeros(n_ssm, n))
        if not self.is_real:
            self.A_imag = nn.Parameter(torch.zeros(n_ssm, n))

    def forward(
        self, L: int, state: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, None]:
        raw = torch.sinh(self.inv_dt.double()) if self.dt_fast else self.inv_dt.double()
        step = POSITIVE[self.dt_transform](raw) * rate
        decay = POSITIVE[self.real_transform](self.A_real.double())
        if self.is_real:
            A, B, C = torch.complex(-decay, 0 * decay), self.B.double() + 0j, self.C.double() + 0j
        else:
            frequency = POSITIVE[self.imag_transform](self.A_imag.double())
            A, B, C = torch.complex(-decay, -frequency), as_complex(self.B), as_complex(self.C)
        weights = C * B[0][torch.arange(C.shape[1]) % B.shape[1]]
        limit = self.bandlimit
        return diagonal_kernel(step, A, weights, self.disc, limit, L), None


class FFTConv(WithKernel):
    """Version 4."""

    def __init__(
        self,
        d_model: int,
        d_state: int,
        *,
        l_max: int | None = None,
        bidirectional: bool = False,
        transposed: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.L = self.longest = l_max
        self.bidirectional = bidirectional
        self.transposed = transposed
        self.D = nn.Parameter(torch.zeros(1, d_model))
        self.kernel = SSMKernelDiag(d_model, d_state, 2 if bidirectional else 1, options)
        self.activation = nn.GELU()

    def kernels(self, length: int) -> Tensor:
        return self.kernel(L=length, rate=1.0, state=None)[0]

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        x = x if self.transposed else x.mT
        y = self.linear(x)
        return self.activation(y if self.transposed else y.mT), None

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        y, state = self.kernel.step(x, state)
        return self.activation((y + x[:, None] * self.D)[:, 0]), state


class S4Block(nn.Module):
    def __init__(
        self, d_model: int, d_state: int, *, transposed: bool = True, **options: Any
    ) -> None:
        super().__init__()
        self.transposed = transposed
        self.layer = FFTConv(d_model, d_state, **options)
        self.output_linear = nn.Sequential(nn.Linear(d_model, 2 * d_model), nn.GLU(-1))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        x = x.mT if self.transposed else x
        y = self.output_linear(self.layer(x)[0])
        return (y.mT if self.transposed else y), None


class SSKernelDiag(nn.Module):
    """Version 3."""

    def __init__(self, d_model: int, d_state: int, rows: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.disc = options.get("disc", "bilinear")
        self.real_type = options.get("real_type", "exp")
        self.bandlimit = options.get("bandlimit")
        n, n_ssm = d_state // 2, options.get("n_ssm") or d_model
        self.C = nn.Parameter(torch.zeros(rows, d_model, n, 2))
        self.log_dt = nn.Parameter(torch.zeros(d_model))
        self.A = nn.Parameter(torch.zeros(n_ssm, n, 2))
        self.B = nn.Parameter(torch.zeros(n_ssm, n, 2))
        self.inv_A_real = nn.Parameter(torch.zeros(n_ssm, n))
        self.A_imag = nn.Parameter(torch.zeros(n_ssm, n))

    def forward(
        self, L: int, state: Tensor | None = None, rate: float = 1.0
    ) -> tuple[Tensor, None]:
        decay = POSITIVE[self.real_type](self.inv_A_real.double())
        A = torch.complex(-decay, self.A_imag.double())
        C, B = as_complex(self.C), as_complex(self.B)
        weights = C * B[torch.arange(C.shape[1]) % len(B)]
        step = self.log_dt.double().exp()[:, None] * rate
        return diagonal_kernel(step, A, weights, self.disc, self.bandlimit, L), None


class SSKernel(nn.Module):
    """Version 3: a wrapper."""

    def __init__(self, d_model: int, d_state: int, rows: int, options: dict[str, Any]) -> None:
        super().__init__()
        self.kernel = SSKernelDiag(d_model, d_state, rows, options)

    def forward(
        self, state: Tensor | None = None, L: int = 1, rate: float = 1.0
    ) -> tuple[Tensor, None]:
        return self.kernel(state=state, L=L, rate=rate)


class S4(WithKernel):
    """Version 3."""

    def __init__(
        self,
        d_model: int,
        d_state: int,
        *,
        l_max: int | None = None,
        bidirectional: bool = False,
        transposed: bool = True,
        **options: Any,
    ) -> None:
        super().__init__()
        self.L = self.longest = l_max
        self.bidirectional = bidirectional
        self.transposed = transposed
        self.D = nn.Parameter(torch.zeros(1, d_model))
        self.kernel = SSKernel(d_model, d_state, 2 if bidirectional else 1, options)
        self.activation = nn.GELU()
        mix = nn.Conv1d(d_model, 2 * d_model, 1) if transposed else nn.Linear(d_model, 2 * d_model)
        self.output_linear = nn.Sequential(mix, nn.GLU(-2 if transposed else -1))

    def kernels(self, length: int) -> Tensor:
        return self.kernel(L=length, rate=1.0, state=None)[0]

    def forward(self, u: Tensor) -> tuple[Tensor, None]:
        u = u if self.transposed else u.mT
        y = self.activation(self.linear(u))
        return self.output_linear(y if self.transposed else y.mT), None


class Mix(nn.Module):
    """An affine map of the channels, (..., H, L)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, channels))
        self.bias = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, signal: Tensor) -> Tensor:
        return self.weight @ signal + self.bias


class DSSKernel(nn.Module):
    Lambda_im: Tensor
    Lambda_log_im: Tensor

    def __init__(
        self, d_model: int, d_state: int, rows: int, version: str, *, sep_dt_re_im: bool
    ) -> None:
        super().__init__()
        self.version, self.epsilon, self.max_real_Lambda = version, 1e-7, 1e-4
        size = (d_model, 2) if sep_dt_re_im else (d_model,)
        self.log_dt = nn.Parameter(torch.zeros(size))
        if version.startswith("exp"):
            self.Lambda_log_neg_re = nn.Parameter(torch.zeros(d_state))
            name = "Lambda_log_im" if version == "exp-re-im" else "Lambda_im"
            self.register_parameter(name, nn.Parameter(torch.zeros(d_state)))
        else:
            self.Lambda = nn.Parameter(torch.zeros(d_state, 2))
        self.W = nn.Parameter(torch.zeros(rows, d_model, d_state, 2))

    def poles(self) -> Tensor:
        if self.version.startswith("exp"):
            real = -self.Lambda_log_neg_re.double().exp()
            if self.version == "exp-re-im":
                return torch.complex(real, self.Lambda_log_im.double().exp())
            return torch.complex(real, self.Lambda_im.double())
        real, imaginary = self.Lambda.double().unbind(-1)
        if self.version.startswith("clip"):
            real = real.clamp(max=self.max_real_Lambda)
        return torch.complex(real, imaginary)

    def forward(self, L: int, state: Tensor | None = None) -> tuple[Tensor, None]:
        poles, step = self.poles(), self.log_dt.double().exp()
        step = step[:, None].expand(-1, 2) if step.ndim == 1 else step
        scaled = torch.complex(step[:, :1] * poles.real, step[:, 1:] * poles.imag)
        weights = as_complex(self.W)
        if self.version == "softmax":
            divisor = poles * (torch.exp(scaled * L) - 1)
            inverse = divisor.conj() / (divisor * divisor.conj() + self.epsilon)
            weights = weights * (scaled.exp() - 1) * inverse
        elif not self.version.endswith("no-scale"):
            inverse = poles.conj() / poles.abs().square().clamp(self.epsilon)
            weights = weights * (scaled.exp() - 1) * inverse
        return (weights[..., None] * powers(scaled.exp(), L)).sum(2).real, None


class DSS(WithKernel):
    def __init__(
        self,
        d_model: int,
        d_state: int,
        *,
        version: str = "softmax",
        max_kernel_length: int | None = None,
        sep_dt_re_im: bool = True,
        bidirectional: bool = False,
        transposed: bool = True,
    ) -> None:
        super().__init__()
        self.max_kernel_length = self.longest = max_kernel_length
        self.bidirectional = bidirectional
        self.transposed = transposed
        self.D = nn.Parameter(torch.zeros(1, d_model))
        rows = 2 if bidirectional else 1
        self.kernel = DSSKernel(d_model, d_state, rows, version, sep_dt_re_im=sep_dt_re_im)
        self.activation = nn.GELU()
        self.output_linear = Mix(d_model) if transposed else nn.Linear(d_model, d_model)

    def kernels(self, length: int) -> Tensor:
        return self.kernel(L=length)[0]

    def forward(self, u: Tensor) -> tuple[Tensor, None]:
        u = u if self.transposed else u.mT
        y = self.activation(self.linear(u))
        return self.output_linear(y if self.transposed else y.mT), None


def annotated_s4d(tree: dict[str, Tensor], signal: Tensor) -> Tensor:
    """The annotated S4's layer; signal (L, H)."""
    tree = {name: tensor.double() for name, tensor in tree.items()}
    A = torch.complex(tree["A_re"].clamp(max=-1e-4), tree["A_im"])  # (N, H)
    scaled = A * tree["log_step"].exp()
    weights = as_complex(tree["C"]) * (scaled.exp() - 1) / A
    kernel = (weights[..., None] * powers(scaled.exp(), len(signal))).sum(0).real
    u = signal.double().mT
    return (causal(kernel, u) + tree["D"].mT * u).mT.to(signal.dtype)
