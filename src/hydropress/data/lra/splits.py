"""Splits of the benchmark, and the part of the training data that is held out where it has none."""

from typing import Literal, get_args

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError

Split = Literal["train", "val", "test"]


def check_split(split: Split) -> None:
    """Raise if there is no such split."""
    if split not in get_args(Split):
        raise InvalidArgumentError(
            f"split {split!r}; required: one of {', '.join(get_args(Split))}; choose one of them"
        )


def stored_split(split: Split) -> Literal["train", "test"]:
    """Return where a split is taken from if only two are stored."""
    check_split(split)
    return "test" if split == "test" else "train"


def part(split: Split, labels: Tensor, validation: int, seed: int) -> Tensor:
    """Return which sequences belong to a split.

    Held out for validation are sequences drawn at random, of every class the same share.

    Parameters
    ----------
    split
        All belong to ``test``; ``train`` and ``val`` have none in common and are all together.
    labels
        Classes of the stored sequences, int64, shape ``(n,)``.
    validation
        How many to hold out; with none, all are for training.
    seed
        Determines which.

    Returns
    -------
    Tensor
        Places in ascending order, int64.
    """
    if split == "test":
        return torch.arange(len(labels))
    if not (0 if split == "train" else 1) <= validation < len(labels):
        raise InvalidArgumentError(
            f"validation = {validation} of {len(labels)} training sequences for the split "
            f"{split!r}; required: from {0 if split == 'train' else 1} to {len(labels) - 1}; hold "
            "out another number"
        )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    # Ranks from 0 to 1 within each class: the lowest of all hold the same share of each.
    rank = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = order[labels[order] == label]
        rank[members] = (torch.arange(len(members)) + 0.5).double() / len(members)
    by_rank = rank.argsort(stable=True)
    chosen = by_rank[:validation] if split == "val" else by_rank[validation:]
    return chosen.sort().values
