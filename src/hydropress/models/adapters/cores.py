"""Modules that stand where an original's linear core stood, and are called as it was."""

from typing import Any

import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import LinearSSM


class ExtendedCore(nn.Module):
    """An original core, and what its class has no room for: y = core(u) + F u + b.

    The core keeps all it can do, such as carrying its state from one call to the next; whatever
    else is asked for is looked up in it.

    Parameters
    ----------
    core
        Takes and returns ``(..., L, H)`` first, whatever its other arguments and results.
    feedthrough
        F, shape ``(P, M)``: what the core's own feedthrough cannot express; None if nothing.
    bias
        b, shape ``(P,)``; None if there is none.
    """

    def __init__(self, core: nn.Module, feedthrough: Tensor | None, bias: Tensor | None) -> None:
        super().__init__()
        self.core = core
        self.register_parameter("feedthrough", _parameter(feedthrough))
        self.register_parameter("bias", _parameter(bias))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            core = self.__dict__.get("_modules", {}).get("core")
            if core is None:
                raise
            return getattr(core, name)

    def forward(self, signal: Tensor, *arguments: Any, **options: Any) -> Any:
        result = self.core(signal, *arguments, **options)
        if isinstance(result, tuple):
            output, *others = result
            return (self.extend(output, signal), *others)
        return self.extend(result, signal)

    def extend(self, output: Tensor, signal: Tensor) -> Tensor:
        """Add to the core's output, shapes ``(..., P)`` and ``(..., M)``."""
        if self.feedthrough is not None:
            output = output + signal @ self.feedthrough.mT
        return output if self.bias is None else output + self.bias


def _parameter(values: Tensor | None) -> nn.Parameter | None:
    return None if values is None else nn.Parameter(values.detach().clone())


def extended(
    core: nn.Module, feedthrough: Tensor | None, layer: LinearSSM, kind: type[ExtendedCore]
) -> nn.Module:
    """Return a core, extended if the layer has a bias or there is a feedthrough to add."""
    if feedthrough is None and layer.bias is None:
        return core
    bias = None if layer.bias is None else layer.bias.to(core.get_parameter("D"))
    return kind(core, feedthrough, bias).train(core.training)


class ChannelsLastCore(nn.Module):
    """A layer of this package in place of a core that takes ``(..., L, H)``.

    Parameters
    ----------
    layer
        Takes and returns ``(..., H, L)``.
    """

    def __init__(self, layer: LinearSSM) -> None:
        super().__init__()
        self.layer = layer

    def apply_layer(self, signal: Tensor) -> Tensor:
        return self.layer(signal.mT).mT


def require_unit_scale(step_scale: Any) -> None:
    """Raise :class:`InvalidArgumentError` unless a scale of the step is known to be one.

    A layer that is no longer in the original's units of time cannot be run at another rate.
    """
    try:
        is_one = bool((torch.as_tensor(step_scale) == 1).all())
    except RuntimeError:  # within torch.vmap a tensor has no value to ask for
        is_one = False
    if not is_one:
        raise InvalidArgumentError(
            f"step_scale={step_scale!r} for a reduced layer of two directions, which runs at one "
            "rate; required: 1; leave it out"
        )


def refuse_state(name: str) -> InvalidArgumentError:
    """Return the error for a state that a bidirectional layer was given or asked for."""
    return InvalidArgumentError(
        f"{name} for a bidirectional layer, which reads the sequence from both of its ends; "
        "required: whole sequences from rest; leave it out"
    )
