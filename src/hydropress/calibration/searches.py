"""What reductions of one layer to several orders share, whichever kind of systems it has."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from hydropress.calibration.fit import CalibratedSettings
from hydropress.models.adapters.protocol import LinearPart
from hydropress.reduction.reduce import reduce_path
from hydropress.systems.modal import ModalSystem

S = TypeVar("S", bound=ModalSystem)
Start = TypeVar("Start")


@dataclass(frozen=True)
class Searches(ABC, Generic[S, Start]):
    """A layer and the orders to which its systems have been searched.

    Attributes
    ----------
    name
        Path of the layer in the model.
    full
        Its systems, batch shape ``(directions, H)``, or ``(directions,)`` where channels share
        their states.
    part
        The same with its bias and step.
    dtype
        Of its parameters.
    method
        Name of the reduction method.
    settings
        How starts are fitted to data.
    reduced
        By order, the systems as the method alone reduces them; empty for calibrated ``h2``.
    spreads
        By order, how far apart the relative errors of the method's starts ended.
    starts
        By order, the starts of calibrated ``h2`` by name, for each direction.
    """

    name: str
    full: S
    part: LinearPart
    dtype: torch.dtype
    method: str
    settings: CalibratedSettings
    reduced: dict[int, S] = field(default_factory=dict[int, Any])
    spreads: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    starts: dict[int, list[dict[str, Start]]] = field(default_factory=dict[int, Any])

    @property
    def orders(self) -> tuple[int, ...]:
        """The orders searched, ascending."""
        return tuple(sorted({*self.reduced, *self.starts}))

    def search(self, orders: Sequence[int], inputs: Tensor | None) -> Self:
        """Return a reducer that can reduce to further orders too.

        Parameters
        ----------
        orders
            Searched together.
        inputs
            What the layer gets in the original model, shape ``(n, H, L)``, if there are
            calibration data.
        """
        largest = int(self.full.order.max())
        wanted = {min(order, largest) for order in orders if order > 0}
        orders = tuple(sorted(wanted - {*self.orders}))
        if not orders:
            return self
        if self.method == "h2" and inputs is not None:
            found = self._calibrated_starts(orders, inputs)
            return replace(self, starts={**self.starts, **found})
        path = reduce_path(self.full, method=self.method, orders=orders)
        reduced = {reduction.order: reduction.system for reduction in path}
        spreads = {reduction.order: reduction.spread for reduction in path}
        return replace(
            self, reduced={**self.reduced, **reduced}, spreads={**self.spreads, **spreads}
        )

    @abstractmethod
    def _calibrated_starts(
        self, orders: tuple[int, ...], inputs: Tensor
    ) -> dict[int, list[dict[str, Start]]]:
        """Return the starts of calibrated ``h2`` at orders that have not been searched."""
