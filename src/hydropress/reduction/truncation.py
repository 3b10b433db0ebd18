"""Truncation in modal coordinates: keep some of the modes as they are."""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.free_feedthrough import with_best_feedthrough
from hydropress.reduction.problem import Problem, S
from hydropress.reduction.result import Outcome
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem


def keep_modes(system: S, scores: Tensor, order: int | Tensor) -> S:
    """Keep the modes of the highest scores that fit into the order, residues and D unchanged.

    A pair is kept whole or not at all.  Where a mode is too large for the room that is left, the
    next one that fits takes its place.

    Parameters
    ----------
    system
        Bank of any batch shape ``(...)``.
    scores
        Real, shape ``(..., n)``; among equals the first entry goes first.
    order
        Number of real states to keep at most: one for all systems, or of shape ``(...)``.

    Returns
    -------
    SISOSystem or MIMOSystem
        As many entries as the largest of the reduced systems needs, at least one.

    Raises
    ------
    InvalidArgumentError
        If there is not one score for every entry, or an order is negative.
    """
    require_scores(system, scores)
    room = torch.as_tensor(order, device=system.states.device).expand(system.batch_shape)
    if bool((room < 0).any()):
        raise InvalidArgumentError(f"order {int(room.min())}; required: 0 or more states to keep")
    ranking = torch.argsort(scores, dim=-1, descending=True, stable=True)
    states = system.states.gather(-1, ranking)
    kept = torch.zeros_like(states, dtype=torch.bool)
    for place in range(states.shape[-1]):
        kept[..., place] = (states[..., place] > 0) & (states[..., place] <= room)
        room = room - states[..., place] * kept[..., place]
    used = max(1, int(kept.sum(-1).max()))
    first = torch.argsort((~kept).long(), dim=-1, stable=True)[..., :used]
    return _gather(system, ranking.gather(-1, first), kept.gather(-1, first))


def extreme_modes(full: S, order: int) -> list[S]:
    """Return the slowest, the fastest, the lowest and the highest modes."""
    frequency = full.exponents.imag
    scores = (full.decay, -full.decay, frequency, -frequency)
    return [keep_modes(full, score, order) for score in scores]


def require_scores(system: ModalSystem, scores: Tensor) -> None:
    """Raise unless there is one score for every entry."""
    if scores.shape != system.states.shape:
        raise InvalidArgumentError(
            f"scores of shape {tuple(scores.shape)}; required: one for each entry of the systems, "
            f"{tuple(system.states.shape)}"
        )


def truncate_to_orders(problem: Problem[S], scores: Tensor) -> list[Outcome[S]]:
    """Run :func:`keep_modes` at every order of a problem, with the best D if D is free."""
    kept = [keep_modes(problem.full, scores, order) for order in problem.orders]
    return [Outcome.direct(with_best_feedthrough(problem, system)) for system in kept]


def _gather(system: S, chosen: Tensor, keep: Tensor) -> S:
    """Return the chosen entries; those not to be kept become empty."""
    exponents = system.exponents.gather(-1, chosen)
    states = torch.where(keep, system.states.gather(-1, chosen), 0)
    if isinstance(system, MIMOSystem):
        B = system.B.gather(-2, chosen[..., None].expand(*chosen.shape, system.num_inputs))
        rows = chosen[..., None, :].expand(*chosen.shape[:-1], system.num_outputs, chosen.shape[-1])
        C = system.C.gather(-1, rows)
        B = torch.where(keep[..., None], B, 0)
        C = torch.where(keep[..., None, :], C, 0)
        return cast(S, replace(system, exponents=exponents, B=B, C=C, states=states))
    assert isinstance(system, SISOSystem)
    residues = torch.where(keep, system.residues.gather(-1, chosen), 0)
    return cast(S, replace(system, exponents=exponents, residues=residues, states=states))
