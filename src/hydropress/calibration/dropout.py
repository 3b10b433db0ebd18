"""Dropout of a network, acting while a layer's inputs are captured."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn


def dropouts(model: nn.Module) -> list[nn.Module]:
    """Return the modules that drop something: PyTorch's, and those of others named dropout."""
    return [
        module
        for module in model.modules()
        if "dropout" in type(module).__name__.lower()
        and not list(module.children())
        and getattr(module, "p", None) != 0
    ]


@contextmanager
def acting_dropout(model: nn.Module, seed: int) -> Generator[None]:
    """Let a model's dropout act within the block, all else in the mode that it is in.

    Random numbers start from a seed and are drawn apart from the caller's: the same layers before a
    point drop the same entries, also in another model of the same structure.
    """
    modules = dropouts(model)
    modes = [module.training for module in modules]
    parameters = (parameter.device for parameter in model.parameters())
    devices = {device for device in parameters if device.type == "cuda"}
    with torch.random.fork_rng(list(devices)):
        torch.manual_seed(seed)
        try:
            for module in modules:
                module.training = True
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
