"""What goes into modules and comes out of them, in whatever form."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError

PROBED = 2
"""Sequences on which calls are counted."""


def floating_tensor(value: Any) -> Tensor | None:
    """Return the first floating-point tensor in tuples, lists, mappings and dataclasses."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    parts: Iterable[Any] = ()
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, (tuple, list)):
        parts = value
    elif is_dataclass(value):
        parts = [getattr(value, field.name) for field in fields(value)]
    return next((one for one in map(floating_tensor, parts) if one is not None), None)


def first_of(value: Any) -> Tensor:
    """Return the first floating-point tensor of what a model returns.

    Raises
    ------
    InvalidArgumentError
        If there is none.
    """
    found = floating_tensor(value)
    if found is None:
        what = f"{value.dtype} tensor" if isinstance(value, Tensor) else type(value).__name__
        raise InvalidArgumentError(
            f"a model that returns a {what} without floating-point numbers; required: outputs "
            "that can be compared, such as logits; return them, or compress with "
            "allocation='uniform' and order or ratio, or without data"
        )
    return found


def signal_among(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """Return the signal with which a module is called, by position or by name."""
    return floating_tensor((*args, *kwargs.values()))


def count_calls(model: nn.Module, layers: Iterable[str], sequences: Tensor) -> dict[str, int]:
    """Return how often a model calls each of its layers in one forward pass.

    Raises
    ------
    InvalidArgumentError
        If it does not call one of them.
    """
    calls: Counter[str] = Counter()
    names = list(layers)

    def counted(name: str) -> Callable[..., None]:
        return lambda *_: calls.update([name])

    handles = [model.get_submodule(name).register_forward_pre_hook(counted(name)) for name in names]
    try:
        with torch.no_grad():
            model(sequences[:PROBED])
    finally:
        for handle in handles:
            handle.remove()
    idle = [name for name in names if not calls[name]]
    if idle:
        raise InvalidArgumentError(
            f"the model does not call its layer {', '.join(idle)} with the calibration data; "
            "required: layers that are used; remove what is not, or compress without data"
        )
    return dict(calls)
