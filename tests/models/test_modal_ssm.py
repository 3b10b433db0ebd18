"""The layer of ragged orders: what it holds, what it realises, and how it trains."""

import math

import pytest
import torch

from hydropress.errors import InvalidArgumentError, UnstableSystemError
from hydropress.models.modal_ssm import ModalSSM
from hydropress.models.s4d import S4D
from hydropress.systems.modal import ModalSystem
from hydropress.systems.norms import relative_h2_error
from strategies import bank, build, s4d_bank, seeded_bank
from tolerances import ROUNDED_PARAMETERS

ROWS = [
    build([-1.0], [0.0], [0], feedthrough=0.3),  # order 0
    build([-0.05 + 1j * math.pi], [1.0], [1]),  # order 1, alternating
    build([-0.3, -2e-3 + 0.02j], [0.5, 0.1 - 0.2j], [1, 2]),  # order 3
    build([-0.02 + 2j, -0.1, -0.2 + 1j * math.pi], [0.4j, 2.0, -1.0], [2, 1, 1]),  # order 4
    build([-0.1 + 0.5j, -0.3 + 3j], [1.0, 1 + 1j], [2, 2], feedthrough=2.0),  # order 4
]
PAIRS, REALS, CHANNELS = 4, 4, len(ROWS)


def ragged_system():
    return bank(ROWS).reshape(1, CHANNELS)


def test_it_realises_the_system():
    system = ragged_system()
    kernel = ModalSSM.from_system(system).kernel(1000).detach()
    expected = system.impulse_response(1000)
    scale = expected.abs().amax(-1, keepdim=True)
    assert kernel.shape == (1, CHANNELS, 1000)
    assert ((kernel - expected).abs() <= ROUNDED_PARAMETERS * scale).all()
    assert not kernel[0, 0].any()


@pytest.mark.parametrize("step", [None, 1e-3, 0.1])
def test_system_gives_back_what_from_system_took(step):
    system = ragged_system()
    steps = None if step is None else torch.full((CHANNELS,), step)
    again = ModalSSM.from_system(system, step=steps).system()
    assert again.order.tolist() == [[0, 1, 3, 4, 4]]
    assert (relative_h2_error(system, again) < ROUNDED_PARAMETERS).all()
    torch.testing.assert_close(again.D, system.D, rtol=1e-7, atol=0)


def test_an_s4d_layer_survives_the_change_of_kind():
    layer = S4D(6, 16)
    steps = layer.log_step.exp()
    again = ModalSSM.from_system(layer.system(), step=steps)
    torch.testing.assert_close(again.kernel(500), layer.kernel(500), rtol=0, atol=1e-5)
    # In its step's units the parameters are those of the original.
    torch.testing.assert_close(again.pair_log_decay.reshape(6, 8), layer.log_decay)
    torch.testing.assert_close(
        again.pair_frequency.reshape(6, 8), layer.frequency, rtol=1e-5, atol=0
    )
    torch.testing.assert_close(again.pair_C.reshape(6, 8, 2), layer.C[0], rtol=1e-4, atol=1e-5)


def test_nothing_is_padded():
    layer = ModalSSM.from_system(ragged_system())
    count = sum(parameter.numel() for parameter in layer.parameters())
    # Four numbers a pair, two a real pole, D and bias a channel.
    assert count == 4 * PAIRS + 2 * REALS + 2 * CHANNELS
    assert layer.initial_state(1).shape == (1, 2 * PAIRS + REALS)
    stored = sum(tensor.numel() for tensor in layer.state_dict().values())
    assert stored == count + PAIRS + 2 * REALS + CHANNELS  # rows, signs, steps


def test_without_any_states_it_is_its_feedthrough():
    nothing = ModalSystem.siso(torch.zeros(1, 3, 0), torch.zeros(1, 3, 0), [[1.0, 2.0, -1.0]])
    layer = ModalSSM.from_system(nothing, bias=torch.tensor([0.0, 0.0, 5.0]))
    assert sum(parameter.numel() for parameter in layer.parameters()) == 6
    signal = torch.randn(2, 3, 10)
    expected = torch.tensor([1.0, 2.0, -1.0])[:, None] * signal
    expected[:, 2] += 5
    torch.testing.assert_close(layer(signal), expected)
    output, state = layer.step(signal[..., 4], layer.initial_state(2))
    torch.testing.assert_close(output, expected[..., 4])
    assert state.shape == (2, 0)
    assert layer.system().order.tolist() == [[0, 0, 0]]


def test_both_directions_and_their_feedthrough():
    system = seeded_bank((2, 3), 1, 1, seed=4)
    layer = ModalSSM.from_system(system)
    assert layer.bidirectional
    torch.testing.assert_close(layer.D.detach().double(), system.D.sum(0), rtol=1e-6, atol=1e-6)
    again = layer.system()
    assert (relative_h2_error(system, again) < ROUNDED_PARAMETERS).all()


def test_fine_tuning_learns_and_stays_stable():
    # A rate far too high, so that parameters move by more than their size.
    full = s4d_bank(CHANNELS, 16).impulse_response(64).float()
    layer = ModalSSM.from_system(ragged_system())
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.3)
    losses = []
    for _ in range(30):
        loss = (layer.kernel(64)[0] - full).square().mean()
        optimizer.zero_grad()
        loss.backward()
        for name in ("pair_log_decay", "pair_frequency", "pair_C", "real_log_decay", "real_C"):
            gradient = layer.get_parameter(name).grad
            assert gradient is not None
            assert torch.isfinite(gradient).all(), name
        optimizer.step()
        layer.system().require_stable()
        losses.append(loss.item())
    assert min(losses) < 0.7 * losses[0]
    assert layer.system().order.tolist() == [[0, 1, 3, 4, 4]]


def test_double_precision_holds_what_it_was_given():
    layer = ModalSSM.from_system(ragged_system()).double()
    kernel = layer.kernel(500)
    assert kernel.dtype == torch.float64
    expected = layer.system().impulse_response(500)
    torch.testing.assert_close(kernel.detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: build([0.1 + 1j], [1.0], [2]).reshape(1, 1),
            UnstableSystemError,
            "does not decay",
        ),
        (lambda: build([0.0], [1.0], [1]).reshape(1, 1), UnstableSystemError, "does not decay"),
        (
            lambda: build([-1.0], [1.0], [1], time="continuous").reshape(1, 1),
            InvalidArgumentError,
            "continuous-time",
        ),
        (lambda: bank(ROWS), InvalidArgumentError, r"batch shape \(5,\)"),
        (lambda: seeded_bank((3, 2), 1), InvalidArgumentError, r"batch shape \(3, 2\)"),
    ],
)
def test_systems_that_no_layer_realises_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        ModalSSM.from_system(make())


@pytest.mark.parametrize(
    "options",
    [
        {"step": torch.ones(CHANNELS + 1)},
        {"step": torch.zeros(CHANNELS)},
        {"step": -torch.ones(CHANNELS)},
        {"step": torch.full((CHANNELS,), math.nan)},
        {"bias": torch.ones(CHANNELS + 1)},
    ],
)
def test_steps_and_biases_that_do_not_fit_are_refused(options):
    (name,) = options
    with pytest.raises(InvalidArgumentError, match=name):
        ModalSSM.from_system(ragged_system(), **options)
