"""A layer whose channels have 0, 1, 2 and 3 states, and models with it or its MIMO kin."""

import math
from dataclasses import replace
from typing import Any

import torch

from hydropress.models.classifier import SequenceClassifier, SSMBlock
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.models.modal_ssm import ModalSSM
from strategies import bank, build, seeded_mimo
from tiny import tiny_model

ROWS = [
    build([-1.0], [0.0], [0], feedthrough=1.0),
    build([-0.1 + 1j * math.pi], [0.5], [1]),
    build([-0.05 + 0.3j], [0.2 - 0.3j], [2]),
    build([-0.2, -0.01 + 1j], [1.0, 0.1j], [1, 2]),
]


def ragged_layer(*, bidirectional: bool = False) -> ModalSSM:
    """Return a layer of four channels; both directions are alike."""
    directions = 1 + bidirectional
    system = bank(ROWS * directions).reshape(directions, len(ROWS))
    return ModalSSM.from_system(system, bias=torch.tensor([0.1, -0.2, 0.3, 0.4]))


def compressed_model(**changes: Any) -> SequenceClassifier:
    """Return a tiny model with an S4D block and one like the above."""
    model = tiny_model(**changes)
    block = model.blocks[1]
    assert isinstance(block, SSMBlock)
    block.ssm = ragged_layer(bidirectional=model.config.bidirectional)
    return model


def modal_mimo_model(**changes: Any) -> SequenceClassifier:
    """Return a tiny model with an S5 block and one reduced to 2 pairs and a real pole.

    Backward, if there is such a direction, to 1 pair and 2 real poles.
    """
    model = tiny_model(layer="s5", **changes)
    block = model.blocks[1]
    assert isinstance(block, SSMBlock)
    channels, directions = model.config.channels, block.ssm.directions
    system = seeded_mimo((directions,), channels, channels, 2, 2)
    states = system.states.clone()
    states[0, -1] = 0
    states[1:, 1] = 0
    block.ssm = ModalMIMOSSM.from_system(replace(system, states=states))
    return model
