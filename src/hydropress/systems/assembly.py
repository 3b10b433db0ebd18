"""Batches of systems put together from others."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar, cast

import torch
from torch import Tensor

from hydropress.systems.delay import require_same_delay
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem

S = TypeVar("S", bound=ModalSystem)


def _widened(values: Tensor, axis: int, slots: int, empty: int) -> Tensor:
    shape = list(values.shape)
    shape[axis] = slots - shape[axis]
    return torch.cat([values, values.new_full(shape, empty)], axis)


def stack(systems: Sequence[S]) -> S:
    """Stack systems of one batch shape along a new first axis; short ones get empty entries."""
    return concatenate([system.reshape(1, *system.batch_shape) for system in systems])


def concatenate(systems: Sequence[S]) -> S:
    """Concatenate systems along their first batch axis; short ones get empty entries."""
    if len(systems) == 1:
        return systems[0]
    require_same_delay(*systems)
    slots = max(system.num_poles for system in systems)
    exponents = torch.cat([_widened(system.exponents, -1, slots, -1) for system in systems])
    states = torch.cat([_widened(system.states, -1, slots, 0) for system in systems])
    D = torch.cat([system.D for system in systems])
    time, delay = systems[0].time, systems[0].delay
    if isinstance(systems[0], SISOSystem):
        banks = cast(Sequence[SISOSystem], systems)
        residues = torch.cat([_widened(system.residues, -1, slots, 0) for system in banks])
        return cast(S, SISOSystem(exponents, residues, states, D, time, delay))
    many = cast(Sequence[MIMOSystem], systems)
    B = torch.cat([_widened(system.B, -2, slots, 0) for system in many])
    C = torch.cat([_widened(system.C, -1, slots, 0) for system in many])
    return cast(S, MIMOSystem(exponents, B, C, states, D, time, delay))


def difference(full: ModalSystem, reduced: ModalSystem) -> ModalSystem:
    """Return the system with kernel k - k_r; batch shapes broadcast."""
    batch = torch.broadcast_shapes(full.batch_shape, reduced.batch_shape)

    def join(first: Tensor, second: Tensor, axis: int = -1) -> Tensor:
        trailing = 1 if first.ndim == full.exponents.ndim else 2
        parts = [part.expand(*batch, *part.shape[-trailing:]) for part in (first, second)]
        return torch.cat(parts, dim=axis)

    exponents = join(full.exponents, reduced.exponents)
    states = join(full.states, reduced.states)
    D = full.D - reduced.D
    if isinstance(full, MIMOSystem) and isinstance(reduced, MIMOSystem):
        B, C = join(full.B, reduced.B, -2), join(full.C, -reduced.C)
        return MIMOSystem(exponents, B, C, states, D, full.time, full.delay)
    assert isinstance(full, SISOSystem) and isinstance(reduced, SISOSystem)
    residues = join(full.residues, -reduced.residues)
    return SISOSystem(exponents, residues, states, D, full.time, full.delay)


def compact(system: S) -> S:
    """Move empty entries to the end and drop those that no system of a bank ``(K,)`` uses."""
    used = max(1, int((system.states > 0).sum(-1).max()))
    place = torch.argsort((system.states == 0).long(), dim=-1, stable=True)[:, :used]
    exponents, states = system.exponents.gather(-1, place), system.states.gather(-1, place)
    if isinstance(system, SISOSystem):
        residues = system.residues.gather(-1, place)
        return cast(S, replace(system, exponents=exponents, residues=residues, states=states))
    assert isinstance(system, MIMOSystem)
    B, C = (
        part.gather(1, place[..., None].expand(*place.shape, part.shape[-1]))
        for part in (system.B, system.C.mT)
    )
    return cast(S, replace(system, exponents=exponents, B=B, C=C.mT, states=states))


def where(condition: Tensor, first: S, second: S) -> S:
    """Return the systems of ``first`` where a condition holds, else those of ``second``.

    Parameters
    ----------
    condition
        Shape ``(K,)``, as the batch shape of both; entries that no system uses are dropped.
    """
    require_same_delay(first, second)
    column = condition[:, None]
    states = torch.cat([first.states * column, second.states * ~column], -1)
    exponents = torch.cat([first.exponents, second.exponents], -1)
    if isinstance(first, SISOSystem) and isinstance(second, SISOSystem):
        residues = torch.cat([first.residues, second.residues], -1)
        D = torch.where(condition, first.D, second.D)
        joined = replace(first, exponents=exponents, residues=residues, states=states, D=D)
        return cast(S, compact(joined))
    assert isinstance(first, MIMOSystem) and isinstance(second, MIMOSystem)
    B, C = torch.cat([first.B, second.B], -2), torch.cat([first.C, second.C], -1)
    D = torch.where(condition[:, None, None], first.D, second.D)
    return cast(S, compact(replace(first, exponents=exponents, B=B, C=C, states=states, D=D)))


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
