"""The families whose state dicts are known; importing it registers them."""

from hydropress.models.adapters.annotated_s4d import AnnotatedS4DTensors
from hydropress.models.adapters.attenuate import AttenuateTensors
from hydropress.models.adapters.dss import DSSTensors
from hydropress.models.adapters.lru_pytorch import LRUTensors
from hydropress.models.adapters.s4 import S4Tensors
from hydropress.models.adapters.s4d import S4DTensors
from hydropress.models.adapters.s5_flax import S5Flax
from hydropress.models.adapters.s5_pytorch import S5PyTorchTensors
from hydropress.models.adapters.trees import (
    FoundTensors,
    find_tensors,
    get_state_dict_adapter,
    register_state_dict_adapter,
    state_dict_families,
)

__all__ = [
    "FoundTensors",
    "find_tensors",
    "get_state_dict_adapter",
    "register_state_dict_adapter",
    "state_dict_families",
]

for _adapter in (
    LRUTensors(),
    S5PyTorchTensors(),
    S5Flax(),
    AttenuateTensors(),
    AnnotatedS4DTensors(),
    DSSTensors(),
    S4Tensors(),
    S4DTensors(),
):
    register_state_dict_adapter(_adapter)
