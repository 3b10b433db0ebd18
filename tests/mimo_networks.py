"""Small S5 and LRU classifiers, and what their layers return."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from hydropress.calibration.fit import CalibratedSettings
from hydropress.compression.model import compress
from hydropress.compression.result import Compression
from hydropress.models.classifier import SequenceClassifier
from tiny import tiny_model

CHANNELS, STATES, ORDER, LENGTH, CALIBRATION = 4, 8, 2, 32, 20
NAMES = ("blocks.0.ssm", "blocks.1.ssm")
SETTINGS = CalibratedSettings(search_iterations=1)


def sequences(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 0.2 * torch.randn(count, LENGTH, 1, generator=generator).cumsum(1)


@lru_cache
def model(kind: str = "s5", bidirectional: bool = False) -> SequenceClassifier:
    return tiny_model(
        3, layer=kind, bidirectional=bidirectional, state_size=STATES, channels=CHANNELS
    )


@lru_cache
def compressed(
    kind: str = "s5",
    bidirectional: bool = False,
    method: str = "h2",
    *,
    data: bool = True,
    order: int = ORDER,
    allocation: str = "uniform",
) -> Compression:
    return compress(
        model(kind, bidirectional),
        order=order,
        method=method,
        calibration=sequences(CALIBRATION) if data else None,
        allocation=allocation,  # type: ignore[arg-type]
        settings=SETTINGS,
    )


def logits(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return network(inputs)


def layer_outputs(network: nn.Module, inputs: Tensor) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    handles = []
    for name in NAMES:

        def keep(_: nn.Module, __: object, output: Tensor, name: str = name) -> None:
            found[name] = output.double().numpy()

        handles.append(network.get_submodule(name).register_forward_hook(keep))
    logits(network, inputs)
    for handle in handles:
        handle.remove()
    return found
