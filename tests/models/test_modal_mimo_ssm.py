"""The MIMO layer of given modes: what it holds, what it realises, and how it trains."""

import math
from dataclasses import replace

import pytest
import torch

from hydropress.errors import InvalidArgumentError, UnstableSystemError
from hydropress.models.lru import LRU
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.models.s5 import S5
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import MIMOSystem, ModalSystem
from hydropress.systems.norms import relative_h2_error
from strategies import seeded_mimo
from tolerances import ROUNDED_PARAMETERS

CHANNELS, PAIRS, REALS = 3, 3, 2


def system(directions=1, seed=0) -> MIMOSystem:
    made = seeded_mimo((directions,), CHANNELS, CHANNELS, PAIRS, REALS, seed=seed)
    exponents = made.exponents.clone()
    exponents[0, -1] += 1j * math.pi  # alternating
    return replace(made, exponents=exponents)


@pytest.mark.parametrize("step", [None, 1e-3, 0.1])
@pytest.mark.parametrize("directions", [1, 2])
def test_system_gives_back_what_from_system_took(step, directions):
    given = system(directions)
    steps = None if step is None else torch.full((directions,), step)
    again = ModalMIMOSSM.from_system(given, step=steps).system()
    assert again.order.tolist() == [2 * PAIRS + REALS] * directions
    assert (relative_h2_error(given, again) < ROUNDED_PARAMETERS).all()
    torch.testing.assert_close(again.D[0], given.D.sum(0), rtol=1e-6, atol=1e-6)
    assert not again.D[1:].any()
    expected, found = given.impulse_response(300), again.impulse_response(300)
    assert (found - expected).abs().max() <= ROUNDED_PARAMETERS * expected.abs().max()


def test_directions_may_differ_in_order_and_nothing_is_padded():
    given = system(2)
    states = given.states.clone()
    states[1] = torch.tensor([0, 2, 0, 0, 1])
    layer = ModalMIMOSSM.from_system(replace(given, states=states))
    assert (layer.pairs, layer.reals) == ((3, 1), (2, 1))
    count = sum(parameter.numel() for parameter in layer.parameters())
    assert count == 4 * (2 + 4 * CHANNELS) + 3 * (1 + 2 * CHANNELS) + CHANNELS**2 + CHANNELS
    assert layer.system().order.tolist() == [8, 3]
    expected = replace(given, states=states).impulse_response(100)
    found = layer.system().impulse_response(100)
    assert (found - expected).abs().max() <= ROUNDED_PARAMETERS * expected.abs().max()


@pytest.mark.parametrize(
    "make",
    [
        lambda: S5(CHANNELS, 8),
        lambda: S5(CHANNELS, 8, bidirectional=True),
        lambda: LRU(CHANNELS, 8),
        lambda: LRU(CHANNELS, 8, bidirectional=True),
    ],
)
def test_a_layer_survives_the_change_of_kind(make):
    layer = make()
    step = torch.full((layer.directions,), 0.01)
    again = ModalMIMOSSM.from_system(layer.system(), step=step)
    # Of two directions that count the present sample, D is a matrix.
    assert again.full_feedthrough == layer.bidirectional
    signal = torch.randn(2, CHANNELS, 200)
    expected = layer(signal)
    assert (again(signal) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_reduced_system_becomes_a_smaller_layer():
    full = S5(CHANNELS, 16)
    reduced = reduce(full.system(), 6, "balanced").system
    assert isinstance(reduced, MIMOSystem)
    layer = ModalMIMOSSM.from_system(reduced)
    assert layer.num_states == 6
    assert layer.initial_state(2).shape == (2, 6)
    expected, found = reduced.impulse_response(200), layer.system().impulse_response(200)
    assert (found - expected).abs().max() <= ROUNDED_PARAMETERS * expected.abs().max()


def test_inputs_and_outputs_share_the_size_of_a_mode():
    given = system()
    scaled = replace(given, B=1e6 * given.B, C=1e-6 * given.C)
    layer, other = (ModalMIMOSSM.from_system(one) for one in (given, scaled))
    for name, value in layer.named_parameters():
        torch.testing.assert_close(other.get_parameter(name), value, rtol=1e-5, atol=1e-6)
    for inner, outer in ((layer.pair_B, layer.pair_C), (layer.real_B, layer.real_C)):
        sizes = (part.flatten(1).norm(dim=-1) for part in (inner, outer))
        torch.testing.assert_close(*sizes)


def test_without_any_states_it_is_its_feedthrough():
    D = torch.tensor([[[1.0, 2.0], [0.0, -1.0]]])
    empty = ModalSystem.mimo(torch.zeros(1, 0), torch.zeros(1, 0, 2), torch.zeros(1, 2, 0), D)
    layer = ModalMIMOSSM.from_system(empty, bias=torch.tensor([0.0, 5.0]))
    signal = torch.randn(2, 2, 10)
    expected = D[0] @ signal + torch.tensor([0.0, 5.0])[:, None]
    torch.testing.assert_close(layer(signal), expected)
    output, state = layer.step(signal[..., 4], layer.initial_state(2))
    torch.testing.assert_close(output, expected[..., 4])
    assert state.shape == (2, 0)
    assert layer.system().order.tolist() == [0]


def test_fine_tuning_learns_and_stays_stable():
    # A rate far too high, so that parameters move by more than their size.
    torch.manual_seed(0)
    wanted, signal = S5(CHANNELS, 16), torch.randn(4, CHANNELS, 64)
    layer = ModalMIMOSSM.from_system(system())
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    losses = []
    with torch.no_grad():
        target = wanted(signal)
    for _ in range(40):
        loss = (layer(signal) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        layer.system().require_stable()
        losses.append(loss.item())
    assert min(losses) < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: replace(system(), exponents=system().exponents + 5),
            UnstableSystemError,
            "does not decay",
        ),
        (
            lambda: seeded_mimo((1,), 3, 3, 1, time="continuous"),
            InvalidArgumentError,
            "continuous-time",
        ),
        (lambda: seeded_mimo((), 3, 3, 1), InvalidArgumentError, r"batch shape \(\)"),
        (lambda: seeded_mimo((3,), 3, 3, 1), InvalidArgumentError, r"batch shape \(3,\)"),
        (lambda: seeded_mimo((1,), 3, 2, 1), InvalidArgumentError, "3 inputs and 2 outputs"),
        (lambda: replace(system(), delay=1), InvalidArgumentError, "delay 1"),
    ],
)
def test_systems_that_no_layer_realises_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        ModalMIMOSSM.from_system(make())


@pytest.mark.parametrize(
    "options",
    [
        {"step": torch.ones(3)},
        {"step": torch.zeros(1)},
        {"step": torch.full((1,), math.nan)},
        {"bias": torch.ones(CHANNELS + 1)},
    ],
)
def test_steps_and_biases_that_do_not_fit_are_refused(options):
    (name,) = options
    with pytest.raises(InvalidArgumentError, match=name):
        ModalMIMOSSM.from_system(system(), **options)


@pytest.mark.parametrize(
    ("pairs", "reals", "signs", "steps"),
    [
        ((), (), 0, 1),
        ((1,), (1, 1), 2, 1),
        ((1,), (1,), 2, 1),
        ((1,), (0,), 0, 2),
        ((-1,), (0,), 0, 1),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(pairs, reals, signs, steps):
    with pytest.raises(InvalidArgumentError, match="one or two directions"):
        ModalMIMOSSM(pairs, reals, torch.ones(signs), torch.ones(steps), channels=2)
