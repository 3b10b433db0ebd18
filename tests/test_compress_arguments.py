"""What is given to the public functions and cannot be: refused in the library's words."""

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import hydropress
from hydropress.compression.model import compress, compress_path
from hydropress.errors import FileFormatError, InvalidArgumentError
from hydropress.models.adapters import registry as adapters
from hydropress.models.adapters.own import OwnLayers
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.s4d import S4D
from hydropress.reduction import registry as methods
from hydropress.systems.modal import ModalSystem
from test_compress import model, same_parameters, sequences
from tiny import tiny_model

FAST: Any = {"method": "balanced", "allocation": "uniform"}


def refused(**arguments: Any) -> str:
    chosen: Any = {"method": "balanced", **arguments}
    with pytest.raises(InvalidArgumentError, match="required: ") as caught:
        compress(model(), **chosen)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_calibration_may_be_an_array(dtype):
    data = sequences(16)
    array = data.numpy().astype(dtype)
    found, wanted = (
        compress(model(), order=2, calibration=one, **FAST).model for one in (array, data)
    )
    assert same_parameters(found, wanted)
    assert array.dtype == dtype


@pytest.mark.parametrize("kinds", [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_calibration_is_brought_to_the_models_precision(kinds):
    network, data = tiny_model().to(kinds[0]), sequences(16)
    found = compress(network, order=2, calibration=data.to(kinds[1]))
    wanted = compress(network, order=2, calibration=data.to(kinds[0]))
    signal = sequences(2).to(kinds[0])
    assert torch.equal(found.model(signal), wanted.model(signal))


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        (sequences(8).tolist(), "list"),
        ((sequences(8), torch.zeros(8)), "tuple"),
        (DataLoader(sequences(8)), "DataLoader"),  # type: ignore[arg-type]
        (np.array([["a", "b"]] * 8), "array"),
        (sequences(8)[:, :0], "(8, 0, 1)"),
        (sequences(8)[:0], "(0, 40, 1)"),
        (sequences(8).log() * torch.nan, "NaN"),
        (sequences(8) + 0j, "complex"),
        (sequences(8).numpy() * np.inf, "infinity"),
    ],
)
def test_calibration_of_other_kinds_is_refused(calibration, words):
    assert words in refused(order=2, calibration=calibration)
    with pytest.raises(InvalidArgumentError, match="required: "):
        compress_path(model(), [2], calibration=calibration)


@pytest.mark.parametrize(
    "arguments",
    [
        {"ratio": "0.5"},
        {"ratio": None, "order": "2"},
        {"order": 2.5},
        {"tolerance": "1%"},
        {"plan": "plan.json"},
        {"plan": {}},
    ],
)
def test_targets_of_other_types_are_refused(arguments):
    given = repr(next(value for value in arguments.values() if value is not None))
    assert given in refused(**arguments)


@pytest.mark.parametrize("allocation", ["global", "uniform"])
def test_a_ratio_may_be_a_fraction(allocation):
    found, wanted = (
        compress(model(), ratio=ratio, method="balanced", allocation=allocation)
        for ratio in (Fraction(1, 4), 0.25)
    )
    assert found.plan.layers == wanted.plan.layers


@pytest.mark.parametrize("orders", [["2"], [2.5]])
def test_paths_of_other_orders_are_refused(orders):
    with pytest.raises(InvalidArgumentError, match="required: "):
        compress_path(model(), orders, method="balanced")


class Smoother(nn.Module):
    """One decaying mode a channel."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.linspace(-1, 2, 2 * channels).reshape(channels, 2))


class SmootherAdapter(OwnLayers):
    """Right for smoothers, but for what a test makes wrong."""

    name = "smoother"

    def find(self, model: nn.Module) -> list[str]:
        return [name for name, one in model.named_modules() if isinstance(one, Smoother)]

    def read(self, module: nn.Module) -> Any:
        return LinearPart(bank(module))


def bank(module: Any) -> ModalSystem:
    poles = module.logit.detach().double().sigmoid()[None]
    return ModalSystem.siso(poles, torch.ones_like(poles))


def without_axis(module: Any) -> LinearPart:
    return LinearPart(bank(module)[0])


def with_three_directions(module: Any) -> LinearPart:
    poles = module.logit.detach().double().sigmoid().expand(3, -1, -1)
    return LinearPart(ModalSystem.siso(poles, torch.ones_like(poles)))


def in_continuous_time(module: Any) -> LinearPart:
    poles = -module.logit.detach().double().sigmoid()[None]
    return LinearPart(ModalSystem.siso(poles, torch.ones_like(poles), time="continuous"))


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "_ADAPTERS", dict(adapters._ADAPTERS))
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))


@pytest.mark.usefixtures("own_registry")
def test_an_adapter_is_an_instance():
    with pytest.raises(InvalidArgumentError, match=r"required.*SmootherAdapter\(\)"):
        hydropress.register_adapter(SmootherAdapter)
    assert "smoother" not in adapters.adapter_names()
    hydropress.register_adapter(SmootherAdapter())
    assert compress(nn.Sequential(Smoother()), order=1, method="balanced").order == 1


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize(
    ("member", "wrong", "words"),
    [
        ("read", without_axis, "(3,)"),
        ("read", with_three_directions, "(3, 3)"),
        ("read", in_continuous_time, "continuous"),
        ("read", bank, "SISOSystem"),
        ("read", lambda _: None, "None"),
        ("read", lambda one: LinearPart(bank(one), bias=torch.zeros(2)), "bias"),
        ("read", lambda one: LinearPart(bank(one), step=torch.ones(2)), "step"),
        ("write", lambda _module, _layer: None, "None"),
        ("find", lambda _: ["elsewhere"], "elsewhere"),
    ],
)
def test_what_an_adapter_returns_is_checked(member, wrong, words):
    adapter = SmootherAdapter()
    setattr(adapter, member, wrong)
    hydropress.register_adapter(adapter)
    with pytest.raises(InvalidArgumentError, match="required: ") as caught:
        compress(nn.Sequential(Smoother()), order=1, method="balanced")
    assert words in str(caught.value)
    assert "smoother" in str(caught.value)


class HalfRead(OwnLayers):
    """Reads half the channels."""

    name = "half-read"

    def read(self, module: nn.Module) -> LinearPart:
        part = super().read(module)
        return LinearPart(part.system[:, :2])


@pytest.mark.usefixtures("own_registry")
def test_channels_that_an_adapter_has_not_read_are_missed():
    hydropress.register_adapter(HalfRead())
    with pytest.raises(InvalidArgumentError, match=r"4 channels.*half-read.*2.*required"):
        compress(tiny_model(), order=2, method="balanced", calibration=sequences(8))


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("returned", [[], None])
def test_a_method_returns_an_outcome_an_order(returned):
    hydropress.register_method("mine", lambda _: returned)
    with pytest.raises(InvalidArgumentError, match="'mine'.*required"):
        compress(model(), order=2, method="mine")


class Foreign(nn.Module):
    """Somebody's own network."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, signal: Tensor) -> Tensor:
        return self.layer(signal.mT).mean(-1)


def test_only_classifiers_are_saved_without_their_compression(tmp_path: Path):
    for wrong in (Foreign(S4D(2, 4)), SimpleNamespace(), None):
        with pytest.raises(InvalidArgumentError, match="required.*compress"):
            hydropress.save(wrong, tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("own_registry")
def test_a_saved_layer_is_not_written_into_one_of_another_family(tmp_path: Path):
    hydropress.register_adapter(SmootherAdapter())
    compress(Foreign(Smoother()), order=1, method="balanced").save(tmp_path)
    with pytest.raises(FileFormatError, match="smoother.*S4D.*required"):
        hydropress.load(tmp_path, Foreign(S4D(3, 4)))
    assert isinstance(hydropress.load(tmp_path, Foreign(Smoother())), Foreign)


def test_pairs_of_sequences_are_calibrated_as_all_their_sequences():
    network = tiny_model(pairs=True)
    data = sequences(32).unflatten(0, (16, 2))
    for allocation in ("global", "uniform"):
        result = compress(
            network, order=2, method="balanced", calibration=data, allocation=allocation
        )
        assert result.plan.mean_order == pytest.approx(2, abs=0.2)
        assert result.model(data).shape == network(data).shape


@pytest.mark.parametrize("frozen", [[], ["layer.logit"]])
@pytest.mark.usefixtures("own_registry")
def test_a_layer_is_as_trainable_as_the_one_it_replaces(frozen, tmp_path: Path):
    hydropress.register_adapter(SmootherAdapter())
    network = Foreign(Smoother())
    for name in frozen:
        network.get_parameter(name).requires_grad_(False)
    result = compress(network, order=1, method="balanced")
    result.save(tmp_path)
    for made in (result.model, hydropress.load(tmp_path, network)):
        assert {one.requires_grad for one in made.parameters()} == {not frozen}
