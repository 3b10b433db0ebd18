"""Stand-ins, like those in ``standins``, of layers whose channels share their states."""

import torch
from torch import Tensor, nn

from models.adapters.standins import causal


class SSMLayer(nn.Module):
    """aTENNuate."""

    def __init__(
        self, num_coeffs: int, in_channels: int, out_channels: int, repeat: int = 1
    ) -> None:
        super().__init__()
        n = num_coeffs * repeat
        self.log_dt = nn.Parameter(torch.zeros(n))
        self.A = nn.Parameter(torch.zeros(n, 2))
        self.B = nn.Parameter(torch.zeros(n, in_channels))
        self.C = nn.Parameter(torch.zeros(out_channels, n))

    def forward(self, signal: Tensor) -> Tensor:
        step = self.log_dt.double().exp()
        decay, frequency = torch.log(1 + self.A[:, 0].double().exp()), self.A[:, 1].double()
        time = torch.arange(signal.shape[-1], dtype=torch.float64)
        kernel = torch.exp(-(step * decay)[:, None] * time)
        kernel = kernel * torch.cos((step * frequency)[:, None] * time)
        driven = (self.B.double() * step[:, None]) @ signal.double()
        return (self.C.double() @ causal(kernel, driven)).to(signal.dtype)


class LRU(nn.Module):
    """Holds what the class of lru-reduction holds, and computes sample by sample."""

    def __init__(self, in_features: int, out_features: int, state_features: int) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.state_features = state_features
        self.D = nn.Parameter(torch.randn(out_features, in_features))
        self.nu_log = nn.Parameter(torch.randn(state_features) - 1)
        self.theta_log = nn.Parameter(torch.randn(state_features) - 1)
        self.gamma_log = nn.Parameter(torch.randn(state_features) - 1)
        self.B = nn.Parameter(torch.randn(state_features, in_features, dtype=torch.complex64))
        self.C = nn.Parameter(torch.randn(out_features, state_features, dtype=torch.complex64))

    def forward(self, signal: Tensor, state: Tensor | None = None, mode: str = "scan") -> Tensor:
        poles = torch.exp(torch.complex(-torch.exp(self.nu_log), torch.exp(self.theta_log)))
        inputs = torch.exp(self.gamma_log)[:, None] * self.B
        outputs: list[Tensor] = []
        x = torch.zeros(self.state_features, dtype=inputs.dtype) if state is None else state
        for sample in signal.unbind(1):
            x = poles * x + sample.to(inputs.dtype) @ inputs.mT
            outputs.append((x @ self.C.mT).real + sample @ self.D.mT)
        return torch.stack(outputs, 1)
