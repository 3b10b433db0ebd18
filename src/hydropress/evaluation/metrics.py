"""What a classifier decides, how often it is right, and how large it is."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hydropress.data.sequences import LabelledSequences
from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.registry import find_layers, has_layers

BATCH_SIZE = 64
"""Blocks of larger batches exceed what glibc reuses: with 250 sequences of 784 steps and 64
channels a pass took three times as long, for the same logits bit for bit (measured)."""

Progress = Callable[[int, int], None]
"""Called as progress(done, total), in sequences."""


def predict(
    model: nn.Module,
    data: LabelledSequences,
    *,
    batch_size: int = BATCH_SIZE,
    progress: Progress | None = None,
) -> Tensor:
    """Return the class that a model gives the highest logit.

    Parameters
    ----------
    model
        Maps a batch's inputs, and its lengths if there are any, to logits ``(B, num_classes)``; run
        in evaluation mode on its own device and left in the mode it was in.
    data
        n sequences.
    batch_size
        Sequences per forward pass.
    progress
        Called after each batch.

    Returns
    -------
    Tensor
        int64 on the CPU, shape ``(n,)``, in the order of the data.

    Notes
    -----
    Sequences of like lengths pass together, so that little is padding.
    """
    if batch_size < 1 or len(data) < 1:
        raise InvalidArgumentError(
            f"batch_size={batch_size} with {len(data)} sequences; required: both at least 1"
        )
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    order = torch.arange(len(data)) if data.lengths is None else data.lengths.argsort(stable=True)
    decisions = torch.empty(len(data), dtype=torch.int64)
    try:
        with torch.no_grad():
            done = 0
            for chosen in order.split(batch_size):
                batch = data[chosen].batch().to(device)
                decisions[chosen] = model(*batch.arguments).argmax(-1).cpu()
                done += len(chosen)
                if progress:
                    progress(done, len(data))
    finally:
        model.train(training)
    return decisions


def _share_equal(first: Tensor, second: Tensor) -> float:
    if first.shape != second.shape or first.numel() == 0:
        raise InvalidArgumentError(
            f"shapes {tuple(first.shape)} and {tuple(second.shape)}; required: equal, not empty; "
            "compare decisions on the same data"
        )
    return (first.cpu() == second.cpu()).sum().item() / first.numel()


def accuracy(decisions: Tensor, labels: Tensor) -> float:
    """Return the share of decisions that are right, both of shape ``(n,)``."""
    return _share_equal(decisions, labels)


def agreement(decisions: Tensor, reference: Tensor) -> float:
    """Return the share of decisions that two models have in common, both of shape ``(n,)``."""
    return _share_equal(decisions, reference)


def linear_parts(model: nn.Module) -> list[tuple[str, nn.Module, LinearPart]]:
    """Return the modules with a linear SSM, their names and linear parts, in the model's order.

    Raises
    ------
    InvalidArgumentError
        If there is none.
    """
    found: list[tuple[str, nn.Module, LinearPart]] = []
    for layer in find_layers(model):
        module = model.get_submodule(layer.name)
        found.append((layer.name, module, layer.adapter.read(module)))
    return found


def _parts_if_any(model: nn.Module) -> list[tuple[str, nn.Module, LinearPart]]:
    return linear_parts(model) if has_layers(model) else []


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable numbers in a model; a complex one is two."""
    return sum(one.numel() * (1 + one.is_complex()) for one in model.parameters())


def count_ssm_parameters(model: nn.Module) -> int:
    """Return the number of trainable numbers in a model's linear SSMs.

    In modules of others these are the parameters outside the parts that PyTorch itself defines,
    such as an output map that lies within the module.
    """
    return sum(_own_parameters(module) for _, module, _ in _parts_if_any(model))


def _own_parameters(module: nn.Module) -> int:
    count = sum(one.numel() * (1 + one.is_complex()) for one in module.parameters(recurse=False))
    inner = module.children()
    containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    return count + sum(
        _own_parameters(child)
        for child in inner
        if isinstance(child, containers) or not type(child).__module__.startswith("torch.nn")
    )


def count_states(model: nn.Module) -> int:
    """Return the number of real SSM states of a model, all systems and directions together."""
    return sum(int(part.system.order.sum()) for _, _, part in _parts_if_any(model))


def largest_order(model: nn.Module) -> int:
    """Return the largest number of real states of a system of a model; 0 without SSMs.

    A system is a channel's, or of S5 and LRU a layer's, in one direction.
    """
    return max((int(part.system.order.max()) for _, _, part in _parts_if_any(model)), default=0)


def average_order(model: nn.Module) -> int:
    """Return the real states of a model's systems, on average, rounded; 0 without SSMs."""
    orders = [part.system.order.flatten() for _, _, part in _parts_if_any(model)]
    return round(float(torch.cat(orders).double().mean())) if orders else 0
