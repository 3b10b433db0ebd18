"""LRU layers of LRU-pytorch, run, and of lru-reduction, recorded (``record/lru_reduction.py``)."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adapter_oracles import FLOAT32, awkward_system, response, worst
from hydropress.compression.state_dict import compress_state_dict
from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.cores import ExtendedCore
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.registry import find_layers, get_adapter
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.reduction.reduce import reduce
from hydropress.systems.norms import relative_h2_error
from models.adapters.mimo_standins import LRU
from tolerances import ROUNDED_PARAMETERS

VECTORS = np.load(Path(__file__).parent / "vectors" / "lru_reduction.npz")
ADAPTER: Any = get_adapter("lru-pytorch")
CHANNELS, STATES, LENGTH = 3, 6, 40


def recorded(name: str) -> Tensor:
    return torch.from_numpy(VECTORS[name])


def lru_reduction() -> Any:
    layer = LRU(CHANNELS, CHANNELS, STATES)
    names = [name for name in VECTORS.files if name.startswith("layer/")]
    layer.load_state_dict({name.removeprefix("layer/"): recorded(name) for name in names})
    return layer


def lru_pytorch() -> Any:
    library = pytest.importorskip("LRU_pytorch", reason="LRU-pytorch is part of the test extra")
    torch.manual_seed(0)
    return library.LRU(CHANNELS, CHANNELS, STATES, rmin=0.5, rmax=0.99)


BOTH = pytest.mark.parametrize("make", [lru_pytorch, lru_reduction])


def signal() -> Tensor:
    return recorded("signal")


def layer_of(system, bias: Tensor | None = None) -> ModalMIMOSSM:
    layer = ModalMIMOSSM.from_system(system, bias=bias)
    if bias is None:
        layer.bias = None
    return layer


def test_the_stand_in_is_the_original():
    layer = lru_reduction()
    assert worst(layer(signal()), recorded("scan").double()) < FLOAT32
    assert worst(recorded("loop"), recorded("scan").double()) < FLOAT32
    from_state = layer(signal(), recorded("state"))
    assert worst(from_state, recorded("from_state").double()) < FLOAT32


@BOTH
def test_the_system_read_is_the_original(make):
    layer = make()
    part = ADAPTER.read(layer)
    assert part.system.batch_shape == (1,) and part.system.order.tolist() == [2 * STATES]
    for output, inputs in zip(layer(signal()), signal(), strict=True):
        assert worst(output, response(part, inputs)) < FLOAT32


@BOTH
def test_written_as_it_was_read_it_computes_the_same(make):
    layer = make()
    written = ADAPTER.write(layer, layer_of(ADAPTER.read(layer).system))
    assert type(written) is type(layer)
    assert worst(written(signal()), layer(signal()).double()) < FLOAT32


@BOTH
@pytest.mark.parametrize("biased", [False, True])
def test_a_reduced_layer_is_of_the_same_class_with_smaller_tensors(make, biased):
    layer = make()
    reduced = reduce(ADAPTER.read(layer).system, STATES, "balanced").system
    bias = torch.linspace(-1, 1, CHANNELS) if biased else None
    small = layer_of(reduced, bias)
    written = ADAPTER.write(layer, small)
    core = written.core if biased else written
    assert type(core) is type(layer) and isinstance(written, ExtendedCore) == biased
    states = sum(small.pairs) + sum(small.reals)
    assert STATES / 2 <= states < STATES
    counts = [
        sum(value.numel() for name, value in one.named_parameters() if name != "D")
        for one in (core, layer)
    ]
    assert counts[0] * STATES == counts[1] * states
    wanted = LinearPart(small.system(), bias)
    for output, inputs in zip(written(signal()), signal(), strict=True):
        assert worst(output, response(wanted, inputs)) < FLOAT32
    again = ADAPTER.read(written)
    assert relative_h2_error(reduced, again.system).max() < ROUNDED_PARAMETERS
    assert ADAPTER.find(nn.Sequential(written)) == ["0"]


@BOTH
@pytest.mark.parametrize("biased", [False, True])
def test_sizes_alone_say_what_a_written_layer_is(make, biased):
    layer = make()
    bias = torch.ones(CHANNELS) if biased else None
    small = layer_of(reduce(ADAPTER.read(layer).system, 4, "balanced").system, bias)
    twin = copy.deepcopy(small)
    with torch.no_grad():
        for values in twin.parameters():
            values.uniform_(0.1, 0.2)
    written, other = ADAPTER.write(layer, small), ADAPTER.write(layer, twin)
    assert not torch.equal(written(signal()), other(signal()))
    other.load_state_dict(written.state_dict())
    assert torch.equal(written(signal()), other(signal()))


@BOTH
@pytest.mark.parametrize("diagonal", [True, False])
def test_real_poles_are_kept_and_stay_real(make, diagonal):
    layer, system = make(), awkward_system(CHANNELS, diagonal=diagonal)
    written = ADAPTER.write(layer, layer_of(system))
    wanted = response(LinearPart(system), signal()[0])
    assert worst(written(signal())[0], wanted) < FLOAT32
    again = ADAPTER.read(written)
    assert again.system.order.tolist() == system.order.tolist()
    assert worst(response(again, signal()[0]), wanted) < FLOAT32


@BOTH
def test_a_layer_without_states_is_its_feedthrough(make):
    layer, part = make(), ADAPTER.read(make())
    nothing = reduce(part.system, 0, "balanced").system
    written = ADAPTER.write(layer, layer_of(nothing))
    assert len(written.nu_log) == 1
    assert worst(written(signal())[0], signal()[0].double() @ nothing.D[0].mT) < FLOAT32


def test_a_state_goes_in_as_before():
    layer = lru_reduction()
    small = layer_of(reduce(ADAPTER.read(layer).system, 6, "balanced").system, torch.ones(CHANNELS))
    written = ADAPTER.write(layer, small)
    states = written.state_features
    assert states < STATES
    state = torch.ones(states, dtype=torch.complex64)
    # Linear: what the state adds decays from C λ 1 on.
    added = (written(signal(), state, mode="scan") - written(signal())).detach()
    poles = torch.exp(torch.complex(-written.nu_log.exp(), written.theta_log.exp()))
    first = (written.C @ poles).real.detach().double()
    assert worst(added[0, 0], first) < 1e-4


def test_a_written_layer_trains():
    layer = lru_reduction()
    written = ADAPTER.write(layer, layer_of(awkward_system(CHANNELS), torch.zeros(CHANNELS)))
    written(signal()).square().sum().backward()
    assert all(torch.isfinite(values.grad).all() for values in written.parameters())
    assert all(values.grad.abs().sum() > 0 for values in written.parameters())


def test_only_such_layers_are_found():
    square, wide = LRU(3, 3, 4), LRU(3, 5, 4)
    model = nn.ModuleDict({"a": square, "b": wide, "c": nn.Linear(3, 3)})
    assert [found.name for found in find_layers(model)] == ["a"]
    with pytest.raises(InvalidArgumentError, match="as many inputs as outputs"):
        ADAPTER.read(wide)
    with pytest.raises(InvalidArgumentError, match="two directions"):
        ADAPTER.write(square, layer_of(awkward_system(3, directions=2)))


def test_the_state_dict_of_a_model_becomes_that_of_a_smaller_one():
    prefix = "model/"
    model = {
        name.removeprefix(prefix): recorded(name)
        for name in VECTORS.files
        if name.startswith(prefix)
    }
    small, records = compress_state_dict(model, ratio=0.5, method="balanced")
    assert [record.name for record in records] == ["blocks.0.lru", "blocks.1.lru"]
    for record in records:
        layer = LRU(**record.sizes)
        names = [name for name in small if name.startswith(record.name + ".")]
        layer.load_state_dict({name.removeprefix(record.name + "."): small[name] for name in names})
        assert layer.state_features < STATES
        output = layer(signal())[0]
        assert worst(output, response(ADAPTER.read(layer), signal()[0])) < FLOAT32
    assert small["encoder.weight"] is model["encoder.weight"]


def test_the_state_dict_of_a_layer_may_have_more_outputs_than_inputs():
    torch.manual_seed(1)
    layer, data = LRU(2, 5, 8), torch.randn(1, LENGTH, 2)
    same, _ = compress_state_dict(layer.state_dict(), order=16, method="balanced")
    small, (record,) = compress_state_dict(layer.state_dict(), order=8, method="balanced")
    for tensors in (same, small):
        other = LRU(2, 5, len(tensors["nu_log"]))
        other.load_state_dict(tensors)
        error = worst(other(data), layer(data).double())
        assert error < FLOAT32 if tensors is same else error < 1
    assert record.sizes["out_features"] == 5
