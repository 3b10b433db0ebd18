"""LRU: where its poles begin, how large its states are, and its published recurrence."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from hydropress.errors import InvalidArgumentError
from hydropress.models.lru import LRU


def values_of(layer):
    return {name: p.detach().double().numpy() for name, p in layer.named_parameters()}


def poles_of(layer):
    values = values_of(layer)
    return np.exp(-np.exp(values["log_decay"]) + 1j * np.exp(values["log_phase"]))


@pytest.mark.parametrize("ring", [(0.0, 1.0), (0.9, 0.999), (0.5, 0.6)])
@pytest.mark.parametrize("max_phase", [2 * math.pi, 0.3])
def test_poles_are_uniform_on_the_ring(ring, max_phase):
    torch.manual_seed(0)
    count = 5000
    poles = poles_of(LRU(1, 2 * count, ring=ring, max_phase=max_phase))
    modulus, phase = np.abs(poles), np.angle(poles) % (2 * math.pi)
    assert ring[0] - 1e-6 <= modulus.min() and modulus.max() < min(1.0, ring[1] + 1e-6)
    # Uniform on the area: the share of poles within a radius is that of the area.
    for share in (0.25, 0.5, 0.75):
        radius = math.sqrt(ring[0] ** 2 + share * (ring[1] ** 2 - ring[0] ** 2))
        assert abs((modulus <= radius).mean() - share) < 5 * math.sqrt(0.25 / count)
        assert abs((phase <= share * max_phase).mean() - share) < 5 * math.sqrt(0.25 / count)


def test_gamma_normalises_the_states():
    layer = LRU(3, 40, ring=(0.3, 0.99))
    modulus = np.abs(poles_of(layer))
    gamma = np.exp(values_of(layer)["log_gamma"])
    np.testing.assert_allclose(gamma, np.sqrt(1 - modulus**2), rtol=1e-5)
    # Σ_t |λ^t γ|² = 1: a white input gives every state its own variance.
    powers = modulus[:, None] ** (2 * np.arange(5000))
    np.testing.assert_allclose(gamma**2 * powers.sum(-1), 1, rtol=1e-4)


def test_sizes_at_the_start():
    torch.manual_seed(0)
    width, count = 200, 150
    values = values_of(LRU(width, 2 * count))
    B = values["B"][..., 0] + 1j * values["B"][..., 1]
    C = values["C"][..., 0] + 1j * values["C"][..., 1]
    assert B.shape == (count, width)
    assert C.shape == (1, width, count)
    assert np.mean(np.abs(B) ** 2) == pytest.approx(1 / width, rel=0.05)
    assert np.mean(np.abs(C) ** 2) == pytest.approx(2 / count, rel=0.05)
    assert values["D"].std() == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_outputs_are_those_of_the_published_recurrence(bidirectional):
    layer = LRU(3, 8, bidirectional=bidirectional).double()
    values, poles = values_of(layer), poles_of(layer)
    B, C = (values[name][..., 0] + 1j * values[name][..., 1] for name in "BC")
    gamma = np.exp(values["log_gamma"])

    def states(signal):
        state, found = np.zeros(len(poles), dtype=complex), []
        for sample in signal.T:
            state = poles * state + gamma * (B @ sample)
            found.append(state)
        return np.stack(found, -1)

    signal = torch.randn(3, 60, dtype=torch.float64)
    u = signal.numpy()
    expected = (C[0] @ states(u)).real + values["D"][:, None] * u
    if bidirectional:
        expected += (C[1] @ states(u[:, ::-1])[:, ::-1]).real
    np.testing.assert_allclose(layer(signal).detach(), expected, rtol=0, atol=1e-11)


def test_one_mode_by_hand():
    # λ = 1/2 e^{iπ/2} = i/2, γ = √3/2, B = 1, C = 2: k = Re(√3 (i/2)^t) = √3 (1, 0, -1/4, 0, 1/16).
    layer = LRU(1, 2)
    with torch.no_grad():
        layer.log_decay.fill_(math.log(math.log(2)))
        layer.log_phase.fill_(math.log(math.pi / 2))
        layer.log_gamma.fill_(math.log(math.sqrt(3) / 2))
        layer.B.copy_(torch.tensor([[[1.0, 0.0]]]))
        layer.C.copy_(torch.tensor([[[[2.0, 0.0]]]]))
        layer.D.fill_(0.25)
    response = layer(torch.eye(5)[:1, None])[0, 0] / math.sqrt(3)
    expected = [1 + 0.25 / math.sqrt(3), 0, -0.25, 0, 1 / 16]
    assert response.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 7}, "state_size=7; required: an even number"),
        ({"state_size": 0}, "state_size=0"),
        ({"ring": (0.9, 0.5)}, "ring="),
        ({"ring": (0.5, 1.5)}, "ring="),
        ({"ring": (-0.1, 0.5)}, "ring="),
        ({"ring": (0.5,)}, "ring="),
        ({"max_phase": 0.0}, "max_phase="),
        ({"max_phase": 7.0}, "max_phase="),
    ],
)
def test_what_is_refused(options: dict[str, Any], message):
    arguments: dict[str, Any] = {"channels": 2, "state_size": 8} | options
    with pytest.raises(InvalidArgumentError, match=message):
        LRU(**arguments)
