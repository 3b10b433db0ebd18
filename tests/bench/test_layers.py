"""S5 and LRU layers are what their papers draw."""

import math

import numpy as np
import pytest
import torch

from hydropress.bench.layers import MAX_PHASE, RING, lru_layer, s5_layer
from hydropress.models.s5 import hippo_normal


@pytest.mark.parametrize("size", [2, 4, 16])
def test_the_vectors_are_those_of_the_normal_hippo_matrix(size):
    n = np.arange(size)
    P = np.sqrt(n + 0.5)
    legs = -np.sqrt(np.outer(2 * n + 1, 2 * n + 1)) * np.tri(size, k=-1) - np.diag(n + 1.0)
    normal = legs + np.outer(P, P)
    poles, vectors = (part.numpy() for part in hippo_normal(size))
    np.testing.assert_allclose(normal @ vectors, vectors * poles, atol=1e-12)
    np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(size // 2), atol=1e-12)


def test_s5_keeps_the_response_to_a_constant_when_it_is_sampled():
    discrete, continuous = (s5_layer(16, 3, 7, time) for time in ("discrete", "continuous"))
    torch.testing.assert_close(discrete.exponents, continuous.exponents)
    constant = discrete.transfer_function(torch.ones(1))
    held = continuous.transfer_function(torch.zeros(1))
    torch.testing.assert_close(constant, held, rtol=1e-10, atol=1e-12)
    assert int(discrete.order) == 16


def test_lru_lies_on_its_ring_and_its_states_have_unit_variance():
    width = 64
    layer = lru_layer(400, width, seed=0)
    modulus, phase = layer.poles.abs(), layer.exponents.imag
    assert RING[0] <= float(modulus.min()) < float(modulus.max()) <= RING[1]
    assert 0 <= float(phase.min()) < float(phase.max()) <= MAX_PHASE
    # x = λ x + B u with white u: variance Σ_t |λ|^{2t} ‖b‖², which is 1 on average.
    variance = layer.B.abs().square().sum(-1) / (1 - modulus**2)
    assert float(variance.mean()) == pytest.approx(1.0, abs=4 / math.sqrt(200 * width))


def test_lru_answers_as_its_recurrence():
    layer = lru_layer(8, 2, seed=3)
    # y_t = Re C' x_t with the paper's C' = 2 C, x_0 = B u_0.
    state = layer.B[0].numpy().astype(complex)
    kernel = []
    for _ in range(20):
        kernel.append((2 * layer.C[0].numpy() @ state).real)
        state = layer.poles[0].numpy()[:, None] * state
    actual = layer.impulse_response(20)[0].numpy()
    np.testing.assert_allclose(actual, np.moveaxis(np.array(kernel), 0, -1), atol=1e-12)


def test_a_layer_that_reads_both_ways_has_the_outputs_of_both():
    one, both = (s5_layer(8, 3, 7, "discrete", directions=count) for count in (1, 2))
    torch.testing.assert_close(both.exponents, one.exponents)
    torch.testing.assert_close(both.B, one.B)
    assert both.C.shape[-2] == 6
    torch.testing.assert_close(both.C[:, :3], one.C)
    # Two independent draws: neither direction is the other's copy.
    assert float((both.C[:, :3] - both.C[:, 3:]).abs().min()) > 0
