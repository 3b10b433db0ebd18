"""State dicts made small without code or data."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hydropress import compress
from hydropress.compression.state_dict import TensorRecord, compress_state_dict, read_layers
from hydropress.errors import InvalidArgumentError, UnknownNameError, UnstableSystemError
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.trees import (
    complete_options,
    find_tensors,
    flatten_tree,
)
from hydropress.reduction.reduce import reduce
from hydropress.systems.modal import SISOSystem
from models.adapters.mimo_standins import SSMLayer
from models.adapters.originals import (
    H,
    L,
    case_of,
    channels_first,
    fresh,
    original,
    relative,
    response,
)
from models.adapters.standins import annotated_s4d
from models.adapters.vectors import Case, load


def read(tensors: dict[str, Tensor], options: dict[str, Any] | None = None) -> LinearPart:
    (found,) = find_tensors(tensors)
    return found.adapter.read(tensors, found.prefix, complete_options(found.adapter, options))


def bank(tensors: dict[str, Tensor], options: dict[str, Any] | None = None) -> SISOSystem:
    system = read(tensors, options).system
    assert isinstance(system, SISOSystem)
    return system


def only(records: list[TensorRecord]) -> TensorRecord:
    (record,) = records
    return record


@pytest.mark.parametrize(
    ("kind", "name", "options", "order"),
    [
        ("S4D", "disturbed", {}, 2),
        ("S4D", "disturbed", {}, 3),
        ("FFTConv", "zoh", {}, 3),
        ("FFTConv", "bilinear", {"disc": "bilinear"}, 2),
        ("FFTConv", "shared by two", {}, 2),
        ("S4", "zoh", {"disc": "zoh"}, 2),
    ],
)
def test_the_tensors_hold_the_h2_optimal_systems(
    kind: str, name: str, options: dict[str, Any], order: int
):
    case = case_of(kind, name)
    tensors, records = compress_state_dict(case.state, order=order, options=options)
    record = only(records)
    expected = reduce(bank(case.state, options), order).system
    module = fresh(case, **record.sizes)
    module.load_state_dict(tensors)
    with torch.no_grad():
        output = module.linear(channels_first(case))
    assert relative(output, response(expected, channels_first(case))) <= 1e-5
    assert record.reduced_order.tolist() == expected.order.tolist()
    # Poles that channels shared are now each channel's own.
    assert record.parameters[1] < record.parameters[0] or case.options.get("n_ssm")
    # Nothing of the original was touched, nor of what is not the layer's.
    assert all(torch.equal(case.state[one], case_of(kind, name).state[one]) for one in case.state)
    kept = [one for one in tensors if "output_linear" in one]
    assert all(torch.equal(tensors[one], case.state[one]) for one in kept)


@pytest.mark.parametrize(
    ("name", "method"), [("bidirectional", "h2"), ("bidirectional bilinear", "balanced")]
)
def test_both_directions_are_reduced_on_one_set_of_poles(name: str, method: str):
    case = case_of("FFTConv", name)
    options = {"disc": case.options.get("disc", "zoh")}
    tensors, records = compress_state_dict(case.state, order=2, options=options, method=method)
    record = only(records)
    module = fresh(case, **record.sizes)
    module.load_state_dict(tensors)
    full, reduced = bank(case.state, options), bank(tensors, options)
    assert torch.equal(reduced.exponents[0], reduced.exponents[1])
    with torch.no_grad():
        output = module.linear(channels_first(case))
    assert relative(output, response(reduced, channels_first(case))) <= 1e-5
    # Another route to the error: whole kernels of both directions, squared and summed.
    length = 40_000
    kernels = full.impulse_response(length)
    difference = kernels - reduced.impulse_response(length)
    error = (difference.square().sum((0, 2)) / kernels.square().sum((0, 2))).sqrt()
    torch.testing.assert_close(record.relative_error[0], error, rtol=1e-3, atol=1e-5)


def test_all_states_are_the_original():
    case = case_of("FFTConv", "zoh")
    tensors, records = compress_state_dict(case.state, ratio=1.0)
    assert relative(bank(tensors).impulse_response(L), bank(case.state).impulse_response(L)) <= 1e-5
    assert bool((only(records).relative_error < 1e-6).all())


def test_a_ratio_is_a_share_of_all_states():
    state = {
        **{f"one.{name}": one for name, one in case_of("S4D", "disturbed").state.items()},
        **{f"two.{name}": one for name, one in case_of("FFTConv", "zoh").state.items()},
        "head.weight": torch.ones(3, 3),
    }
    tensors, records = compress_state_dict(state, ratio=0.25, method="balanced")
    assert [record.name for record in records] == ["one", "two"]
    assert [record.family for record in records] == ["s4d", "s4"]
    assert all(record.full_order.tolist() == [[8] * H] for record in records)
    assert all(record.reduced_order.tolist() == [[2] * H] for record in records)
    assert list(tensors) == list(state)
    assert tensors["head.weight"] is state["head.weight"]
    _, records = compress_state_dict(state, order=2, method="balanced", family="s4")
    assert [record.name for record in records] == ["two"]
    with pytest.raises(InvalidArgumentError, match="several families"):
        compress_state_dict(state, order=2, options={"disc": "zoh"})


@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("S4D", "disturbed", {}),
        ("FFTConv", "bidirectional bilinear", {"disc": "bilinear"}),
        ("DSS", "exp", {"version": "exp"}),
    ],
)
def test_layers_read_compute_what_the_original_did(kind: str, name: str, options: dict[str, Any]):
    case = case_of(kind, name)
    (layer,) = read_layers(case.state, options=options).values()
    signal = channels_first(case)
    with torch.no_grad():
        expected = original(case).linear(signal)
        output = layer(signal)
    assert output.dtype == signal.dtype
    assert relative(output, expected) <= 1e-5
    # A module as any other of ours: it is found, and made small on data.
    data = torch.randn(8, *signal.shape[1:])
    small = compress(nn.Sequential(layer), ratio=1 / 4, allocation="uniform", calibration=data)
    assert small.ratio == 0.25


def test_layers_of_a_tree_are_named_by_their_paths():
    case = load("annotated_s4d")[1]
    layer = {name: tensor.numpy() for name, tensor in case.state.items()}
    tree = {"params": {f"layers_{place}": {"seq": layer} for place in (0, 1)}}
    found = read_layers(tree, family="annotated-s4d")
    assert [*found] == ["params.layers_0.seq", "params.layers_1.seq"]
    with torch.no_grad():
        output = found["params.layers_1.seq"](case.signal.mT[None])[0].mT
    assert relative(output, case.linear) <= 1e-5
    with pytest.raises(InvalidArgumentError, match="no known layer"):
        read_layers({"weight": torch.ones(2)})


def test_a_flax_tree_stays_a_tree_of_arrays():
    case = load("annotated_s4d")[1]
    layer = {name: tensor.numpy() for name, tensor in case.state.items()}
    tree = {"params": {"layers_0": {"seq": layer, "out": {"kernel": np.ones((4, 4))}}}}
    new, records = compress_state_dict(tree, order=3)
    record = only(records)
    expected = reduce(bank(case.state), 3).system
    entries = int((expected.states > 0).sum(-1).max())
    assert (record.name, record.sizes) == ("params.layers_0.seq", {"N": entries})
    result = new["params"]["layers_0"]["seq"]
    assert all(isinstance(one, np.ndarray) for one in result.values())
    assert result["C"].shape == (entries, H, 2)
    assert result["C"].dtype == np.float32
    assert new["params"]["layers_0"]["out"]["kernel"] is tree["params"]["layers_0"]["out"]["kernel"]
    output = annotated_s4d(flatten_tree(result), case.signal)
    assert relative(output, response(expected, case.signal.mT).mT) <= 1e-5


def only_modal(case: Case, options: dict[str, Any], order: int) -> dict[str, Tensor]:
    """Show that balanced truncations do not fit, of an order, and return a modal truncation."""
    with pytest.raises(InvalidArgumentError, match="such as 'modal'"):
        compress_state_dict(case.state, order=order, options=options, method="balanced")
    tensors, records = compress_state_dict(case.state, order=2, options=options, method="modal")
    assert only(records).parameters[1] < only(records).parameters[0]
    return tensors


@pytest.mark.parametrize("name", ["exp", "softmax", "bidirectional"])
def test_dss_holds_modal_truncations(name: str):
    case = case_of("DSS", name)
    options = {"max_kernel_length": L} if name == "softmax" else {"version": "exp"}
    tensors = only_modal(case, options, 6)
    module = fresh(case, d_state=tensors["kernel.W"].shape[2])
    module.load_state_dict(tensors)
    reduced = bank(tensors, options)
    with torch.no_grad():
        output = module.linear(case.signal)
    assert relative(output, response(reduced, case.signal)) <= 1e-5
    if name != "bidirectional":
        expected = reduce(bank(case.state, options), 2, "modal").system
        assert relative(output, response(expected, case.signal)) <= 1e-5


def test_dss_holds_whatever_has_fewer_poles_in_all():
    case = case_of("DSS", "exp")
    tensors, records = compress_state_dict(case.state, order=2, options={"version": "exp"})
    expected = reduce(bank(case.state), 2).system
    poles = int((expected.states > 0).sum())
    assert only(records).sizes == {"d_state": poles}
    module = fresh(case, d_state=poles)
    module.load_state_dict(tensors)
    with torch.no_grad():
        output = module.linear(case.signal)
    assert relative(output, response(expected, case.signal)) <= 1e-5


def test_attenuate_holds_modal_truncations():
    case = load("attenuate")[2]
    tensors = only_modal(case, {}, 2)
    n = len(tensors["log_dt"])
    module = SSMLayer(n, 2, 3)
    module.load_state_dict(tensors)
    expected = reduce(read(case.state).system, 2, "modal").system
    system = read(tensors).system
    assert n == 1
    torch.testing.assert_close(
        system.impulse_response(L), expected.impulse_response(L), rtol=0, atol=1e-5
    )


def test_arguments_that_cannot_be():
    state = case_of("S4D", "disturbed").state
    with pytest.raises(InvalidArgumentError, match="exactly one"):
        compress_state_dict(state)
    with pytest.raises(InvalidArgumentError, match="exactly one"):
        compress_state_dict(state, order=2, ratio=0.5)
    with pytest.raises(InvalidArgumentError, match="order=9.*from 1 to 8"):
        compress_state_dict(state, order=9)
    with pytest.raises(UnknownNameError, match="method"):
        compress_state_dict(state, order=2, method="magic")
    with pytest.raises(UnknownNameError, match="family"):
        compress_state_dict(state, order=2, family="magic")
    with pytest.raises(InvalidArgumentError, match="options disc for family 's4d'"):
        compress_state_dict(state, order=2, options={"disc": "zoh"})
    with pytest.raises(InvalidArgumentError, match="no known layer"):
        compress_state_dict({"weight": torch.ones(2)}, order=2)
    unstable = dict(case_of("FFTConv", "real none").state)
    unstable["kernel.A_real"] = -unstable["kernel.A_real"]
    with pytest.raises(UnstableSystemError, match="does not decay"):
        compress_state_dict(unstable, order=2, options={"real_transform": "none"})
