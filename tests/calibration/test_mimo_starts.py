"""Starts of fits of layers of several inputs and outputs."""

import numpy as np
import pytest
import torch

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.mimo_signals import MIMOSignals, respond
from hydropress.calibration.mimo_starts import mimo_starts, observed_balancing
from hydropress.systems.modal import MIMOSystem
from mimo_layers import layer, noise

COUNT = 20
SETTINGS = CalibratedSettings(search_iterations=1)


def signals_of(full: MIMOSystem) -> MIMOSignals:
    inputs = noise(COUNT, 3, 60, mean=2.0)
    return MIMOSignals.of(full, inputs, inputs)


def test_observed_coordinates_have_the_covariance_of_the_data():
    """Balanced: the states' measured covariance and the observability Gramian are both Σ."""
    full = layer(3, 4)
    signals = signals_of(full)
    balancing = observed_balancing(full, signals, 0)
    order = 8
    sigma = balancing.hankel_singular_values[0]
    whole = balancing.truncate(order)
    np.testing.assert_allclose(
        respond(whole, (0,), signals.inputs), respond(full, (0,), signals.inputs), atol=1e-8
    )
    A, B, C, _ = balancing._balanced(order)
    state = np.zeros((COUNT, order))
    samples = []
    for t in range(signals.inputs.shape[-1]):
        state = state @ A[0].numpy().T + signals.inputs[..., t].numpy() @ B[0].numpy().T
        samples.append(state)
    measured = np.cov(np.stack(samples).reshape(-1, order).T, bias=True)
    np.testing.assert_allclose(measured, np.diag(sigma[:order]), atol=1e-8 * float(sigma[0]))
    gramian, power = np.zeros((order, order)), C[0].numpy()
    for _ in range(4000):
        gramian += power.T @ power
        power = power @ A[0].numpy()
    np.testing.assert_allclose(gramian, np.diag(sigma[:order]), atol=1e-8 * float(sigma[0]))


@pytest.mark.parametrize("order", [1, 3, 4])
def test_truncations_of_observed_coordinates_are_stable(order):
    for seed in range(20):
        full = layer(3, 3, 2, seed=seed)
        small = observed_balancing(full, signals_of(full), 0).truncate(order)
        assert small.order.tolist() == [order]
        assert float(small.decay.min()) > 1e-6


def test_every_direction_has_every_start_at_every_order():
    full = layer(3, 3, directions=2)
    starts = mimo_starts(full, (2, 6), signals_of(full), SETTINGS)
    assert list(starts) == [2, 6]
    for direction, (small, whole) in enumerate(zip(starts[2], starts[6], strict=True)):
        assert list(small) == list(whole) == ["observed", "weighted", "unweighted", "balanced"]
        assert all(int(one.order) == 2 for one in small.values())
        assert all(torch.equal(one.C, full.C[direction]) for one in whole.values())


def test_a_spectrum_needs_as_many_sequences_as_inputs():
    full = layer(3, 3)
    few = signals_of(full).first(2)
    assert "weighted" not in mimo_starts(full, (2,), few, SETTINGS)[2][0]


def test_inputs_that_are_silent_are_no_trouble():
    full = layer(3, 3)
    silent = torch.zeros(COUNT, 3, 60)
    starts = mimo_starts(full, (2,), MIMOSignals.of(full, silent, silent), SETTINGS)[2][0]
    assert {"observed", "balanced"} <= set(starts)
    assert all(
        bool(torch.isfinite(respond(one.reshape(1), (0,), silent)).all()) for one in starts.values()
    )
