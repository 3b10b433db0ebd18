"""What an error at a layer's output does to the outputs of the whole network."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hydropress.calibration.forward import first_of
from hydropress.calibration.sequences import in_batches
from hydropress.errors import InvalidArgumentError
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


@torch.enable_grad()
def output_gradients(model: nn.Module, tap: Tap, sequences: Tensor, *, calls: int = 1) -> Tensor:
    """Return the derivatives of a network's outputs by the output of one of its linear parts.

    Parameters
    ----------
    model
        In evaluation mode; returns a tensor with one row a sequence, alone or among others.
    tap
        Where in it that output is.
    sequences
        Input of the model, ``(n, ...)``.
    calls
        How often the model calls the linear part in one pass.

    Returns
    -------
    Tensor
        Shape ``(P, n * calls, H, L)`` in the model's dtype: of each of the P outputs, or of P
        random combinations of them (Hutchinson's probes) if there are more than
        ``MAX_DIRECTIONS``.  Zero if the outputs do not depend on the part.  The calls of one
        sequence are side by side, times √calls, so that a mean square over the rows is the sum of
        the calls' mean squares.

    References
    ----------
    [hutchinson1989] for the random combinations.
    """
    pieces: list[Tensor] = []
    for batch in in_batches(sequences, BATCH):
        outputs, probes = _probed_outputs(model, tap, batch)
        if len(probes) != calls or len({probe.shape for probe in probes}) != 1:
            raise InvalidArgumentError(
                f"{len(probes)} signals at the output of a linear part that is called {calls} "
                f"times, at a {type(tap.module).__name__}; required: a module of its own, called "
                "with signals of one shape; do not share it between layers, or compress without "
                "data"
            )
        gradients = [
            torch.stack(_derivatives((outputs @ row).sum(), probes), 1).flatten(0, 1)
            for row in _directions(outputs.shape[1], outputs.detach())
        ]
        pieces.append(torch.stack(gradients))
    gradients = torch.cat(pieces, 1)
    if calls > 1:
        gradients = gradients * calls**0.5
    return gradients.mT if tap.channels_last else gradients


@torch.enable_grad()
def reaches_outputs(model: nn.Module, tap: Tap, sequences: Tensor) -> bool:
    """Return whether the outputs have derivatives by the output of a linear part."""
    outputs, probes = _probed_outputs(model, tap, sequences)
    if not outputs.requires_grad:
        return False
    found: Any = torch.autograd.grad(outputs.sum(), probes, allow_unused=True)
    return any(one is not None for one in found)


def _probed_outputs(model: nn.Module, tap: Tap, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the outputs, one row a sequence, and a zero added to each output of a linear part."""
    probes: list[Tensor] = []

    def probed(value: Any) -> Any:
        signal, *others = value if isinstance(value, tuple) else (value,)
        # The derivative by an added zero, which is there even if all parameters are frozen.
        probes.append(torch.zeros_like(signal, requires_grad=True))
        signal = signal + probes[-1]
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
    try:
        outputs = first_of(model(batch))
    finally:
        handle.remove()
    if outputs.ndim == 0 or len(outputs) != len(batch):
        raise InvalidArgumentError(
            f"outputs of shape {tuple(outputs.shape)} from {len(batch)} sequences; required: one "
            "row a sequence; return such, or compress with allocation='uniform' and order or "
            "ratio, or without data"
        )
    return outputs.reshape(len(outputs), -1), probes


def _derivatives(value: Tensor, probes: list[Tensor]) -> list[Tensor]:
    """Return the derivatives by each probe, zero where there is none."""
    if not value.requires_grad:
        return [torch.zeros_like(probe) for probe in probes]
    return list(
        torch.autograd.grad(
            value, probes, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    )


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
