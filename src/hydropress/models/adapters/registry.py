"""Adapters by name, and the search of a model with all of them."""

from dataclasses import dataclass

from torch import nn

from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.attenuate import AttenuateAdapter
from hydropress.models.adapters.dss import DSSAdapter
from hydropress.models.adapters.lru_pytorch import LRUPyTorch
from hydropress.models.adapters.own import OwnLayers
from hydropress.models.adapters.protocol import Adapter
from hydropress.models.adapters.s4 import S4Adapter
from hydropress.models.adapters.s4d import S4DAdapter
from hydropress.models.adapters.s5_pytorch import S5PyTorch

SELECTIVE_CLASSES = ("mamba", "s6", "selectivessm", "selective_ssm")
"""Beginnings of class names, in small letters, of modules whose SSM changes with the input."""
SELECTIVE_PARAMETERS = ({"x_proj.weight", "dt_proj.weight"}, {"in_proj.weight", "dt_bias", "A_log"})
"""Parameters that tell a Mamba and a Mamba-2 block by their names."""

_ADAPTERS: dict[str, Adapter] = {}


@dataclass(frozen=True)
class FoundLayer:
    """A module with a linear SSM in it.

    Attributes
    ----------
    name
        Its path in the model.
    adapter
        Which reads and writes it.
    """

    name: str
    adapter: Adapter


def register_adapter(adapter: Adapter | object) -> None:
    """Let :func:`hydropress.compress` find the SSMs of one more family of modules.

    Parameters
    ----------
    adapter
        With a name that is not taken yet.  Adapters registered later are asked first.

    Raises
    ------
    InvalidArgumentError
        If the name is taken or the object lacks one of the protocol's members.
    """
    if isinstance(adapter, type):
        raise InvalidArgumentError(
            f"the class {adapter.__name__}; required: an instance; pass {adapter.__name__}()"
        )
    if not isinstance(adapter, Adapter):
        raise InvalidArgumentError(
            f"{adapter!r}; required: an object with name, channels_last, find, read, write and "
            "tap (hydropress.models.adapters.protocol.Adapter); add what is missing"
        )
    if adapter.name in _ADAPTERS:
        raise InvalidArgumentError(
            f"adapter {adapter.name!r} is registered already; required: a name of its own; choose "
            "another one"
        )
    _ADAPTERS[adapter.name] = adapter


def adapter_names() -> tuple[str, ...]:
    """Return the registered names, in the order in which they are asked."""
    return tuple(reversed(_ADAPTERS))


def get_adapter(name: str) -> Adapter:
    """Return the adapter of a name, or raise an error that lists the names there are."""
    if name not in _ADAPTERS:
        raise InvalidArgumentError(
            f"adapter {name!r}; required: one of {', '.join(adapter_names())}; or "
            "register_adapter it"
        )
    return _ADAPTERS[name]


def find_layers(model: nn.Module) -> list[FoundLayer]:
    """Return all modules with a linear SSM, in the order of the model.

    A module inside one that was found is not found again, and of several adapters the first one
    asked keeps it.

    Raises
    ------
    InvalidArgumentError
        If there is none; the message says what was looked for, and why selective SSMs are not
        reduced if there are such.
    """
    found = _search(model)
    if not found:
        raise InvalidArgumentError(_explanation(model))
    return [found[name] for name, _ in model.named_modules() if name in found]


def has_layers(model: nn.Module) -> bool:
    """Return whether there is a module with a linear SSM."""
    return bool(_search(model))


def _search(model: nn.Module) -> dict[str, FoundLayer]:
    found: dict[str, FoundLayer] = {}
    places = {place for place, _ in model.named_modules(remove_duplicate=False)}
    for name in adapter_names():
        adapter = _ADAPTERS[name]
        for place in adapter.find(model):
            if place not in places:
                raise InvalidArgumentError(
                    f"adapter {name!r} finds {place!r}, which the model does not have; required: "
                    "names of model.named_modules(); correct the adapter's find"
                )
            if not any(_is_within(place, taken) or _is_within(taken, place) for taken in found):
                found[place] = FoundLayer(place, adapter)
    return found


def _is_within(name: str, outer: str) -> bool:
    return name == outer or outer == "" or name.startswith(outer + ".")


def _explanation(model: nn.Module) -> str:
    """Say why a model has nothing to reduce."""
    selective = selective_modules(model)
    if selective:
        places = ", ".join(f"{name or 'the model'} ({kind})" for name, kind in selective[:4])
        return (
            f"a model with selective SSMs only: {places}; required: linear time-invariant SSMs. A "
            "selective SSM computes its step and its B and C from every input sample, so that it "
            "has no transfer function and no H2 norm; reduce a model with time-invariant SSMs "
            "(S4D, DSS, S5, LRU)"
        )
    return (
        "a model in which no linear SSM is found; required: at least one module that an adapter "
        f"knows (looked for: {', '.join(adapter_names())}); register_adapter one for yours"
    )


def selective_modules(model: nn.Module) -> list[tuple[str, str]]:
    """Return names and classes of modules of the Mamba family, told by class and by parameters."""
    found: list[tuple[str, str]] = []
    for name, module in model.named_modules():
        kind = type(module).__name__
        parameters = {one for one, _ in module.named_parameters()}
        is_selective = kind.lower().startswith(SELECTIVE_CLASSES) and bool(parameters)
        is_selective |= any(wanted <= parameters for wanted in SELECTIVE_PARAMETERS)
        if is_selective and not any(_is_within(name, outer) for outer, _ in found):
            found.append((name, kind))
    return found


register_adapter(OwnLayers())
register_adapter(AttenuateAdapter())
register_adapter(LRUPyTorch())
register_adapter(S5PyTorch())
for _channels_last in (False, True):
    register_adapter(DSSAdapter(channels_last=_channels_last))
    register_adapter(S4Adapter(channels_last=_channels_last))
    register_adapter(S4DAdapter(channels_last=_channels_last))
