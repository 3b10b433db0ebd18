"""How far layers can go."""

import json

import pytest
import torch
from torch import nn

from hydropress.errors import InvalidArgumentError
from hydropress.evaluation.inspection import inspect_model, sufficient_order
from hydropress.reduction.reduce import reduce
from hydropress.systems.gramians import hankel_singular_values
from layers import own_layers
from tiny import tiny_model


def test_sufficient_order_by_hand():
    values = torch.tensor([[1.0, 0.2, 0.04, 0.004], [1.0, 0.0, 0.0, 0.0]])
    # Twice the tails: 2.488, 0.488, 0.088, 0.008.
    assert sufficient_order(values, 0.1).tolist() == [2, 1]
    assert sufficient_order(values, 0.01).tolist() == [3, 1]
    assert sufficient_order(torch.zeros(1, 3), 0.1).tolist() == [0]


def test_the_guarantee_holds_for_balanced_truncation():
    _, layer = own_layers(tiny_model())[0]
    system = layer.system().reshape(-1)
    circle = torch.exp(1j * torch.linspace(1e-3, torch.pi, 2000, dtype=torch.float64))
    peak = (system.transfer_function(circle) - system.D[:, None]).abs().amax(-1)
    for share in (0.5, 0.1):
        orders = sufficient_order(hankel_singular_values(system), share)
        for index, order in enumerate(orders.tolist()):
            single = system[index : index + 1]
            reduced = reduce(single, order, "balanced").system if order < 8 else single
            difference = single.transfer_function(circle) - reduced.transfer_function(circle)
            assert difference.abs().max() <= share * peak[index] * 1.01


def test_every_layer_is_described():
    model = tiny_model()
    layers = inspect_model(model)
    assert [layer.name for layer in layers] == ["blocks.0.ssm", "blocks.1.ssm"]
    for layer in layers:
        assert (layer.channels, layer.directions, layer.order) == (4, 1, 8)
        assert 0 < layer.half_life[0] <= layer.half_life[1] <= layer.half_life[2]
        assert 0 <= layer.frequency[0] <= layer.frequency[1] <= torch.pi
        rough, fine = layer.sufficient_order
        assert rough[0] <= rough[1] <= 8
        assert rough[0] <= fine[0]
        assert layer.hankel_above[0] <= layer.hankel_above[1]
        json.dumps(layer.to_dict(), allow_nan=False)


def test_bidirectional_layers_count_both_directions():
    (layer, _) = inspect_model(tiny_model(bidirectional=True))
    assert layer.directions == 2


@pytest.mark.parametrize("kind", ["dss", "s5", "lru"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_other_layers_are_described_too(kind, bidirectional):
    model = tiny_model(layer=kind, bidirectional=bidirectional)
    for layer in inspect_model(model):
        assert (layer.channels, layer.directions, layer.order) == (4, 1 + bidirectional, 8)
        rough, fine = layer.sufficient_order
        assert rough[0] <= fine[0] <= fine[1] <= 8
        json.dumps(layer.to_dict(), allow_nan=False)


def test_a_model_without_ssm_is_refused():
    with pytest.raises(InvalidArgumentError, match="no linear SSM"):
        inspect_model(nn.Linear(2, 2))
