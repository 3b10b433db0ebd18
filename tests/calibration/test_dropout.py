"""Dropout that acts while inputs are captured: on what, for whom, and what it is good for."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hydropress.calibration.dropout import acting_dropout, dropouts, drops
from hydropress.calibration.fit import CalibratedSettings
from hydropress.compression.model import compress
from tiny import tiny_model


class DropoutNd(nn.Module):
    """Somebody's own."""

    def forward(self, signal: Tensor) -> Tensor:
        return signal * torch.bernoulli(torch.full_like(signal, 0.5)) if self.training else signal


class Functional(nn.Module):
    """Drops by a function, as networks written out by hand do."""

    def __init__(self, p: float, function: Callable[..., Tensor] = functional.dropout) -> None:
        super().__init__()
        self.probability, self.function = p, function

    def forward(self, signal: Tensor) -> Tensor:
        return self.function(signal, self.probability, self.training)


class DropoutAndNorm(nn.Sequential):
    """Holds more than dropout."""


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3, 8),
        DropoutAndNorm(nn.Dropout(0.5), nn.BatchNorm1d(8)),
        DropoutNd(),
        nn.Dropout1d(0.5),
        nn.Dropout(0.0),
    ).eval()


def sequences(count: int = 24, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + 0.2 * torch.randn(count, 48, 1, generator=generator).cumsum(1)


def test_dropout_of_all_kinds_is_found_if_it_drops_something_and_nothing_else():
    found = dropouts(network())
    assert [type(module) for module in found] == [nn.Dropout, DropoutNd, nn.Dropout1d]


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Dropout(0.5), True),
        (nn.Dropout(0.0), False),
        (DropoutNd(), True),
        (Functional(0.5), True),
        (Functional(0.0), False),
        (Functional(0.5, torch.dropout), True),
        (Functional(0.0, torch.dropout), False),
        (nn.BatchNorm1d(8), False),
    ],
)
def test_it_is_known_whether_a_model_drops_anything(module, expected):
    torch.manual_seed(7)
    expected_numbers = torch.rand(4)
    torch.manual_seed(7)
    assert drops(nn.Sequential(module).eval(), torch.ones(2, 8)) == expected
    assert torch.equal(torch.rand(4), expected_numbers)


@pytest.mark.parametrize(
    "function",
    [
        functional.dropout,
        functional.dropout1d,
        functional.alpha_dropout,
        functional.feature_alpha_dropout,
        torch.dropout,
        torch.feature_dropout,
        torch.alpha_dropout,
        torch.feature_alpha_dropout,
        lambda signal, p, training: torch.dropout(signal, train=training, p=p),
        lambda signal, p, training: torch.dropout_(signal.clone(), p, training),
        lambda signal, p, training: functional.dropout(signal, p=p, training=training),
        lambda signal, p, training: functional.dropout(signal.clone(), p, training, True),
    ],
)
def test_a_function_drops_within_what_it_drops_in_training(function):
    model, signal = nn.Sequential(Functional(0.5, function)).eval(), torch.randn(5, 8, 3)
    torch.manual_seed(3)
    expected = model.train()(signal)
    with acting_dropout(model.eval(), 3):
        found = model(signal)
    assert torch.equal(found, expected)
    assert torch.equal(model(signal), signal)


def test_only_dropout_acts_and_only_within():
    model, signal = network(), torch.randn(5, 3)
    norm = model.get_submodule("1.1")
    statistics = norm.get_buffer("running_mean").clone()
    quiet = model(signal)
    with acting_dropout(model, 0):
        assert not torch.equal(model(signal), quiet)
        assert not model.training
        assert not norm.training
    assert torch.equal(model(signal), quiet)
    assert torch.equal(norm.get_buffer("running_mean"), statistics)


def test_modes_return_after_an_error_each_as_it_was():
    model = network()
    model[2].train()
    with pytest.raises(RuntimeError), acting_dropout(model, 0):
        raise RuntimeError
    assert [module.training for module in dropouts(model)] == [False, True, False]


def test_the_same_entries_are_dropped_and_the_callers_random_numbers_left_alone():
    model, other, signal = network(), network(), torch.randn(5, 3)
    other.load_state_dict(model.state_dict())
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    found = []
    for one in (model, other):
        with acting_dropout(one, 0):
            found.append(one(signal))
    assert torch.equal(*found)
    assert torch.equal(torch.rand(4), expected)


FEW = CalibratedSettings(search_iterations=3)


def network_of_lru(dropout: float = 0.2) -> nn.Module:
    return tiny_model(2, layer="lru", channels=8, state_size=16, num_layers=3, dropout=dropout)


def deviation(model: nn.Module, wanted: Tensor, inputs: Tensor, draws: int = 0) -> float:
    """Return the mean squared deviation of the logits over their variance, in training mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        found = torch.stack([model.train()(inputs) for _ in range(draws)] or [model.eval()(inputs)])
    model.eval()
    return float((found - wanted).square().mean() / wanted.var(0).mean())


def test_a_layer_of_shared_states_calibrated_with_dropout_is_not_thrown_off_by_it():
    original, inputs = network_of_lru(), sequences(64, 99)
    with torch.no_grad():
        wanted = original(inputs)
    with_dropout, without = (
        compress(
            original,
            order=2,
            allocation="uniform",
            calibration=sequences(),
            settings=replace(FEW, dropout=dropout),
        ).model
        for dropout in (True, False)
    )
    assert deviation(with_dropout, wanted, inputs, 10) < deviation(without, wanted, inputs, 10) / 2
    # Without dropout, as the model is used, both are close.
    assert deviation(with_dropout, wanted, inputs) < 0.01
    assert deviation(without, wanted, inputs) < 0.01


@pytest.mark.parametrize(("method", "dropout"), [("balanced", 0.2), ("h2", 0.0)])
def test_where_nothing_is_fitted_or_dropped_the_setting_changes_nothing(method, dropout):
    first, second = (
        compress(
            tiny_model(2, dropout=dropout),
            order=2,
            method=method,
            allocation="uniform",
            calibration=sequences(),
            settings=replace(FEW, dropout=setting),
        ).model.state_dict()
        for setting in (True, False)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_calibration_with_dropout_is_the_same_each_time_and_leaves_random_numbers_alone():
    original, found = tiny_model(dropout=0.3), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        result = compress(original, order=2, allocation="uniform", calibration=sequences())
        drawn = torch.rand(3)
        torch.manual_seed(seed)
        assert torch.equal(torch.rand(3), drawn)
        found.append(result.model.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_network_that_drops_by_a_function_is_compressed_as_one_that_drops_by_a_module():
    by_module = tiny_model(2, dropout=0.3)
    by_function = tiny_model(2, dropout=0.3)
    for block in by_function.get_submodule("blocks").children():
        block.dropout = Functional(0.3, functional.dropout1d)
    first, second = (
        compress(model, order=2, allocation="uniform", calibration=sequences(), settings=FEW).model
        for model in (by_module, by_function)
    )
    found = second.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in first.state_dict().items())
