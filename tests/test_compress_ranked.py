"""LAST and AIRE-Prune on a whole model: one ranking of the states of all layers."""

import math

import pytest
from torch import nn

from hydropress.compression.model import compress, compress_path
from hydropress.compression.result import Compression
from hydropress.reduction.registry import get_scores, method_names
from layers import own_layers
from test_compress import same_parameters, sequences
from tiny import tiny_model

Pole = tuple[str, int, complex]


def poles(network: nn.Module) -> set[Pole]:
    """Return layer, system and exponent of every pole, to ten digits."""
    found: set[Pole] = set()
    for name, layer in own_layers(network):
        system = layer.system().reshape(-1)
        for row in range(len(system.D)):
            for s, states in zip(system.exponents[row], system.states[row], strict=True):
                if int(states):
                    found.add(
                        (name, row, complex(round(s.real.item(), 5), round(s.imag.item(), 5)))
                    )
    return found


def by_hand(network: nn.Module, method: str, budget: int) -> set[Pole]:
    """Return the poles of the highest normalised scores, in plain numbers."""
    ranked: list[tuple[float, int, Pole]] = []
    for name, layer in own_layers(network):
        system = layer.system().reshape(-1)
        scores: list[tuple[float, int, Pole]] = []
        for row in range(len(system.D)):
            for s, residue, states in zip(
                system.exponents[row].tolist(),
                system.residues[row].tolist(),
                system.states[row].tolist(),
                strict=True,
            ):
                if not states:
                    continue
                size = math.exp(s.real)
                peak = abs(residue) ** 2 / (1 - size) ** 2
                energy = abs(residue) ** 2 / (1 - size**2)
                key = name, row, complex(round(s.real, 5), round(s.imag, 5))
                scores.append((peak if method == "last" else energy, states, key))
        scores.sort(key=lambda one: -one[0])
        total = 0.0
        for score, states, key in scores:
            total += score
            ranked.append((score / total, states, key))
    ranked.sort(key=lambda one: -one[0])
    kept: set[Pole] = set()
    for _, states, key in ranked:
        if states <= budget:
            budget -= states
            kept.add(key)
    return kept


def spent(method: str, *, data: bool, bidirectional: bool = False) -> Compression:
    return compress(
        tiny_model(5, bidirectional=bidirectional),
        ratio=0.3,
        method=method,
        calibration=sequences(16) if data else None,
        allocation="global",
    )


@pytest.mark.parametrize("method", ["last", "aire"])
@pytest.mark.parametrize("data", [False, True], ids=["no data", "data"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_states_of_the_highest_normalised_scores_are_kept(method, data, bidirectional):
    network = tiny_model(5, bidirectional=bidirectional)
    result = spent(method, data=data, bidirectional=bidirectional)
    total = sum(int(layer.system().order.sum()) for _, layer in own_layers(network))
    assert poles(result.model) == by_hand(network, method, math.floor(0.3 * total))
    assert (result.plan.allocation, result.plan.deviations) == ("global", ())


def test_data_change_no_state_but_match_the_means():
    blind, informed = spent("last", data=False), spent("last", data=True)
    assert [one.orders for one in blind.plan.layers] == [one.orders for one in informed.plan.layers]
    assert not same_parameters(blind.model, informed.model)


@pytest.mark.parametrize("method", ["last", "aire"])
def test_uniform_stays_uniform(method):
    result = compress(tiny_model(5), order=4, method=method, allocation="uniform")
    assert {order for layer in result.plan.layers for row in layer.orders for order in row} == {4}


def test_a_path_spends_each_budget_by_the_rule():
    ticks: list[tuple[int, int]] = []
    path = compress_path(
        tiny_model(5),
        (4, 2),
        method="aire",
        calibration=sequences(16),
        progress=lambda done, total, _: ticks.append((done, total)),
    )
    for one, average in zip(path, (4, 2), strict=True):
        assert poles(one.model) == by_hand(tiny_model(5), "aire", 8 * average)
    assert ticks[-1][0] == ticks[-1][1]


def test_other_methods_have_no_such_rule():
    assert [name for name in method_names() if get_scores(name)] == ["last", "aire"]
