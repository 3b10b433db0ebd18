"""What adapters return, checked where it comes in."""

from typing import Any

from torch import nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.protocol import Adapter, LinearPart
from hydropress.models.layer import LinearSSM
from hydropress.systems.modal import MIMOSystem, SISOSystem


def read_part(adapter: Adapter, name: str, module: nn.Module) -> LinearPart:
    """Return the linear part of a module as its adapter reads it.

    Raises
    ------
    InvalidArgumentError
        If that is not what the protocol asks for.
    """
    part: Any = adapter.read(module)
    problem = _problem(part)
    if problem:
        raise InvalidArgumentError(
            f"{name or 'the model'}: adapter {adapter.name!r} reads {problem}; required: a "
            "LinearPart of a discrete-time system without delay, of shape (directions, H) or, "
            "with many inputs and outputs, (directions,), its bias (H,) and its step of the "
            "system's shape or None; correct the adapter's read"
        )
    return part


def _problem(part: Any) -> str:
    """Say what is wrong with a linear part, or nothing."""
    if not isinstance(part, LinearPart):
        return "None" if part is None else f"a {type(part).__name__}"
    system: Any = part.system
    if not isinstance(system, (SISOSystem, MIMOSystem)):
        return f"a system of type {type(system).__name__}"
    shape = tuple(system.batch_shape)
    if system.time != "discrete" or system.delay:
        return f"a {system.time}-time system of delay {system.delay}"
    if len(shape) != (2 if isinstance(system, SISOSystem) else 1) or shape[0] not in (1, 2):
        return f"a system of shape {shape}"
    if part.bias is not None and tuple(part.bias.shape) != (part.channels,):
        return f"a bias of shape {tuple(part.bias.shape)} for {part.channels} channels"
    if part.step is not None and tuple(part.step.shape) != shape:
        return f"a step of shape {tuple(part.step.shape)} for a system of shape {shape}"
    return ""


def write_module(adapter: Adapter, module: nn.Module, layer: LinearSSM) -> nn.Module:
    """Return the module that an adapter writes with a smaller layer.

    Its parameters are frozen if all of the original's are.

    Raises
    ------
    InvalidArgumentError
        If it is none.
    """
    written: Any = adapter.write(module, layer)
    if not isinstance(written, nn.Module):
        raise InvalidArgumentError(
            f"adapter {adapter.name!r} writes {written!r}; required: a module; return the new "
            "one from the adapter's write"
        )
    if not any(parameter.requires_grad for parameter in module.parameters()):
        written.requires_grad_(requires_grad=False)
    return written
