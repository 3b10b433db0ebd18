"""Compress a model of which there are only the tensors: no code, no data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hydropress.calibration.targets import check_order, order_of_ratio
from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.complex_states import (
    counted_once,
    counted_twice,
    split_outputs,
    stack_outputs,
)
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.tree_registry import find_tensors
from hydropress.models.adapters.trees import (
    FoundTensors,
    complete_options,
    flatten_tree,
    replace_leaves,
)
from hydropress.models.layer import LinearSSM
from hydropress.reduction.reduce import reduce
from hydropress.reduction.registry import get_method
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem


@dataclass(frozen=True)
class TensorRecord:
    """What became of one layer of a state dict.

    Attributes
    ----------
    name
        The path of the layer.
    family
        Which knows its layout.
    options
        Settings that were assumed of the layer's class; compare them with its own.
    full_order, reduced_order
        Real states of each system before and after, int64, ``(directions, H)`` or
        ``(directions,)``; two directions with the same poles count them twice.
    relative_error
        In the H² norm, of the directions of a channel together if they share poles: ``(1, H)``.
    parameters
        Numbers in the layer's tensors before and after.
    sizes
        Arguments with which the layer's class has the sizes of the new tensors.
    """

    name: str
    family: str
    options: dict[str, Any]
    full_order: Tensor
    reduced_order: Tensor
    relative_error: Tensor
    parameters: tuple[int, int]
    sizes: dict[str, int]


def read_layers(
    tensors: Mapping[str, Any],
    *,
    family: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, LinearSSM]:
    """Return the SSMs in a state dict as layers of this package, ready to be put into a network.

    What the rest of the network does is in its code: written again around these layers in PyTorch,
    a model of which there is a Flax tree alone is compressed on data by
    :func:`hydropress.compress`.

    Parameters
    ----------
    tensors, family, options
        As in :func:`compress_state_dict`.

    Returns
    -------
    dict
        By path, in order, modules that map signals ``(..., H, L)`` to what the layers' linear parts
        return, ``(..., H, L)``; their parameters are float32.

    Raises
    ------
    InvalidArgumentError, UnknownNameError
        As in :func:`compress_state_dict`.
    UnstableSystemError
        If a layer has a pole that does not decay.
    """
    flat = flatten_tree(tensors)
    found = find_tensors(flat, family)
    settings = _settings(found, options)
    return {
        one.name: one.adapter.read(flat, one.prefix, settings[one.adapter.name]).to_layer()
        for one in found
    }


def compress_state_dict(
    tensors: Mapping[str, Any],
    *,
    ratio: float | None = None,
    order: int | None = None,
    method: str = "h2",
    family: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[TensorRecord]]:
    """Replace the SSMs in a state dict by smaller ones, in the layout of their own family.

    Load the result into the original's code, built with the ``sizes`` that the records give.

    Parameters
    ----------
    tensors
        A state dict, or nested mappings of tensors or arrays such as a Flax tree; not changed.
    ratio, order
        Share of the states to keep, or states of each system; exactly one.  A ratio is rounded to
        the order that, given to all systems, comes nearest.
    method
        Name of a registered reduction method.
    family
        Which family alone to look for; all known if not given.
    options
        Settings of the layers' class that tensors do not tell, under the names they have there,
        such as ``{"disc": "zoh"}`` of S4; for state dicts of one family.

    Returns
    -------
    tensors
        As given, the layers' replaced.
    records
        One a layer, in order.

    Raises
    ------
    InvalidArgumentError
        If no layer is found, arguments contradict each other, an option is not known, or a family's
        layout cannot hold the result.
    UnknownNameError
        If no such family or method is registered.
    UnstableSystemError
        If a layer has a pole that does not decay.
    """
    if (ratio is None) == (order is None):
        raise InvalidArgumentError(
            f"ratio={ratio}, order={order}; required: exactly one of them; ratio is the share of "
            "SSM states to keep, order the states per channel"
        )
    get_method(method)
    flat = flatten_tree(tensors)
    found = find_tensors(flat, family)
    settings = _settings(found, options)
    parts = [one.adapter.read(flat, one.prefix, settings[one.adapter.name]) for one in found]
    states = torch.cat([part.system.order.flatten() for part in parts])
    if order is None:
        assert ratio is not None
        order = order_of_ratio(ratio, states)
    check_order(order, int(states.max()))
    new: dict[str, Tensor] = {}
    records: list[TensorRecord] = []
    for one, part in zip(found, parts, strict=True):
        chosen = settings[one.adapter.name]
        system, error = _reduced(part, one.adapter.shares_poles, order, method)
        written = one.adapter.write(flat, one.prefix, system, chosen)
        new |= written
        records.append(
            TensorRecord(
                one.name,
                one.adapter.name,
                chosen,
                part.system.order,
                system.order,
                error,
                (_numbers(flat, written), _numbers(written, written)),
                one.adapter.sizes({**flat, **written}, one.prefix),
            )
        )
    return replace_leaves(tensors, new), records


def _settings(
    found: list[FoundTensors], options: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """Return all options of each family that was found."""
    adapters = {one.adapter.name: one.adapter for one in found}
    if options and len(adapters) > 1:
        raise InvalidArgumentError(
            f"options for a state dict of several families ({', '.join(adapters)}); required: one "
            "family; call once for each, with family="
        )
    return {name: complete_options(adapter, options) for name, adapter in adapters.items()}


def _numbers(tensors: Mapping[str, Tensor], names: Mapping[str, Tensor]) -> int:
    return sum(tensors[name].numel() for name in names)


def _reduced(
    part: LinearPart, shares_poles: bool, order: int, method: str
) -> tuple[ModalSystem, Tensor]:
    """Return reduced systems of the same batch shape, and the relative errors."""
    system = part.system
    if shares_poles and part.directions == 2:
        if isinstance(system, MIMOSystem):
            both = reduce(stack_outputs(counted_twice(system)), order, method)
            return counted_once(split_outputs(both.system, 2)), both.relative_error[None]
        assert isinstance(system, SISOSystem)
        banks = reduce(_two_outputs(system), order, method)
        return _two_directions(banks.system), banks.relative_error[None]
    reduction = reduce(system, order, method)
    return reduction.system, reduction.relative_error


def _two_outputs(bank: SISOSystem) -> MIMOSystem:
    """Return each channel's two directions, of the same poles, as one system of two outputs."""
    poles, states = bank.exponents[0], bank.states[0]
    B = torch.where(states[..., None] > 0, 1.0, 0.0).to(poles)
    C = bank.residues.movedim(0, -2)
    return MIMOSystem(poles, B, C, states, bank.D.mT[..., None], bank.time)


def _two_directions(systems: MIMOSystem) -> SISOSystem:
    """Do the opposite of :func:`_two_outputs`."""
    residues = (systems.C * systems.B.mT).movedim(-2, 0)
    shape = residues.shape
    return ModalSystem.from_exponents(
        systems.exponents.expand(shape),
        residues,
        systems.states.expand(shape),
        systems.D[..., 0].mT,
    )
