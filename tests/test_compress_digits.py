"""Models of every family, trained on real data: a quarter of the states is nearly as good."""

import pytest
from safetensors.torch import load_file

from digits.data import digits, right
from digits.families import FAMILIES, PortAdapter
from digits.train import WEIGHTS
from hydropress import compress, register_adapter
from hydropress.calibration.fit import CalibratedSettings
from hydropress.evaluation.metrics import count_states
from hydropress.models.adapters import registry

TRAIN, TEST = digits()
LARGEST = 200_000
FEW_STEPS = CalibratedSettings(search_iterations=5, polish_iterations=5)


@pytest.fixture(autouse=True)
def _ports(monkeypatch):
    """Let ports be found, in this file alone."""
    monkeypatch.setattr(registry, "_ADAPTERS", dict(registry._ADAPTERS))
    register_adapter(PortAdapter())


def trained(family):
    model = FAMILIES[family]()
    model.load_state_dict(load_file(WEIGHTS / f"{family}.safetensors"))
    return model.eval()


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_quarter_of_the_states_loses_at_most_a_point_without_retraining(family):
    assert (WEIGHTS / f"{family}.safetensors").stat().st_size <= LARGEST
    model = trained(family)
    before = right(model, *TEST)
    assert before > 0.8
    result = compress(
        model,
        ratio=1 / 4,
        calibration=TRAIN[0],
        allocation="uniform",
        settings=FEW_STEPS,
    )
    assert count_states(result.model) <= count_states(model) / 4
    assert right(result.model, *TEST) >= before - 0.01
