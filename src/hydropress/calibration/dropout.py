"""Dropout of a network, acting while a layer's inputs are captured."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode


def _in_torch(input: Tensor, p: float, train: bool) -> None:  # noqa: A002
    """Has the arguments of the functions in ``torch`` itself, which do not tell theirs."""


_FUNCTIONS = {
    **{
        function: (signature(function), "training")
        for function in (
            functional.dropout,
            functional.dropout1d,
            functional.dropout2d,
            functional.dropout3d,
            functional.alpha_dropout,
            functional.feature_alpha_dropout,
        )
    },
    **{
        getattr(torch, name + ending): (signature(_in_torch), "train")
        for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
        for ending in ("", "_")
    },
}
"""With the arguments of each, and the name of that which says whether it drops."""


class _ActingFunctions(TorchFunctionMode):
    """Lets PyTorch's functions of dropout act, whatever mode their callers pass.

    Not found is what the evaluation mode does not reach: a function within ``if self.training``,
    and the dropout between the layers of ``nn.LSTM`` and its kin.  A caller who passes False in
    training too, so that nothing is ever dropped, cannot be told from one who passes
    ``self.training``: the function acts.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dropped = False

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function not in _FUNCTIONS:
            return function(*args, **kwargs)
        arguments, mode = _FUNCTIONS[function]
        call = arguments.bind(*args, **kwargs)
        call.apply_defaults()
        call.arguments[mode] = True
        self.dropped |= call.arguments["p"] > 0
        return function(*call.args, **call.kwargs)


def dropouts(model: nn.Module) -> list[nn.Module]:
    """Return the modules that drop something: PyTorch's, and those of others named dropout."""
    return [
        module
        for module in model.modules()
        if "dropout" in type(module).__name__.lower()
        and not list(module.children())
        and getattr(module, "p", None) != 0
    ]


def drops(model: nn.Module, sequences: Tensor) -> bool:
    """Return whether a model drops anything in training, by a module or a function of PyTorch's.

    Functions are seen at work on sequences, of which one suffices; for those that are not seen,
    ``nn.LSTM(dropout=)`` and what stands within ``if self.training``, use ``nn.Dropout``.
    """
    if dropouts(model):
        return True
    with torch.no_grad(), torch.random.fork_rng(_devices(model)), _ActingFunctions() as functions:
        model(sequences)
    return functions.dropped


@contextmanager
def acting_dropout(model: nn.Module, seed: int) -> Generator[None]:
    """Let a model's dropout act within the block, all else in the mode that it is in.

    Random numbers start from a seed and are drawn apart from the caller's: the same layers before a
    point drop the same entries, also in another model of the same structure.
    """
    modules = dropouts(model)
    modes = [module.training for module in modules]
    with torch.random.fork_rng(_devices(model)), _ActingFunctions():
        torch.manual_seed(seed)
        try:
            for module in modules:
                module.training = True
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode


def _devices(model: nn.Module) -> list[torch.device]:
    """Return the devices, besides the processor, whose random numbers a model draws."""
    devices = (parameter.device for parameter in model.parameters())
    return list({device for device in devices if device.type == "cuda"})
