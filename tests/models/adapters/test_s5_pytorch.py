"""S5 layers of s5-pytorch: read, written and reduced beside the original itself."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adapter_oracles import FLOAT32, FLOAT64, awkward_system, response, worst
from hydropress.compression.state_dict import compress_state_dict
from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.registry import find_layers, get_adapter
from hydropress.models.adapters.s5_pytorch import ExtendedS5
from hydropress.models.modal_mimo_ssm import ModalMIMOSSM
from hydropress.reduction.reduce import reduce
from hydropress.systems.norms import relative_h2_error
from tolerances import ROUNDED_PARAMETERS

s5 = pytest.importorskip("s5", reason="s5-pytorch is part of the test extra")
S5_MODEL = pytest.importorskip("s5.s5_model")

CHANNELS, STATES, LENGTH = 4, 12, 200
ADAPTER: Any = get_adapter("s5-pytorch")
BOTH = pytest.mark.parametrize("bidirectional", [False, True])


def original(bidirectional: bool = False, rule: str = "zoh", *, seed: int = 0, **options) -> Any:
    torch.manual_seed(seed)
    layer = s5.S5(CHANNELS, STATES, bidir=bidirectional, dt_min=0.02, dt_max=0.2, **options)
    layer.seq.discretize = getattr(S5_MODEL, f"discretize_{rule}")
    # As after training: no state is the conjugate of another, and some poles alias.
    with torch.no_grad():
        layer.seq.Lambda += 0.1 * torch.randn_like(layer.seq.Lambda).real
        layer.seq.Lambda[0] = -0.4 + 25j
        layer.seq.Lambda[1] = -0.3
    return layer


def in_double(layer: Any) -> Any:
    """Return the layer with parameters of double precision, but for the rounding of B."""
    layer = copy.deepcopy(layer)
    for name, value in list(layer.seq.named_parameters()):
        dtype = torch.complex128 if value.is_complex() else torch.float64
        setattr(layer.seq, name, nn.Parameter(value.detach().to(dtype)))
    return layer


def signal(batch: int = 1) -> Tensor:
    return torch.randn(batch, LENGTH, CHANNELS, generator=torch.Generator().manual_seed(1))


def smaller(part: LinearPart, order: int, bias: Tensor | None = None) -> ModalMIMOSSM:
    reduced = reduce(part.system, order, "balanced").system
    return layer_of(reduced, part, bias)


def layer_of(system, part: LinearPart, bias: Tensor | None = None) -> ModalMIMOSSM:
    layer = ModalMIMOSSM.from_system(system, step=part.step, bias=bias)
    if bias is None:
        layer.bias = None
    return layer


def part_of(layer: ModalMIMOSSM) -> LinearPart:
    return LinearPart(layer.system(), None if layer.bias is None else layer.bias.detach())


def twin(layer: ModalMIMOSSM) -> ModalMIMOSSM:
    """Return a layer of the same sizes with other numbers in it."""
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for values in other.parameters():
            values.uniform_(0.1, 0.2)
    return other


@BOTH
@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
def test_the_system_read_is_the_original(bidirectional, rule):
    layer = original(bidirectional, rule)
    part, data = ADAPTER.read(layer), signal()
    assert part.system.batch_shape == part.step.shape == (1 + bidirectional,)
    assert worst(layer(data)[0], response(part, data[0])) < FLOAT32
    exact = in_double(layer)
    assert worst(exact(data.double())[0], response(ADAPTER.read(exact), data[0])) < FLOAT64


def test_every_complex_state_counts_twice():
    # One of the states is on the real axis, with a complex residue: two real poles.
    system = ADAPTER.read(original()).system
    assert system.order.tolist() == [2 * STATES]
    assert (system.states[0] == 1).sum() == 2


@BOTH
def test_written_as_it_was_read_it_computes_the_same(bidirectional):
    layer, data = original(bidirectional), signal(3)
    part = ADAPTER.read(layer)
    written = ADAPTER.write(layer, layer_of(part.system, part))
    assert worst(written(data), layer(data).double()) < FLOAT32


def test_a_reduced_layer_is_of_the_same_class_with_smaller_tensors():
    layer, data = original(), signal(2)
    small = smaller(ADAPTER.read(layer), STATES)
    written = ADAPTER.write(layer.eval(), small)
    assert not any(module.training for module in written.modules())
    assert type(written) is type(layer) and type(written.seq) is type(layer.seq)
    states = sum(small.pairs) + sum(small.reals)
    assert STATES / 2 <= states < STATES
    counts = [
        sum(value.numel() for name, value in one.seq.named_parameters() if name != "D")
        for one in (written, layer)
    ]
    assert counts[0] * STATES == counts[1] * states
    for output, inputs in zip(written(data), data, strict=True):
        assert worst(output, response(part_of(small), inputs)) < FLOAT32
    # What was written reads as what it was to be.
    again = ADAPTER.read(written).system
    assert again.order.tolist() == [STATES]
    assert relative_h2_error(small.system(), again).max() < ROUNDED_PARAMETERS


@BOTH
@pytest.mark.parametrize("biased", [False, True])
def test_sizes_alone_say_what_a_written_layer_is(bidirectional, biased):
    layer, data = original(bidirectional), signal(2)
    bias = torch.arange(float(CHANNELS)) if biased else None
    small = smaller(ADAPTER.read(layer), 8, bias)
    written, other = ADAPTER.write(layer, small), ADAPTER.write(layer, twin(small))
    assert not torch.equal(written(data), other(data))
    other.load_state_dict(written.state_dict())
    assert torch.equal(written(data), other(data))
    assert worst(written(data)[0], response(part_of(small), data[0])) < FLOAT32


@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("rule", ["zoh", "bilinear"])
def test_real_poles_a_bias_and_a_full_feedthrough_are_kept(rule, biased, diagonal):
    layer, data = original(rule=rule), signal()
    system = awkward_system(CHANNELS, diagonal=diagonal)
    bias = torch.linspace(-1, 1, CHANNELS) if biased else None
    wanted = LinearPart(system, bias)
    written = ADAPTER.write(layer, layer_of(system, ADAPTER.read(layer), bias))
    assert isinstance(written.seq, ExtendedS5) == (biased or not diagonal)
    assert worst(written(data)[0], response(wanted, data[0])) < FLOAT32
    assert find_layers(nn.Sequential(nn.Identity(), written))[0].name == "1"
    again = ADAPTER.read(written)
    assert again.system.order.tolist() == system.order.tolist()
    assert worst(response(again, data[0]), response(wanted, data[0])) < FLOAT32


def test_a_written_layer_carries_its_state_and_steps_as_the_original_does():
    layer, data = original(), signal(2)
    written = ADAPTER.write(layer, smaller(ADAPTER.read(layer), 8, torch.ones(CHANNELS)))
    whole = written(data)
    first, state = written(data[:, :80], return_state=True)
    second = written(data[:, 80:], state=state)
    assert worst(torch.cat([first, second], 1), whole.double()) < FLOAT32
    state, outputs = torch.zeros(len(written.seq.Lambda), dtype=torch.complex64), []
    for sample in data[0]:
        output, state = written.seq.forward_rnn(sample, state)
        outputs.append(output)
    assert worst(torch.stack(outputs), whole[0].double()) < FLOAT32


def test_a_block_is_called_as_before():
    torch.manual_seed(0)
    block = s5.S5Block(CHANNELS, STATES, bidir=False).eval()
    (found,) = find_layers(block)
    assert (found.name, found.adapter.name) == ("s5", "s5-pytorch")
    part = ADAPTER.read(block.s5)
    written = copy.deepcopy(block)
    written.s5 = ADAPTER.write(block.s5, layer_of(part.system, part, torch.zeros(CHANNELS)))
    data = signal(2)
    assert worst(written(data), block(data).detach().double()) < FLOAT32


@BOTH
def test_the_core_alone_is_found_and_called_without_a_batch(bidirectional):
    core, data = original(bidirectional).seq, signal()[0]
    assert ADAPTER.find(nn.ModuleList([core])) == ["0"]
    small = smaller(ADAPTER.read(core), 8)
    written = ADAPTER.write(core, small)
    assert worst(written(data), response(part_of(small), data)) < FLOAT32


def test_the_original_is_not_changed():
    layer, data = original(), signal()
    before, output = copy.deepcopy(layer.state_dict()), layer(data)
    written = ADAPTER.write(layer, smaller(ADAPTER.read(layer), 4))
    with torch.no_grad():
        for values in written.parameters():
            values.add_(1)
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
    assert torch.equal(output, layer(data))


def test_a_written_layer_trains():
    layer = original()
    written = ADAPTER.write(layer, smaller(ADAPTER.read(layer), 4, torch.zeros(CHANNELS)))
    written(signal()).square().sum().backward()
    assert all(values.grad.abs().sum() > 0 for values in written.parameters())


def test_a_power_of_the_input_matrix_is_read_and_written_as_an_input_matrix():
    torch.manual_seed(0)
    layer = in_double(s5.S5(CHANNELS, CHANNELS, degree=2, dt_min=0.5, dt_max=1.0))
    data = signal().double()
    part = ADAPTER.read(layer)
    assert worst(layer(data)[0], response(part, data[0])) < FLOAT64
    written = ADAPTER.write(layer, layer_of(part.system, part))
    assert worst(written(data), layer(data)) < FLOAT32


def test_what_has_no_transfer_function_is_refused():
    with pytest.raises(InvalidArgumentError, match="liquid=True"):
        ADAPTER.read(original(liquid=True))
    with pytest.raises(InvalidArgumentError, match="discretization='euler'"):
        layer = original()
        layer.seq.discretize = type("", (), {"__name__": "discretize_euler"})()
        ADAPTER.read(layer)
    with pytest.raises(InvalidArgumentError, match="required: the same directions"):
        ADAPTER.write(original(True), smaller(ADAPTER.read(original()), 4))
    with pytest.raises(InvalidArgumentError, match="a Linear; required: an S5"):
        ADAPTER.read(nn.Linear(2, 2))


def test_two_directions_refuse_what_one_set_of_steps_cannot_do():
    layer, data = original(True), signal()
    written = ADAPTER.write(layer, smaller(ADAPTER.read(layer), 8))
    assert torch.equal(written(data, 1.0), written(data, torch.ones(1)))
    for options in ({"step_scale": 2.0}, {"return_state": True}, {"state": torch.zeros(1)}):
        with pytest.raises(InvalidArgumentError, match=next(iter(options))):
            written(data, **options)
    with pytest.raises(InvalidArgumentError, match="initial_state"):
        written.initial_state(1)
    # It can be reduced again, as the layer of this package that it holds.
    (found,) = find_layers(nn.Sequential(written))
    assert (found.name, found.adapter.name) == ("0.layer", "hydropress")


@BOTH
def test_a_state_dict_becomes_one_of_a_smaller_layer(bidirectional):
    layer, data = original(bidirectional), signal()
    tensors, (record,) = compress_state_dict(
        layer.state_dict(), order=8, method="modal", family="s5-pytorch"
    )
    assert record.sizes["width"] == CHANNELS and record.sizes["state_width"] < STATES
    small = s5.S5(**record.sizes, bidir=bidirectional)
    small.load_state_dict(tensors)
    reduced = ADAPTER.read(small)
    assert worst(small(data)[0], response(reduced, data[0])) < FLOAT32
    assert record.parameters[1] < record.parameters[0]
    # Nothing removed, nothing changed: also what a diagonal D has to make up for.
    full = int(record.full_order.max())
    same, _ = compress_state_dict(layer.state_dict(), order=full, method="modal")
    assert bidirectional or same["seq.Lambda"].shape == (STATES + 1,)
    again = s5.S5(CHANNELS, len(same["seq.Lambda"]), bidir=bidirectional)
    again.load_state_dict(same)
    assert worst(again(data), layer(data).double()) < FLOAT32
