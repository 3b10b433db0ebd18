"""The reducer of a layer by the kind of its systems."""

from typing import Any

import torch

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.layers import LayerReducer
from hydropress.calibration.mimo_layers import MIMOLayerReducer
from hydropress.calibration.reducer import Reducer
from hydropress.models.adapters.protocol import LinearPart
from hydropress.systems.modal import MIMOSystem, SISOSystem

AnyReducer = Reducer[Any, Any, Any]


def reducer_of(
    name: str, part: LinearPart, dtype: torch.dtype, method: str, settings: CalibratedSettings
) -> AnyReducer:
    """Return what reduces a layer, with no orders searched yet."""
    system = part.system
    if isinstance(system, SISOSystem):
        return LayerReducer(name, system, part, dtype, method, settings)
    assert isinstance(system, MIMOSystem)
    return MIMOLayerReducer(name, system, part, dtype, method, settings)
