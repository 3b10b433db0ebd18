"""One state budget for all layers of a model, spent as LAST and AIRE-Prune spend it.

A layer's scores are brought to a scale that layers share: sorted in descending order,

    score_(i) / (score_(1) + … + score_(i)),

the share of a state in the energy that is left when everything below it is pruned
[gwak2024last, padhy2026aire].  A layer's best state has 1, and the ranking within the layer stays.
The budget goes to the highest of these numbers, wherever they are.

A layer is a bank.  All its systems are ranked together: a layer of scalar channels (multi-SISO, as
S4D) is one system of several inputs and outputs whose A is diagonal too, and its channels end with
orders of their own, 0 not excluded.  The public code of both papers shows layers of one system
(S5) only; that channels are pooled is our choice.

Neither paper's body could be read for this; the rule is that of the public code, which LAST's
authors call the paper's, and of the reviews that quote AIRE-Prune's.
Where this differs:

- The code sorts the normalised scores of all layers and keeps exactly the top fraction of complex
  states, all above one threshold.  Here entries are ranked as stored, but the budget counts real
  states, two a pair, and is never exceeded: a pair for which one state is left is skipped, and the
  next real pole that fits is kept although its score is below the threshold.
- AIRE-Prune's small constant in the denominator is left out, and a layer of no response at all has
  scores of 0.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.truncation import require_scores
from hydropress.systems.modal import ModalSystem


def normalize_layer(scores: Tensor) -> Tensor:
    """Divide each score of a layer by the sum of all scores from the highest down to it.

    Parameters
    ----------
    scores
        Nonnegative, of any shape: all entries of one layer; empty ones have 0.

    Returns
    -------
    Tensor
        Of the same shape, from 0 to 1; 0 where the score is 0.
    """
    ordered, ranking = torch.sort(scores.flatten(), descending=True, stable=True)
    shares = torch.where(ordered > 0, ordered / ordered.cumsum(0), 0.0)
    return torch.empty_like(shares).scatter(0, ranking, shares).reshape(scores.shape)


def layer_adaptive_orders(
    systems: Sequence[ModalSystem], scores: Sequence[Tensor], budget: int
) -> list[Tensor]:
    """Share a number of states out among the systems of all layers.

    Parameters
    ----------
    systems
        The bank of each layer, of any batch shapes.
    scores
        Of each layer, shape ``(..., n)``: what
        :func:`~hydropress.reduction.last.last_scores` or
        :func:`~hydropress.reduction.aire.aire_scores` say of its bank.
    budget
        Number of real states of the whole model, not exceeded.

    Returns
    -------
    list of Tensor
        The order of each system, int64, of the batch shape of its bank.
        :func:`~hydropress.reduction.truncation.keep_modes` with the same scores keeps exactly the
        modes that were chosen here.

    Raises
    ------
    InvalidArgumentError
        If the budget is negative or there is not one score for every entry.
    """
    if budget < 0:
        raise InvalidArgumentError(f"budget={budget}; required: 0 or more states")
    if len(systems) != len(scores):
        raise InvalidArgumentError(
            f"scores of {len(scores)} layers for {len(systems)} banks; required: as many"
        )
    for system, score in zip(systems, scores, strict=True):
        require_scores(system, score)
    shares = torch.cat([normalize_layer(score).flatten() for score in scores])
    sizes = torch.cat([system.states.flatten() for system in systems]).tolist()
    kept = [0] * len(sizes)
    room = budget
    for place in torch.argsort(shares, descending=True, stable=True).tolist():
        if sizes[place] <= room:
            kept[place] = sizes[place]
            room -= sizes[place]
    parts = torch.tensor(kept).split([system.states.numel() for system in systems])
    return [
        part.reshape(system.states.shape).sum(-1).to(system.states.device)
        for part, system in zip(parts, systems, strict=True)
    ]
