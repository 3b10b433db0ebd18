"""What reduces a layer, whichever kind of systems it has."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.layer_report import LayerReport
from hydropress.calibration.layers import LayerReducer
from hydropress.calibration.mimo_layers import MIMOLayerReducer
from hydropress.calibration.path_errors import PathErrors
from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import BankSSM, LinearSSM
from hydropress.models.mimo_layer import MIMOSSM
from hydropress.systems.modal import ModalSystem


class Reducer(Protocol):
    """What reduces one layer: a :class:`~hydropress.calibration.layers.LayerReducer` or its like.

    See that class for what the methods do.
    """

    @property
    def layer(self) -> LinearSSM: ...

    @property
    def system(self) -> ModalSystem: ...

    @property
    def orders(self) -> tuple[int, ...]: ...

    def search(self, orders: Sequence[int], inputs: Tensor | None) -> "Reducer": ...

    def errors(
        self, orders: Sequence[int], inputs: Tensor | None, gradients: Tensor | None
    ) -> PathErrors: ...

    def data(self, inputs: Tensor | None, present: Tensor | None) -> Any: ...

    def reduce(self, orders: Tensor, data: Any) -> tuple[nn.Module, LayerReport]: ...


def reducer_of(name: str, layer: LinearSSM, method: str, settings: CalibratedSettings) -> Reducer:
    """Return what reduces a layer, with no orders searched yet."""
    if isinstance(layer, BankSSM):
        return LayerReducer.of(name, layer, method, settings)
    if isinstance(layer, MIMOSSM):
        return MIMOLayerReducer.of(name, layer, method, settings)
    raise InvalidArgumentError(
        f"{name} is a {type(layer).__name__}; required: a bank of scalar systems (BankSSM) or one "
        "system for all channels (MIMOSSM)"
    )
