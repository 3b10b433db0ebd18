"""What the systems of a layer lose at each order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def lookup(orders: Tensor, searched: tuple[int, ...]) -> tuple[list[int], Tensor]:
    """Return the distinct orders to be looked up, and which of them each system has.

    A system of fewer states than any order searched is itself at the next larger one.
    """
    available = torch.tensor([0, *searched])
    place = torch.bucketize(orders.cpu().contiguous(), available).clamp_max(len(available) - 1)
    distinct, index = available[place].unique(return_inverse=True)
    return distinct.tolist(), index


@dataclass(frozen=True)
class PathErrors:
    """What each system of a layer loses at each order, all others left as they are.

    Attributes
    ----------
    orders
        R orders, ascending from 0.
    relative_error
        Error over the standard deviation of the output on held-out data, or ‖k - k_r‖ / ‖k‖
        without data, float64, shape ``(K, R)``.
    changes
        With data: :func:`~hydropress.calibration.sensitivity.output_change`, shape ``(K, R)``.
    """

    orders: tuple[int, ...]
    relative_error: Tensor
    changes: Tensor | None

    def at(self, orders: Sequence[int]) -> "PathErrors":
        """Return the columns of some of the orders."""
        columns = [self.orders.index(order) for order in orders]
        changes = None if self.changes is None else self.changes[:, columns]
        return PathErrors(tuple(orders), self.relative_error[:, columns], changes)

    def joined(self, other: "PathErrors") -> "PathErrors":
        """Return the columns of both, orders ascending; both have changes or neither."""
        changes = None
        if self.changes is not None and other.changes is not None:
            changes = torch.cat([self.changes, other.changes], 1)
        both = PathErrors(
            (*self.orders, *other.orders),
            torch.cat([self.relative_error, other.relative_error], 1),
            changes,
        )
        return both.at(sorted(both.orders))
