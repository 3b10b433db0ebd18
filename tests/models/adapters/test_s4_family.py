"""Layers of state-spaces/s4 and ag1988/dss: found, read exactly, replaced by smaller ones."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hydropress.errors import InvalidArgumentError, UnstableSystemError
from hydropress.models import s4d
from hydropress.models.adapters.protocol import Adapter, Tap
from hydropress.models.adapters.registry import find_layers, get_adapter
from hydropress.models.adapters.s4d import S4DAdapter
from hydropress.models.modal_ssm import ModalSSM
from hydropress.reduction.reduce import reduce
from hydropress.systems.assembly import concatenate
from hydropress.systems.modal import MIMOSystem, SISOSystem
from models.adapters.mimo_standins import SSMLayer
from models.adapters.originals import (
    MODULES,
    H,
    L,
    N,
    bank_of,
    case_of,
    channels_first,
    empty_layer,
    fresh,
    label,
    only_layer,
    original,
    relative,
    response,
    takes_channels_last,
    with_layer,
)
from models.adapters.standins import S4D, FFTConv
from models.adapters.vectors import Case, load

RECORDED = {torch.float32: 1e-5, torch.float64: 1e-10}
"""Against what the originals computed: in float32 they lose digits of e^x - 1 and of phases."""

every_case = pytest.mark.parametrize("case", MODULES, ids=label)
single = pytest.mark.parametrize("case", [one for one in MODULES if not one.is_double], ids=label)


def ragged(system: SISOSystem, method: str = "modal") -> SISOSystem:
    """Reduce every channel to an order of its own: 1, 2, 4, 2."""
    orders = (1, 2, 4, 2)
    each = [reduce(system[:, [h]], order, method).system for h, order in enumerate(orders)]
    joined = concatenate([one.reshape(one.batch_shape[0]) for one in each])
    directions = system.batch_shape[0]
    index = torch.arange(H * directions).reshape(H, directions).T
    return joined[index.flatten()].reshape(directions, H)


def written(case: Case, system: SISOSystem, *, biased: bool = False) -> tuple[Any, ModalSSM]:
    """Return the stand-in with another linear part in the layer's place."""
    model = original(case)
    name, module, adapter = only_layer(model)
    step = adapter.read(module).step
    bias = torch.linspace(-1, 1, H) if biased else None
    layer = ModalSSM.from_system(system, step=step, bias=bias)
    return with_layer(model, name, adapter.write(module, layer)), layer


def seen_at(tap: Tap, adapter: Adapter, model: nn.Module, signal: Tensor) -> Tensor:
    """Return what passes a tap, (B, H, L)."""
    seen: list[Tensor] = []
    if tap.side == "input":
        handle = tap.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    else:
        handle = tap.module.register_forward_hook(lambda *values: seen.append(values[2]))
    with torch.no_grad():
        model(signal)
    handle.remove()
    last = adapter.channels_last if tap.channels_last is None else tap.channels_last
    return seen[0].mT if last else seen[0]


@every_case
def test_the_standin_is_the_original(case: Case):
    with torch.no_grad():
        output, _ = original(case)(case.signal)
    assert output.dtype == case.output.dtype
    assert relative(output, case.output) <= RECORDED[case.signal.dtype]


@every_case
def test_the_system_is_what_the_original_computes_with(case: Case):
    model = original(case)
    _, module, adapter = only_layer(model)
    part = adapter.read(module)
    assert bank_of(part).batch_shape == (1 + case.options.get("bidirectional", False), H)
    assert part.step is not None
    assert part.step.shape == bank_of(part).batch_shape
    tap = adapter.tap(module)
    at_tap = seen_at(tap, adapter, model, case.signal)
    expected = case.linear.mT if tap.channels_last else case.linear
    assert relative(at_tap, expected) <= RECORDED[case.signal.dtype]
    longest = getattr(module, "longest", None)
    computed = response(bank_of(part), channels_first(case), longest)
    assert relative(computed, expected) <= RECORDED[case.signal.dtype]


@single
def test_written_as_it_was_read_it_computes_the_same(case: Case):
    model = original(case)
    name, module, adapter = only_layer(model)
    part = adapter.read(module)
    before = copy.deepcopy(model.state_dict())
    result, _ = written(case, bank_of(part))
    new = result.get_submodule(name)
    assert type(new) is type(module)
    with torch.no_grad():
        output, state = result(case.signal)
    assert state is None
    assert relative(output, case.output) <= RECORDED[case.signal.dtype]
    after = model.state_dict()
    assert all(torch.equal(before[one], after[one]) for one in before)


@single
def test_a_smaller_layer_is_smaller_and_computes_its_systems(case: Case):
    model = original(case)
    name, module, adapter = only_layer(model)
    system = ragged(bank_of(adapter.read(module)))
    result, layer = written(case, system, biased=True)
    assert layer.bias is not None
    sizes = [sum(one.numel() for one in each.parameters()) for each in (result, model)]
    assert sizes[0] < sizes[1]
    new = result.get_submodule(name)
    assert find_layers(result)[0].adapter is adapter
    with torch.no_grad():
        computed = seen_at(adapter.tap(new), adapter, result, case.signal)
    longest = getattr(module, "longest", None)
    expected = response(system, channels_first(case), longest) + layer.bias.detach()[:, None]
    assert relative(computed, expected) <= 1e-5
    part = adapter.read(new)
    assert bank_of(part).order.tolist() == system.order.tolist()
    assert part.bias is not None
    torch.testing.assert_close(part.bias, layer.bias.detach())
    torch.testing.assert_close(bank_of(part).D, system.D, rtol=1e-6, atol=1e-7)
    assert relative(bank_of(part).impulse_response(L), system.impulse_response(L)) <= 1e-5


@single
def test_sizes_and_a_state_dict_give_the_same_bits(case: Case):
    name, module, adapter = only_layer(original(case))
    result, layer = written(case, ragged(bank_of(adapter.read(module))), biased=True)
    again = fresh(case)
    _, module, adapter = only_layer(again)
    again = with_layer(again, name, adapter.write(module, empty_layer(layer)))
    again.load_state_dict(result.state_dict())
    with torch.no_grad():
        assert torch.equal(again(case.signal)[0], result(case.signal)[0])


@pytest.mark.parametrize("name", ["zoh", "bidirectional"])
def test_h2_reductions_come_back(name: str):
    case = case_of("FFTConv", name)
    _, module, adapter = only_layer(original(case))
    system = reduce(bank_of(adapter.read(module)), 3).system
    result, _ = written(case, system)
    computed = seen_at(adapter.tap(result), adapter, result, case.signal)
    assert relative(computed, response(system, channels_first(case))) <= 1e-5


def test_the_tap_is_behind_the_bias():
    case = case_of("FFTConv", "zoh")
    _, module, adapter = only_layer(original(case))
    system = bank_of(adapter.read(module))
    biased, layer = written(case, system, biased=True)
    plain = copy.deepcopy(layer)
    plain.bias = None
    unbiased = adapter.write(module, plain)
    assert type(unbiased.activation) is nn.GELU
    outputs = [seen_at(adapter.tap(one), adapter, one, case.signal) for one in (biased, unbiased)]
    assert layer.bias is not None
    difference = (outputs[0] - outputs[1]).detach()
    torch.testing.assert_close(
        difference, layer.bias.detach()[:, None].expand_as(difference), rtol=0, atol=1e-5
    )


def test_a_layer_is_reduced_again():
    case = case_of("FFTConv", "zoh")
    model, layer = written(case, ragged(only_part(case)), biased=True)
    _, module, adapter = only_layer(model)
    part = adapter.read(module)
    system = reduce(bank_of(part), 2).system
    again = adapter.write(module, ModalSSM.from_system(system, step=part.step, bias=part.bias))
    computed = seen_at(adapter.tap(again), adapter, again, case.signal)
    assert layer.bias is not None
    expected = response(system, channels_first(case)) + layer.bias.detach()[:, None]
    assert relative(computed, expected) <= 1e-5


def only_part(case: Case) -> SISOSystem:
    _, module, adapter = only_layer(original(case))
    return bank_of(adapter.read(module))


def test_it_runs_step_by_step():
    case = case_of("FFTConv", "zoh")
    model, _ = written(case, ragged(only_part(case)))
    model.kernel._setup_step()
    state = model.kernel.default_state(1)
    assert state.shape == (1, int(only_layer(model)[2].read(model).system.order.sum()))
    outputs: list[Tensor] = []
    with torch.no_grad():
        for sample in case.signal.unbind(1):
            output, state = model.step(sample, state)
            outputs.append(output)
        expected, _ = model(case.signal)
    assert takes_channels_last(case)
    assert relative(torch.stack(outputs, 1), expected) <= 1e-5


def test_another_sampling_rate_resamples_the_modes():
    case = case_of("FFTConv", "zoh")
    module = original(case)
    result, _ = written(case, only_part(case))
    for rate in (0.5, 2.0):
        expected, _ = module.kernel(L=L, rate=rate)
        kernel, _ = result.kernel(L=L, rate=rate)
        assert relative(kernel.detach(), expected.detach()) <= 1e-5


def test_gradients_reach_the_parameters():
    case = case_of("S4D", "disturbed")
    result, _ = written(case, reduce(only_part(case), 3).system, biased=True)
    result(case.signal)[0].square().sum().backward()
    for name, parameter in result.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


def test_rates_and_decays_of_the_poles_are_passed_on():
    case = case_of("S4D", "disturbed")
    module = original(case)
    module.kernel.log_dt._optim = {"weight_decay": 0.0, "lr": 1e-3}
    _, layer = written(case, only_part(case))
    kernel: Any = get_adapter("s4d").write(module, layer).kernel
    assert kernel.layer.pair_log_decay._optim == {"weight_decay": 0.0, "lr": 1e-3}
    assert not hasattr(kernel.layer.pair_C, "_optim")


def test_what_a_kernel_caches_is_no_obstacle():
    case = case_of("FFTConv", "zoh")
    module = original(case)
    module.kernel.cached = module.kernel.A_real * 2  # not a leaf: cannot be copied
    adapter = get_adapter("s4-channels-last")
    adapter.write(module, ModalSSM.from_system(only_part(case)))


def test_copies_and_subclasses_are_found_and_others_are_not():
    class Mine(S4D):
        pass

    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = S4D(H, N).kernel
            self.D = nn.Parameter(torch.zeros(H))
            self.activation = nn.GELU()

    copied = type("S4D", (Other,), {})
    model = nn.Sequential(Mine(H, N), Other(), copied(), FFTConv(H, N), nn.Linear(4, 4))
    found = {one.name: one.adapter.name for one in find_layers(model)}
    assert found == {"0": "s4d", "2": "s4d", "3": "s4-channels-last"}
    mine = S4DAdapter(name="mine", classes=("Other",))
    assert (mine.name, mine.find(model)) == ("mine", ["1", "2"])


def test_a_kernel_in_a_module_of_another_class_is_no_layer_of_ours():
    case = case_of("S4D", "disturbed")
    result, _ = written(case, only_part(case))
    holder = nn.Module()
    holder.kernel = result.kernel
    with pytest.raises(InvalidArgumentError, match="no linear SSM"):
        find_layers(holder)


@pytest.mark.parametrize("case", load("attenuate"), ids=lambda case: case.name)
def test_attenuate(case: Case):
    layer = SSMLayer(**case.options)
    layer.load_state_dict(case.state)
    found = find_layers(nn.Sequential(nn.SiLU(), layer))
    assert [(one.name, one.adapter.name) for one in found] == [("1", "attenuate")]
    adapter = get_adapter("attenuate")
    part = adapter.read(layer)
    assert isinstance(part.system, MIMOSystem)
    assert part.step is not None
    assert (part.directions, part.step.shape, part.bias) == (1, (1,), None)
    kernel = part.system[0].impulse_response(L)
    signal = case.signal[0].double()
    output = torch.zeros(kernel.shape[0], L, dtype=torch.float64)
    for t in range(L):
        output[:, t] = (kernel[..., : t + 1] * signal[:, : t + 1].flip(-1)).sum((1, 2))
    assert relative(case.linear[0], output) <= 1e-5
    assert adapter.tap(layer) == Tap(layer, "output")
    smaller = ModalSSM.from_system(only_part(case_of("S4D", "disturbed")))
    assert adapter.write(layer, smaller) is smaller


def test_a_low_rank_kernel_is_not_taken_for_a_diagonal_one():
    layer = FFTConv(H, N)
    layer.kernel.P = nn.Parameter(torch.zeros(1, H, N // 2, 2))
    with pytest.raises(InvalidArgumentError, match="no linear SSM"):
        find_layers(layer)


def test_several_heads_are_refused():
    layer = FFTConv(H, N)
    layer.D = nn.Parameter(torch.zeros(2, H))
    layer.kernel.C = nn.Parameter(torch.zeros(2, H, N // 2, 2))
    with pytest.raises(InvalidArgumentError, match="2 outputs a channel"):
        get_adapter("s4-channels-last").read(layer)


def test_a_softmax_without_a_stable_system_is_refused():
    adapter = get_adapter("dss")
    with pytest.raises(InvalidArgumentError, match="no fixed length.*max_kernel_length"):
        adapter.read(original(case_of("DSS", "softmax unlimited")))
    with pytest.raises(InvalidArgumentError, match="positive real part"):
        adapter.read(original(case_of("DSS", "softmax growing")))


def test_a_softmax_of_the_length_it_was_used_with_is_read():
    case = case_of("DSS", "softmax unlimited")
    module = original(case)
    module.max_kernel_length = L
    system = bank_of(get_adapter("dss").read(module))
    assert relative(response(system, case.signal), case.linear) <= 1e-5


def test_another_kind_of_layer_is_not_written():
    module = original(case_of("S4D", "disturbed"))
    with pytest.raises(InvalidArgumentError, match="a S4D for.*ModalSSM.from_system"):
        get_adapter("s4d").write(module, s4d.S4D(H, N))


def test_unknown_settings_are_named():
    layer: Any = FFTConv(H, N)
    adapter = get_adapter("s4-channels-last")
    layer.kernel.disc = "foh"
    with pytest.raises(InvalidArgumentError, match="foh.*zoh, bilinear or dss"):
        adapter.read(layer)
    layer.kernel.disc = "dss"
    with pytest.raises(InvalidArgumentError, match="no fixed length.*l_max"):
        adapter.read(layer)
    layer.kernel.disc, layer.kernel.real_transform = "zoh", "tanh"
    with pytest.raises(InvalidArgumentError, match="tanh.*softplus"):
        adapter.read(layer)
    with pytest.raises(InvalidArgumentError, match="state"):
        case = case_of("FFTConv", "zoh")
        written(case, only_part(case))[0].kernel(L=L, state=torch.zeros(1))


def test_a_clipped_pole_is_read_where_the_clip_leaves_it():
    layer = original(case_of("DSS", "clip"))
    with torch.no_grad():
        layer.kernel.Lambda[0, 0] = 1.0
    system = bank_of(get_adapter("dss").read(layer))
    step = layer.kernel.log_dt.detach().double().exp()[:, 0]
    torch.testing.assert_close(system.exponents[0, :, 0].real, 1e-4 * step)
    with pytest.raises(UnstableSystemError):
        ModalSSM.from_system(system)
