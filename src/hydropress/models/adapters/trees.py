"""State dicts and parameter trees without the code that made them: who knows their layout."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError, UnknownNameError
from hydropress.models.adapters.protocol import LinearPart
from hydropress.systems.assembly import compact
from hydropress.systems.modal import ModalSystem, SISOSystem

Tensors = Mapping[str, Tensor]
Options = Mapping[str, Any]

NO_OPTIONS: Options = MappingProxyType({})

SEPARATOR = "."
"""Between the names of a path, as in a state dict."""


@runtime_checkable
class StateDictAdapter(Protocol):
    """What is known of one family's tensors.

    Attributes
    ----------
    name
        Of the family, for messages and for ``family=`` of ``compress_state_dict``.
    options
        Settings of the family's classes that its tensors do not tell, with their defaults, under
        the names they have there.
    shares_poles
        Whether the layout has one set of poles for both directions of a channel.  They are then
        reduced as one system of two outputs, and ``write`` gets the same poles for both.
    """

    name: str
    options: Options
    shares_poles: bool

    def find(self, tensors: Tensors) -> list[str]:
        """Return the prefixes of the layers of this family, each ending with a dot or empty."""
        ...

    def read(self, tensors: Tensors, prefix: str, options: Options) -> LinearPart:
        """Return a layer's linear part.

        Parameters
        ----------
        options
            All of :attr:`options`, see :func:`complete_options`.
        """
        ...

    def write(
        self, tensors: Tensors, prefix: str, system: ModalSystem, options: Options
    ) -> dict[str, Tensor]:
        """Return the tensors of a layer that change, under their full names.

        Parameters
        ----------
        tensors, prefix, options
            The original's, as given to :meth:`read`; dtypes stay.
        system
            As :meth:`read` returns it, of lower orders.  They are padded to the layer's largest
            with zero weights.

        Raises
        ------
        InvalidArgumentError
            If the family's layout cannot hold it.
        """
        ...

    def sizes(self, tensors: Tensors, prefix: str) -> dict[str, int]:
        """Return the arguments of the family's class that go with the tensors' shapes."""
        ...


@dataclass(frozen=True)
class FoundTensors:
    """A layer in a state dict: the beginning of its tensors' names, and who reads them."""

    prefix: str
    adapter: StateDictAdapter

    @property
    def name(self) -> str:
        return self.prefix.removesuffix(SEPARATOR)


_ADAPTERS: dict[str, StateDictAdapter] = {}


def register_state_dict_adapter(adapter: StateDictAdapter) -> None:
    """Let ``compress_state_dict`` know one more family.

    Parameters
    ----------
    adapter
        With a name that is not taken yet.  Adapters registered later are asked first.
    """
    if not isinstance(cast(object, adapter), StateDictAdapter):
        raise InvalidArgumentError(
            f"{adapter!r}; required: an object with name, options, shares_poles, find, read, write "
            "and sizes (hydropress.models.adapters.trees.StateDictAdapter); add what is missing"
        )
    if adapter.name in _ADAPTERS:
        raise InvalidArgumentError(
            f"state dict adapter {adapter.name!r} is registered already; required: a name of its "
            "own; choose another one"
        )
    _ADAPTERS[adapter.name] = adapter


def state_dict_families() -> tuple[str, ...]:
    """Return the registered names, in the order in which they are asked."""
    return tuple(reversed(_ADAPTERS))


def get_state_dict_adapter(family: str) -> StateDictAdapter:
    """Return the adapter of a name, or raise an error that lists the names there are."""
    if family not in _ADAPTERS:
        raise UnknownNameError(
            f"family {family!r}; required: one of {', '.join(state_dict_families())}; or "
            "register_state_dict_adapter it"
        )
    return _ADAPTERS[family]


def find_tensors(tensors: Tensors, family: str | None = None) -> list[FoundTensors]:
    """Return all layers that are known, in the order of the state dict.

    Parameters
    ----------
    family
        Which adapter alone to ask; all if not given, and the first one asked keeps a layer.

    Raises
    ------
    InvalidArgumentError
        If there is no such layer.
    """
    names = state_dict_families() if family is None else (family,)
    found: dict[str, FoundTensors] = {}
    for name in names:
        adapter = get_state_dict_adapter(name)
        for prefix in adapter.find(tensors):
            found.setdefault(prefix, FoundTensors(prefix, adapter))
    if not found:
        some = ", ".join(list(tensors)[:4])
        raise InvalidArgumentError(
            f"a state dict of {len(tensors)} tensors ({some}, ...) in which no known layer is "
            f"found (looked for: {', '.join(names)}); required: the tensors of at least one, under "
            "the names its class gives them; register_state_dict_adapter a family of yours"
        )
    places = {name: place for place, name in enumerate(tensors)}
    return sorted(found.values(), key=lambda one: _first_place(places, one.prefix))


def _first_place(places: Mapping[str, int], prefix: str) -> int:
    return min(place for name, place in places.items() if name.startswith(prefix))


def prefixes_with(
    tensors: Tensors, names: Collection[str], without: Collection[str] = ()
) -> list[str]:
    """Return the prefixes under which all of some names are, and none of some others."""
    first = next(iter(names))
    candidates = [
        full.removesuffix(first)
        for full in tensors
        if full == first or full.endswith(SEPARATOR + first)
    ]
    return [
        prefix
        for prefix in candidates
        if all(prefix + name in tensors for name in names)
        and not any(prefix + name in tensors for name in without)
    ]


def complete_options(adapter: StateDictAdapter, given: Options | None) -> dict[str, Any]:
    """Return all options of a family, those given in place of its defaults.

    Raises
    ------
    InvalidArgumentError
        If one is not known.
    """
    known, given = dict(adapter.options), given or {}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InvalidArgumentError(
            f"options {', '.join(unknown)} for family {adapter.name!r}; required: some of "
            f"{', '.join(known) or 'none'}; leave the others out"
        )
    return {**known, **given}


def as_pairs(bank: SISOSystem) -> tuple[Tensor, Tensor]:
    """Return what a layout of conjugate pairs alone holds: k[t] = Σ 2 Re(ρ e^{st}).

    Returns
    -------
    exponents, residues
        Shapes ``(..., n)``, n the largest number of entries.  A real pole is a pair on the axis;
        empty entries have residue 0.
    """
    flat = compact(bank.reshape(-1))
    residues = flat.residues * flat.states / 2
    shape = (*bank.batch_shape, flat.num_poles)
    return flat.exponents.reshape(shape), residues.reshape(shape)


def flatten_tree(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Return the leaves of nested mappings of tensors or arrays under dotted names.

    Leaves that are no numbers are left out.
    """
    flat: dict[str, Tensor] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten_tree(value, f"{prefix}{name}{SEPARATOR}"))
        elif isinstance(value, Tensor):
            flat[f"{prefix}{name}"] = value
        elif hasattr(value, "__array__") or isinstance(value, int | float | complex):
            array = np.asarray(value)
            if array.dtype.kind in "fciub":
                flat[f"{prefix}{name}"] = torch.from_numpy(np.array(array))
    return flat


def replace_leaves(tree: Mapping[str, Any], tensors: Tensors, prefix: str = "") -> dict[str, Any]:
    """Return a copy of nested mappings with some leaves replaced, tensors by tensors.

    Parameters
    ----------
    tensors
        New leaves under dotted names; a leaf that was no tensor becomes a NumPy array.
    """
    copy: dict[str, Any] = {}
    for name, value in tree.items():
        full = f"{prefix}{name}"
        if isinstance(value, Mapping):
            copy[name] = replace_leaves(value, tensors, full + SEPARATOR)
        elif full in tensors:
            new = tensors[full]
            copy[name] = new if isinstance(value, Tensor) else new.numpy()
        else:
            copy[name] = value
    return copy
