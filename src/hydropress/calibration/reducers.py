"""What reduces a layer, whichever kind of systems it has."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.layer_report import LayerReport
from hydropress.calibration.layers import LayerReducer
from hydropress.calibration.mimo_layers import MIMOLayerReducer
from hydropress.calibration.path_errors import PathErrors
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.layer import LinearSSM
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem


class Reducer(Protocol):
    """What reduces one layer: a :class:`~hydropress.calibration.layers.LayerReducer` or its like.

    See that class for what the methods do.
    """

    @property
    def system(self) -> ModalSystem: ...

    @property
    def orders(self) -> tuple[int, ...]: ...

    def search(self, orders: Sequence[int], inputs: Tensor | None) -> "Reducer": ...

    def errors(
        self,
        orders: Sequence[int],
        inputs: Tensor | None,
        gradients: Tensor | None,
        disturbed: tuple[Tensor, Tensor] | None = None,
    ) -> PathErrors: ...

    def data(
        self,
        inputs: Tensor | None,
        present: Tensor | None,
        disturbed: tuple[Tensor, Tensor] | None = None,
    ) -> Any: ...

    def reduce(self, orders: Tensor, data: Any) -> tuple[LinearSSM, LayerReport]: ...


def reducer_of(
    name: str, part: LinearPart, dtype: torch.dtype, method: str, settings: CalibratedSettings
) -> Reducer:
    """Return what reduces a layer, with no orders searched yet."""
    system = part.system
    if isinstance(system, SISOSystem):
        return LayerReducer(name, system, part, dtype, method, settings)
    assert isinstance(system, MIMOSystem)
    return MIMOLayerReducer(name, system, part, dtype, method, settings)
