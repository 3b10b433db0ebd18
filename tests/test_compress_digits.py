"""Models of every family, trained on real data: a quarter of the states is nearly as good."""

import copy

import pytest
import torch
from safetensors.torch import load_file

from digits.data import digits, right
from digits.families import FAMILIES, Port
from digits.train import WEIGHTS
from hydropress import compress
from hydropress.calibration.fit import CalibratedSettings
from hydropress.evaluation.metrics import count_states

TRAIN, TEST = digits()
LARGEST = 200_000
FEW_STEPS = CalibratedSettings(search_iterations=5, polish_iterations=5)


def trained(family):
    model = FAMILIES[family]()
    model.load_state_dict(load_file(WEIGHTS / f"{family}.safetensors"))
    return model.eval()


def with_trees_read(model):
    """Put layers read from their trees in the places of ports."""
    read = copy.deepcopy(model)
    for place, layer in enumerate(model.layers):
        if isinstance(layer, Port):
            read.layers[place] = layer.read()
    with torch.no_grad():
        few = TEST[0][:50]
        torch.testing.assert_close(read(few), model(few), rtol=1e-4, atol=1e-4)
    return read


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_quarter_of_the_states_loses_at_most_a_point_without_retraining(family):
    assert (WEIGHTS / f"{family}.safetensors").stat().st_size <= LARGEST
    model = trained(family)
    before = right(model, *TEST)
    assert before > 0.8
    model = with_trees_read(model)
    result = compress(
        model,
        ratio=1 / 4,
        calibration=TRAIN[0],
        allocation="uniform",
        settings=FEW_STEPS,
    )
    assert count_states(result.model) <= count_states(model) / 4
    assert right(result.model, *TEST) >= before - 0.01
