"""Batches of systems put together from others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar, cast

import torch
from torch import Tensor

from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem

S = TypeVar("S", bound=ModalSystem)


def stack(systems: Sequence[S]) -> S:
    """Stack systems of one batch shape along a new first axis; short ones get empty entries."""
    slots = max(system.num_poles for system in systems)

    def widen(values: Tensor, axis: int, empty: int) -> Tensor:
        shape = list(values.shape)
        shape[axis] = slots - shape[axis]
        return torch.cat([values, values.new_full(shape, empty)], axis)

    exponents = torch.stack([widen(system.exponents, -1, -1) for system in systems])
    states = torch.stack([widen(system.states, -1, 0) for system in systems])
    D, time = torch.stack([system.D for system in systems]), systems[0].time
    if isinstance(systems[0], SISOSystem):
        banks = cast(Sequence[SISOSystem], systems)
        residues = torch.stack([widen(system.residues, -1, 0) for system in banks])
        return cast(S, SISOSystem(exponents, residues, states, D, time))
    many = cast(Sequence[MIMOSystem], systems)
    B = torch.stack([widen(system.B, -2, 0) for system in many])
    C = torch.stack([widen(system.C, -1, 0) for system in many])
    return cast(S, MIMOSystem(exponents, B, C, states, D, time))


def where(condition: Tensor, first: S, second: S) -> S:
    """Return the systems of ``first`` where a condition holds, else those of ``second``.

    Parameters
    ----------
    condition
        Shape ``(K,)``, as the batch shape of both; entries that no system uses are dropped.
    """
    if not bool(condition.any()):
        return second
    column = condition[:, None]
    states = torch.cat([first.states * column, second.states * ~column], -1)
    used = max(1, int((states > 0).sum(-1).max()))
    place = torch.argsort((states == 0).long(), dim=-1, stable=True)[:, :used]
    exponents = torch.cat([first.exponents, second.exponents], -1).gather(-1, place)
    states = states.gather(-1, place)
    if isinstance(first, SISOSystem) and isinstance(second, SISOSystem):
        residues = torch.cat([first.residues, second.residues], -1).gather(-1, place)
        D = torch.where(condition, first.D, second.D)
        return cast(S, SISOSystem(exponents, residues, states, D, first.time))
    assert isinstance(first, MIMOSystem) and isinstance(second, MIMOSystem)
    B, C = (
        torch.cat(parts, 1).gather(1, place[..., None].expand(*place.shape, parts[0].shape[-1]))
        for parts in ((first.B, second.B), (first.C.mT, second.C.mT))
    )
    D = torch.where(condition[:, None, None], first.D, second.D)
    return cast(S, MIMOSystem(exponents, B, C.mT, states, D, first.time))


def without_silent_modes(system: S) -> S:
    """Return the same systems with entries whose response is zero made empty."""
    if isinstance(system, SISOSystem):
        silent = system.residues == 0
    else:
        assert isinstance(system, MIMOSystem)
        silent = (system.B == 0).all(-1) | (system.C == 0).all(-2)
    exponents = system.exponents.masked_fill(silent, -1)
    states = system.states.masked_fill(silent, 0)
    return cast(S, replace(system, exponents=exponents, states=states))
