"""S5: its initial values by dense linear algebra, its outputs by the published recurrence."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from hydropress.errors import InvalidArgumentError
from hydropress.models.s5 import LARGEST_REAL_PART, S5, hippo_normal


def dense_normal(size):
    """HiPPO-LegS plus the rank one that makes it normal."""
    n = np.arange(size)
    A = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1)
    return A + np.sqrt(np.outer(n + 0.5, n + 0.5))


@pytest.mark.parametrize("size", [2, 8, 32])
def test_poles_and_vectors_diagonalise_hippo_n(size):
    poles, vectors = (part.numpy() for part in hippo_normal(size))
    A = dense_normal(size)
    assert (poles.imag > 0).all()
    np.testing.assert_allclose(A @ vectors, vectors * poles, atol=1e-9 * size)
    np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(size // 2), atol=1e-12 * size)
    # With the conjugates they are all of A.
    rebuilt = 2 * (vectors * poles @ vectors.conj().T).real
    np.testing.assert_allclose(rebuilt, A, atol=1e-9 * size)


def test_a_block_of_two_states_by_hand():
    # HiPPO-LegS is [[-1, 0], [-√3, -2]], the rank one [[1/2, √3/2], [√3/2, 3/2]]: together
    # -1/2 on the diagonal, √3/2 above and -√3/2 below it; (1, i) belongs to -1/2 + i √3/2.
    poles, vectors = hippo_normal(2)
    assert poles.tolist() == pytest.approx([-0.5 + 1j * math.sqrt(3) / 2])
    assert vectors.abs().flatten().tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert (vectors[1] / vectors[0]).item() == pytest.approx(1j)


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_it_starts_with_blocks_of_hippo_n(blocks):
    layer = S5(3, 16, blocks=blocks)
    expected = np.linalg.eigvals(dense_normal(16 // blocks))
    expected = np.tile(np.sort(expected.imag[expected.imag > 0]), blocks)
    np.testing.assert_allclose(layer.frequency.detach(), expected, rtol=1e-5)
    np.testing.assert_allclose(layer.real_part.detach(), -0.5, rtol=1e-6)
    step = layer.log_step.detach().double().exp()
    exponents = layer.system().exponents[0]
    torch.testing.assert_close(exponents.real, -0.5 * step, rtol=1e-6, atol=0)
    assert layer.system().order.tolist() == [16]
    assert len(set(step.tolist())) == 8  # a step for each state


def test_inputs_and_outputs_are_drawn_in_the_basis_of_the_blocks():
    # V^H B₀ with real B₀: the other half is the conjugate, so V B + conj = B₀, real; of variance
    # 1 / P and within two deviations of the uncut variable.
    torch.manual_seed(0)
    states, width, blocks = 16, 400, 2
    layer = S5(width, states, blocks=blocks)
    _, vectors = hippo_normal(states // blocks)
    B = torch.view_as_complex(layer.B.detach().double()).reshape(blocks, -1, width)
    drawn = 2 * (vectors @ B).real
    assert drawn.std().item() == pytest.approx(1 / 4, rel=0.03)
    assert drawn.abs().max() < 2 / 4 / 0.8796 + 1e-6
    # C₀ V has entries of the variance of C₀, twice 1 / P, since V is orthonormal.
    C = torch.view_as_complex(layer.C.detach().double())
    assert C.shape == (1, width, states // 2)
    assert C.abs().square().mean().item() == pytest.approx(2 / states, rel=0.05)
    assert layer.D.detach().std().item() == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("discretization", ["zoh", "bilinear"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_outputs_are_those_of_the_published_recurrence(discretization, bidirectional):
    layer = S5(3, 8, blocks=2, discretization=discretization, bidirectional=bidirectional).double()
    values = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    poles = values["real_part"] + 1j * values["frequency"]
    step = np.exp(values["log_step"])
    B, C = (values[name][..., 0] + 1j * values[name][..., 1] for name in "BC")
    if discretization == "zoh":
        discrete = np.exp(poles * step)
        gain = (discrete - 1) / poles
    else:
        discrete = (1 + poles * step / 2) / (1 - poles * step / 2)
        gain = step / (1 - poles * step / 2)

    def states(signal):
        state, found = np.zeros(len(poles), dtype=complex), []
        for sample in signal.T:
            state = discrete * state + gain * (B @ sample)
            found.append(state)
        return np.stack(found, -1)

    signal = torch.randn(3, 60, dtype=torch.float64)
    u = signal.numpy()
    expected = 2 * (C[0] @ states(u)).real + values["D"][:, None] * u
    if bidirectional:
        # The present sample counts in both directions.
        expected += 2 * (C[1] @ states(u[:, ::-1])[:, ::-1]).real
    np.testing.assert_allclose(layer(signal).detach(), expected, rtol=0, atol=1e-11)


def test_growing_poles_are_clipped():
    layer = S5(2, 4, step_range=(0.5, 0.5))
    with torch.no_grad():
        layer.real_part.copy_(torch.tensor([3.0, -2.0]))
    system = layer.system()
    system.require_stable()
    assert system.exponents.real[0].tolist() == pytest.approx([LARGEST_REAL_PART / 2, -1.0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"state_size": 6, "blocks": 2}, "6 with 2 blocks; required: a multiple of twice"),
        ({"state_size": 7}, "multiple of twice"),
        ({"state_size": 0}, "state_size=0"),
        ({"blocks": 0}, "blocks=0"),
        ({"discretization": "euler"}, "'euler'; required: one of zoh, bilinear"),
        ({"step_range": (0.1, 0.01)}, "step_range="),
    ],
)
def test_what_is_refused(options: dict[str, Any], message):
    arguments: dict[str, Any] = {"channels": 2, "state_size": 8} | options
    with pytest.raises(InvalidArgumentError, match=message):
        S5(**arguments)
