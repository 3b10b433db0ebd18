"""State dicts without code: read, and written back in the layout of their family."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError, UnknownNameError
from hydropress.models.adapters.tree_registry import state_dict_families as registered
from hydropress.models.adapters.trees import (
    StateDictAdapter,
    complete_options,
    find_tensors,
    flatten_tree,
    get_state_dict_adapter,
    register_state_dict_adapter,
    replace_leaves,
    state_dict_families,
)
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from models.adapters.mimo_standins import SSMLayer
from models.adapters.originals import (
    ALL,
    H,
    L,
    N,
    case_of,
    channels_first,
    fresh,
    label,
    options_of,
    relative,
    response,
    takes_channels_last,
)
from models.adapters.standins import annotated_s4d, causal
from models.adapters.vectors import Case, load

UNREAD = ("softmax unlimited", "softmax growing")
OF_TENSORS = ("bidirectional", "n_ssm", "dt_tie", "is_real", "transposed", "lr", "sep_dt_re_im")
"""Options that the tensors tell, or that do not matter to the linear part."""
TENSORS = [case for _, case in ALL if case.name not in UNREAD]

every_case = pytest.mark.parametrize("case", TENSORS, ids=label)


def settings(case: Case) -> dict[str, Any]:
    """Return a case's options under the names that its adapter has for them."""
    options = {name: one for name, one in options_of(case).items() if name not in OF_TENSORS}
    if "real_type" in options:
        options["real_transform"] = options.pop("real_type")
    return options | ({"disc": "zoh"} if case.kind == "version 2" else {})


def only(tensors: dict[str, Tensor]) -> tuple[str, StateDictAdapter]:
    (found,) = find_tensors(tensors)
    return found.prefix, found.adapter


def read(case: Case, tensors: dict[str, Tensor] | None = None) -> SISOSystem:
    tensors = case.state if tensors is None else tensors
    prefix, adapter = only(tensors)
    options = complete_options(adapter, settings(case))
    system = adapter.read(tensors, prefix, options).system
    assert isinstance(system, SISOSystem)
    return system


def write(case: Case, system: ModalSystem) -> dict[str, Tensor]:
    prefix, adapter = only(case.state)
    options = complete_options(adapter, settings(case))
    return case.state | adapter.write(case.state, prefix, system, options)


def strongest(system: SISOSystem, entries: int) -> SISOSystem:
    """Keep the entries of the first channel's largest weights, in every channel and direction."""
    # The same places everywhere, so that poles stay shared where they are.
    index = system.residues[0, 0].abs().argsort(descending=True)[:entries]
    return ModalSystem.from_exponents(
        system.exponents[..., index],
        system.residues[..., index],
        system.states[..., index],
        system.D,
    )


@every_case
def test_tensors_alone_give_the_system(case: Case):
    system = read(case)
    longest = case.options.get("l_max") or case.options.get("max_kernel_length")
    # S4D blocks of S4 and version 3 turn the axes only behind the activation.
    late = case.kind in ("S4D", "S4", "DSS")
    expected = case.linear.mT if takes_channels_last(case) and not late else case.linear
    if case.kind == "S4Block":
        expected = case.linear.mT
    computed = response(system, channels_first(case), longest)
    assert relative(computed, expected) <= (1e-10 if case.is_double else 1e-5)


# The layout of DSS takes fewer poles only.
@pytest.mark.parametrize("case", [one for one in TENSORS if one.kind != "DSS"], ids=label)
def test_as_it_was_read_it_is_written(case: Case):
    tensors = write(case, read(case))
    assert tensors.keys() == case.state.keys()
    assert all(tensors[name].dtype == case.state[name].dtype for name in tensors)
    again = read(case, tensors)
    assert relative(again.impulse_response(L), read(case).impulse_response(L)) <= (
        1e-10 if case.is_double else 1e-5
    )


@every_case
def test_a_smaller_one_loads_into_smaller_modules(case: Case):
    # One entry where the original has one set of poles for all channels.
    system = strongest(read(case), 1 if case.options.get("n_ssm") == 1 else 2)
    system = ModalSystem.from_exponents(
        system.exponents,
        system.residues,
        system.states,
        torch.arange(1.0, H + 1) * _forward(system),
    )
    tensors = write(case, system)
    prefix, adapter = only(tensors)
    assert sum(one.numel() for one in tensors.values()) < sum(
        one.numel() for one in case.state.values()
    )
    sizes = adapter.sizes(tensors, prefix)
    again = read(case, tensors)
    assert relative(again.impulse_response(L), system.impulse_response(L)) <= 1e-5
    if case.kind == "version 2":  # of which there is no stand-in
        assert sizes == {"d_state": 4, "n_ssm": H}
        return
    module = fresh(case, **sizes)
    module.load_state_dict(tensors)
    linear = (module.layer if case.kind == "S4Block" else module).linear
    longest = case.options.get("l_max") or case.options.get("max_kernel_length")
    with torch.no_grad():
        output = linear(channels_first(case))
    assert relative(output, response(system, channels_first(case), longest)) <= 1e-5


def _forward(system: SISOSystem) -> Tensor:
    """Return 1 for the first direction and 0 for the second."""
    return (torch.arange(system.batch_shape[0]) == 0)[:, None].double()


def poles_of(real: float, imaginary: float, directions: int = 1, states: int = 2) -> SISOSystem:
    """Return one mode for each of H channels."""
    exponents = torch.full((directions, H, 1), complex(real, imaginary), dtype=torch.complex128)
    entries = torch.full((directions, H, 1), states)
    return ModalSystem.from_exponents(exponents, torch.ones_like(exponents), entries)


@pytest.mark.parametrize(
    ("name", "alternating"),
    [
        *((name, True) for name in ("zoh", "bilinear", "dss", "imag exp", "real poles bilinear")),
        *((f"imag {one}", False) for one in ("exp", "softplus", "sigmoid", "relu")),
        *((name, False) for name in ("zoh", "bilinear", "dss", "real poles")),
    ],
)
def test_real_poles_are_pairs_on_the_axis(name: str, alternating: bool):
    case = case_of("FFTConv", name)
    system = poles_of(-0.05, torch.pi if alternating else 0.0, states=1)
    tensors = write(case, system)
    again = read(case, tensors)
    difference = again.impulse_response(L) - system.impulse_response(L)
    assert float(difference.abs().max()) <= 2e-5


@pytest.mark.parametrize("name", ["zoh", "real poles", "steps untied", "bidirectional"])
def test_channels_without_states_have_weights_of_zero(name: str):
    case = case_of("FFTConv", name)
    system = strongest(read(case), 2)
    states, residues = system.states.clone(), system.residues.clone()
    states[:, 1], residues[:, 1] = 0, 0
    states[:, 2, 0], residues[:, 2, 0] = 0, 0
    system = ModalSystem.from_exponents(system.exponents, residues, states, system.D)
    again = read(case, write(case, system))
    assert relative(again.impulse_response(L), system.impulse_response(L)) <= 1e-5
    assert not again.residues[:, 1].any()


@pytest.mark.parametrize(
    ("name", "system", "message"),
    [
        ("imag sigmoid", poles_of(-0.1, 1.0), "frequencies.*sigmoid.*below 1"),
        ("real sigmoid", poles_of(-1.0, 0.1), "decays.*sigmoid.*below 1"),
        ("real relu", poles_of(-1e-9, 0.1), "decays.*relu.*at least 0.0001"),
        ("real poles", poles_of(-0.1, 1.0), "complex poles.*is_real"),
        ("bandlimit", poles_of(-0.1, 3.0), "above the layer's bandlimit"),
        ("zoh", poles_of(-0.1, 1.0, directions=2), r"batch shape \(2, 4\)"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused(name: str, system: SISOSystem, message: str):
    with pytest.raises(InvalidArgumentError, match=message):
        write(case_of("FFTConv", name), system)


def test_directions_with_poles_of_their_own_are_refused():
    system = poles_of(-0.1, 1.0, directions=2)
    exponents = system.exponents.clone()
    exponents[1] -= 0.1
    other = ModalSystem.from_exponents(exponents, system.residues, system.states)
    case = case_of("FFTConv", "bidirectional")
    write(case, system)
    with pytest.raises(InvalidArgumentError, match="different poles for the two directions"):
        write(case, other)


def test_dss_has_room_for_a_few_poles_only():
    case = case_of("DSS", "exp")
    system = read(case)
    with pytest.raises(InvalidArgumentError, match="one Lambda"):
        write(case, system)
    with pytest.raises(InvalidArgumentError, match="one Lambda"):
        moved = system.exponents[..., :2] * torch.linspace(0.5, 1, H)[:, None]
        write(
            case,
            ModalSystem.from_exponents(moved, system.residues[..., :2], system.states[..., :2]),
        )


def test_dss_versions_are_told_by_name():
    prefix, adapter = only(case_of("DSS", "clip").state)
    options = complete_options(adapter, {"version": "exp"})
    with pytest.raises(InvalidArgumentError, match="version='exp'.*softmax or clip"):
        adapter.read(case_of("DSS", "clip").state, prefix, options)


def test_layers_are_found_where_they_are():
    tensors: dict[str, Tensor] = {"encoder.weight": torch.zeros(2, 2)}
    for place, kind, name in (
        ("model.layers.1.", "S4D", "disturbed"),
        ("model.layers.0.", "FFTConv", "zoh"),
        ("model.layers.2.s4.", "S4", "zoh"),
        ("blocks.", "DSS", "exp"),
    ):
        tensors |= {place + one: tensor for one, tensor in case_of(kind, name).state.items()}
    found = [(one.name, one.adapter.name) for one in find_tensors(tensors)]
    assert found == [
        ("model.layers.1", "s4d"),
        ("model.layers.0", "s4"),
        ("model.layers.2.s4", "s4"),
        ("blocks", "dss"),
    ]
    assert [one.name for one in find_tensors(tensors, "dss")] == ["blocks"]


def test_low_rank_kernels_are_not_found():
    tensors = dict(case_of("FFTConv", "zoh").state)
    tensors["kernel.P"] = torch.zeros(1, H, N // 2, 2)
    with pytest.raises(InvalidArgumentError, match="no known layer"):
        find_tensors(tensors)


def test_the_registry_refuses_what_it_cannot_use():
    assert registered() == state_dict_families()
    with pytest.raises(UnknownNameError, match="s4d"):
        get_state_dict_adapter("mamba")
    with pytest.raises(InvalidArgumentError, match="registered already"):
        register_state_dict_adapter(get_state_dict_adapter("s4d"))
    with pytest.raises(InvalidArgumentError, match="shares_poles"):
        register_state_dict_adapter(object())  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="discretisation.*disc"):
        complete_options(get_state_dict_adapter("s4"), {"discretisation": "zoh"})


def test_trees_are_flattened_and_put_together_again():
    array = torch.arange(3.0).numpy()
    tree: dict[str, Any] = {
        "params": {"a": {"b": array}, "c": torch.ones(2)},
        "name": "model",
        "step": 3,
        "odd": [1, [2, 3], "four"],
    }
    flat = flatten_tree(tree)
    assert list(flat) == ["params.a.b", "params.c", "step"]
    again = replace_leaves(tree, {"params.a.b": torch.zeros(1), "params.c": torch.zeros(4)})
    assert again["params"]["a"]["b"].tolist() == [0.0]
    assert not isinstance(again["params"]["a"]["b"], Tensor)
    assert again["params"]["c"].shape == (4,)
    assert (again["name"], again["step"]) == ("model", 3)
    assert tree["params"]["a"]["b"] is array


@pytest.mark.parametrize("case", load("annotated_s4d"), ids=lambda case: case.name)
def test_the_annotated_layer(case: Case):
    assert relative(annotated_s4d(case.state, case.signal), case.output) <= 1e-5
    system = read(case)
    assert system.batch_shape == (1, H)
    assert relative(response(system, case.signal.mT), case.output.mT) <= 1e-5
    smaller = strongest(system, 2)
    tensors = write(case, smaller)
    assert tensors["A_re"].shape == (2, H)
    assert get_state_dict_adapter("annotated-s4d").sizes(tensors, "") == {"N": 2}
    output = annotated_s4d(tensors, case.signal)
    assert relative(output, response(smaller, case.signal.mT).mT) <= 1e-5


def test_one_channel_of_the_annotated_layer():
    case = load("annotated_s4d")[1]
    alone = {name: tensor[:, 2] for name, tensor in case.state.items()}
    prefix, adapter = only(alone)
    system = adapter.read(alone, prefix, {}).system
    assert isinstance(system, SISOSystem)
    assert relative(response(system, case.signal.mT[2:3]), case.output.mT[2:3]) <= 1e-5
    again = adapter.write(alone, prefix, system, {})
    assert {name: one.shape for name, one in again.items()} == {
        name: one.shape for name, one in alone.items()
    }


def test_poles_that_the_annotated_layer_clips_are_refused():
    case = load("annotated_s4d")[0]
    with pytest.raises(InvalidArgumentError, match="decay by less than 0.0001"):
        write(case, poles_of(-1e-9, 0.1))


@pytest.mark.parametrize("case", load("attenuate"), ids=lambda case: case.name)
def test_attenuate(case: Case):
    module = SSMLayer(**case.options)
    module.load_state_dict(case.state)
    assert relative(module(case.signal).detach(), case.output) <= 1e-5
    prefix, adapter = only(case.state)
    system = adapter.read(case.state, prefix, {}).system
    assert isinstance(system, MIMOSystem)
    assert relative(mimo_response(system, case.signal), case.output) <= 1e-5
    index = torch.tensor([0, 3, 9])
    smaller = MIMOSystem(
        system.exponents[:, index],
        system.B[:, index] * 1j,  # a phase common to both says nothing
        system.C[:, :, index] / 1j,
        system.states[:, index],
        system.D,
        "discrete",
    )
    tensors = adapter.write(case.state, prefix, smaller, {})
    options = {**case.options, **adapter.sizes(tensors, prefix)}
    module = SSMLayer(**options)
    module.load_state_dict(tensors)
    assert len(module.log_dt) == 3
    expected = mimo_response(smaller, case.signal)
    assert relative(module(case.signal).detach(), expected) <= 1e-5


@pytest.mark.parametrize("case", load("attenuate"), ids=lambda case: case.name)
def test_attenuate_has_room_for_alternating_poles(case: Case):
    """Cosines of half the sampling frequency alternate in sign."""
    prefix, adapter = only(case.state)
    system = adapter.read(case.state, prefix, {}).system
    assert isinstance(system, MIMOSystem)
    index = torch.tensor([0, 1, 2])
    decays = torch.tensor([[-0.9, -0.5, -0.02]], dtype=torch.float64)
    frequencies = torch.tensor([[torch.pi, 0.0, torch.pi]], dtype=torch.float64)
    real = MIMOSystem(
        torch.complex(decays, frequencies),
        system.B[:, index].real.to(torch.complex128),
        system.C[:, :, index].real.to(torch.complex128),
        torch.ones_like(system.states[:, index]),
        system.D,
        "discrete",
    )
    tensors = adapter.write(case.state, prefix, real, {})
    module = SSMLayer(**{**case.options, **adapter.sizes(tensors, prefix)})
    module.load_state_dict(tensors)
    expected = mimo_response(real, case.signal)
    assert relative(module(case.signal).detach(), expected) <= 1e-5
    again = adapter.read({**case.state, **tensors}, prefix, {}).system
    assert isinstance(again, MIMOSystem)
    assert relative(mimo_response(again, case.signal), expected) <= 1e-5


def test_attenuate_says_what_it_has_no_room_for():
    case = load("attenuate")[0]
    prefix, adapter = only(case.state)
    system = adapter.read(case.state, prefix, {}).system
    assert isinstance(system, MIMOSystem)
    with pytest.raises(InvalidArgumentError, match="with a D; required") as caught:
        adapter.write(case.state, prefix, replace(system, D=system.D + 1), {})
    assert "residues (" not in str(caught.value)


def mimo_response(system: MIMOSystem, signal: Tensor) -> Tensor:
    kernel = system[0].impulse_response(signal.shape[-1])
    rows = [
        sum(
            causal(kernel[p, m][None], signal[:, m : m + 1].double())
            for m in range(kernel.shape[1])
        )
        for p in range(kernel.shape[0])
    ]
    return torch.cat(rows, 1)  # type: ignore[arg-type]


def test_attenuate_has_no_room_for_phases():
    case = load("attenuate")[1]
    prefix, adapter = only(case.state)
    system = adapter.read(case.state, prefix, {}).system
    assert isinstance(system, MIMOSystem)
    turned = MIMOSystem(
        system.exponents, system.B, system.C * 1j, system.states, system.D, "discrete"
    )
    with pytest.raises(InvalidArgumentError, match="complex residues"):
        adapter.write(case.state, prefix, turned, {})
