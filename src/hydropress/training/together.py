"""What the processes that train together agree on: all of them take the same decisions."""

from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Together:
    """The processes of a trainer of Lightning; a single one talks to nobody.

    Parameters
    ----------
    trainer
        Made for all of them; every process calls each method at the same place.

    Attributes
    ----------
    is_first
        Whether this process is the first of all, which alone writes.
    """

    def __init__(self, trainer: Any) -> None:
        self._strategy, self._alone = trainer.strategy, trainer.world_size == 1
        self.is_first: bool = trainer.is_global_zero

    def mean(self, value: float) -> float:
        """Return the mean of the values of all."""
        if self._alone:
            return value
        # Where the gradients are: NCCL knows no tensors of the processor.
        mine = torch.tensor(value, device=self._strategy.root_device)
        return float(self._strategy.reduce(mine, reduce_op="mean"))

    def any(self, flag: bool) -> bool:
        """Return whether it holds for any of them."""
        return self.mean(float(flag)) > 0

    def of_the_first(self, value: T) -> T:
        """Return the first one's value."""
        return value if self._alone else self._strategy.broadcast(value)
