"""What reduces one layer to several orders, whichever kind of systems it has."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.layer_report import LayerReport
from hydropress.calibration.path_errors import PathErrors
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.layer import LinearSSM
from hydropress.reduction.reduce import reduce_path
from hydropress.systems.modal import ModalSystem

S = TypeVar("S", bound=ModalSystem)
Start = TypeVar("Start")
Signals = TypeVar("Signals")
Fit = TypeVar("Fit")
Data = TypeVar("Data")


@dataclass(frozen=True)
class LayerData(Generic[Signals, Fit]):
    """What reductions of a layer on the same data share; nothing without data.

    Attributes
    ----------
    signals
        As the model is used.
    fit
        To these signals, or to those with dropout acting; ``None`` if the method fits nothing.
    is_disturbed
        Whether it is to the latter.
    """

    signals: Signals | None = None
    fit: Fit | None = None
    is_disturbed: bool = False


@dataclass(frozen=True)
class Reducer(ABC, Generic[S, Start, Data]):
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
    @abstractmethod
    def system(self) -> ModalSystem:
        """The layer's systems, batch shape ``(directions, H)`` or ``(directions, 1)``."""

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

    @abstractmethod
    def data(
        self,
        inputs: Tensor | None,
        present: Tensor | None,
        disturbed: tuple[Tensor, Tensor] | None = None,
    ) -> Data:
        """Return what reductions on the same signals share.

        Parameters
        ----------
        inputs, present
            What the layer gets in the original model and in the compressed prefix, shape
            ``(n, H, L)``, if there are calibration data.
        disturbed
            Both with dropout acting, if fits are made to those.  Bias and errors are what matches
            and is measured on ``inputs`` and ``present``, as the model is used.
        """

    @abstractmethod
    def errors(
        self,
        orders: Sequence[int],
        inputs: Tensor | None,
        gradients: Tensor | None,
        disturbed: tuple[Tensor, Tensor] | None = None,
    ) -> PathErrors:
        """Return what each system loses at some orders, the others kept.

        Parameters
        ----------
        orders
            0 or searched.
        inputs
            What the layer gets in the original model, shape ``(n, H, L)``, if there are
            calibration data.
        gradients
            :func:`~hydropress.calibration.sensitivity.output_gradients` on the first m ≤ n of the
            sequences, shape ``(P, m, H, L)``.
        disturbed
            As in :meth:`data`.
        """

    @abstractmethod
    def reduce(self, orders: Tensor, data: Data) -> tuple[LinearSSM, LayerReport]:
        """Return the layer that takes the original's place, and what happened.

        Parameters
        ----------
        orders
            States of each system, int64, shape ``(directions, H)``, or ``(directions, 1)`` where
            channels share their states: 0 or orders searched, or fewer for systems that have no
            more.
        data
            From :meth:`data`.
        """
