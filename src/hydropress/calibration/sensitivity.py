"""What an error at a layer's output does to the outputs of the whole network."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hydropress.calibration.signals import first_of
from hydropress.models.adapters.protocol import Tap

BATCH = 32
MAX_DIRECTIONS = 16
"""Networks of more outputs are probed in that many random directions instead of in each."""
SEQUENCES = 64
"""128 sequences gave plans as good as 64 within the error of 2,000 images."""


def _directions(count: int, like: Tensor) -> Tensor:
    """Return rows x with Σ (x · δ)² = |δ|², exactly or, for many outputs, in expectation."""
    if count <= MAX_DIRECTIONS:
        return torch.eye(count, dtype=like.dtype, device=like.device)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (MAX_DIRECTIONS, count), generator=generator) * 2 - 1
    return (signs / MAX_DIRECTIONS**0.5).to(like)


def output_gradients(model: nn.Module, tap: Tap, sequences: Tensor) -> Tensor:
    """Return the derivatives of a network's outputs by the output of one of its linear parts.

    Parameters
    ----------
    model
        In evaluation mode; returns a tensor with one row a sequence.
    tap
        Where in it that output is.
    sequences
        Input of the model, ``(n, ...)``.

    Returns
    -------
    Tensor
        Shape ``(P, n, H, L)`` in the model's dtype: of each of the P outputs, or of P random
        combinations of them (Hutchinson's probes) if there are more than ``MAX_DIRECTIONS``.

    References
    ----------
    [hutchinson1989] for the random combinations.
    """
    probe: list[Tensor] = []

    def probed(value: Any) -> Any:
        signal, *others = value if isinstance(value, tuple) else (value,)
        # The derivative by an added zero, which is there even if all parameters are frozen.
        probe[:] = [torch.zeros_like(signal, requires_grad=True)]
        signal = signal + probe[0]
        return (signal, *others) if isinstance(value, tuple) else signal

    def before(_: nn.Module, inputs: tuple[Any, ...]) -> Any:
        return probed(inputs)

    def after(_: nn.Module, __: object, output: Any) -> Any:
        return probed(output)

    handle: RemovableHandle
    if tap.side == "input":
        handle = tap.module.register_forward_pre_hook(before)
    else:
        handle = tap.module.register_forward_hook(after)
    pieces: list[Tensor] = []
    try:
        with torch.enable_grad():
            for batch in sequences.split(BATCH):
                outputs = first_of(model(batch)).flatten(1)
                rows = _directions(outputs.shape[1], outputs.detach())
                gradients = [
                    torch.autograd.grad((outputs @ row).sum(), probe[0], retain_graph=True)[0]
                    for row in rows
                ]
                pieces.append(torch.stack(gradients))
    finally:
        handle.remove()
    gradients = torch.cat(pieces, 1)
    return gradients.mT if tap.channels_last else gradients


def gradients_by_system(gradients: Tensor, directions: int) -> Tensor:
    """Arrange ``(P, n, H, L)`` as :class:`LayerSignals` does, ``(P, directions * H, n, L)``.

    Backward systems count time from the end.
    """
    forward = gradients.transpose(1, 2)
    return forward if directions == 1 else torch.cat([forward, forward.flip(-1)], 1)


def output_change(gradients: Tensor, errors: Tensor) -> Tensor:
    """Return how much the network's outputs vary with each system's error, to first order.

    Parameters
    ----------
    gradients
        From :func:`gradients_by_system`, shape ``(P, K, n, L)``.
    errors
        Error at the output of each system, shape ``(K, n, L)``.

    Returns
    -------
    Tensor
        Variance over the sequences of the change that each system's error makes alone, summed over
        the outputs, float64, shape ``(K,)``.  The mean does not count: biases are matched.

    Notes
    -----
    The gradient is contracted with the error itself, sample by sample.  The product of their mean
    squares, as if they were independent white noise, ranks layers wrongly: it starves the deep
    ones.  The sum of these changes over the systems of a layer tells what the reduction of that
    layer alone does to the outputs within a factor of two (measured on the shipped model, orders
    2 to 8), without products between systems, which made plans no better.
    """
    changes = torch.einsum("pknl,knl->pkn", gradients, errors.to(gradients.dtype)).double()
    return (changes - changes.mean(-1, keepdim=True)).square().sum(0).mean(-1)
