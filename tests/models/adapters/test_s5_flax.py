"""Trees of lindermanlab/S5 against outputs recorded from it (``record/s5_flax.py``)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapter_oracles import FLOAT32, FLOAT64, awkward_system, response, worst
from hydropress.compression.state_dict import compress_state_dict
from hydropress.errors import InvalidArgumentError
from hydropress.models.adapters.complex_states import stack_outputs
from hydropress.models.adapters.protocol import LinearPart
from hydropress.models.adapters.s5_flax import S5Flax
from hydropress.models.adapters.trees import flatten_tree
from hydropress.reduction.reduce import reduce
from hydropress.systems.norms import h2_norm, relative_h2_error

VECTORS = np.load(Path(__file__).parent / "vectors" / "s5_flax.npz")
ADAPTER = S5Flax()
OPTIONS = {
    "plain": {},
    "bilinear": {"discretization": "bilinear", "clip_eigs": True},
    "free": {"conj_sym": False},
    "both": {"clip_eigs": True},
    "both-in-one": {"step_rescale": 0.5},
}
CASES = pytest.mark.parametrize("case", list(OPTIONS))
ONE_WAY = ("plain", "bilinear", "free")


def tree_of(case):
    names = [name for name in VECTORS.files if name.startswith(case + "/")]
    return {name.split("/")[1]: VECTORS[name] for name in names if not name.endswith("output")}


def settings(case) -> dict[str, Any]:
    return {**ADAPTER.options, **OPTIONS[case]}


def stand_in(tree, case):
    """Compute as the repository's class does, on its own arrays, one sample after another."""
    chosen = settings(case)
    tree = {name: np.asarray(value, dtype=np.float64) for name, value in tree.items()}

    def numbers(name):
        return tree[name][..., 0] + 1j * tree[name][..., 1]

    real = np.minimum(tree["Lambda_re"], -1e-4) if chosen["clip_eigs"] else tree["Lambda_re"]
    poles = real + 1j * tree["Lambda_im"]
    step = chosen["step_rescale"] * np.exp(tree["log_step"][:, 0])
    if chosen["discretization"] == "zoh":
        multiplier = np.exp(poles * step)
        gain = (multiplier - 1) / poles
    else:
        multiplier = (1 + step / 2 * poles) / (1 - step / 2 * poles)
        gain = step / (1 - step / 2 * poles)
    B = gain[:, None] * numbers("B")
    C = np.concatenate([numbers("C1"), numbers("C2")], -1) if "C1" in tree else numbers("C")
    signal = VECTORS["signal"]

    def states(sequence):
        x, out = np.zeros(len(poles)), []
        for sample in sequence:
            x = multiplier * x + B @ sample
            out.append(x)
        return np.array(out)

    x = states(signal)
    if C.shape[1] == 2 * len(poles):
        x = np.concatenate([x, states(signal[::-1])[::-1]], -1)
    factor = 2 if chosen["conj_sym"] else 1
    return torch.from_numpy(factor * (x @ C.T).real + tree["D"] * signal)


def read(tree, case):
    return ADAPTER.read(flatten_tree(tree), "", settings(case))


@CASES
def test_the_stand_in_is_the_original(case):
    assert (
        worst(stand_in(tree_of(case), case), torch.from_numpy(VECTORS[f"{case}/output"])) < FLOAT64
    )


@CASES
def test_the_system_read_is_the_original(case):
    part = read(tree_of(case), case)
    output = response(part, torch.from_numpy(VECTORS["signal"]))
    assert worst(output, torch.from_numpy(VECTORS[f"{case}/output"])) < FLOAT64
    assert part.system.order.tolist() == [8] * part.directions


@CASES
def test_written_as_it_was_read_it_computes_the_same(case):
    tree = tree_of(case)
    written = ADAPTER.write(flatten_tree(tree), "", read(tree, case).system, settings(case))
    again = {name: value.numpy() for name, value in written.items()}
    assert {name: value.shape for name, value in again.items()} == {
        name: value.shape for name, value in tree.items()
    }
    assert all(value.dtype == np.float32 for value in again.values())
    assert worst(stand_in(again, case), stand_in(tree, case)) < FLOAT32


@pytest.mark.parametrize("case", ONE_WAY)
def test_a_reduced_tree_has_smaller_arrays_and_the_reduced_systems_output(case):
    tree = tree_of(case)
    small, (record,) = compress_state_dict(tree, order=4, method="balanced", options=OPTIONS[case])
    states = len(small["Lambda_re"])
    assert states < len(tree["Lambda_re"])
    assert record.family == "s5" and record.sizes == {"H": 3, "P": states}
    numbers = sum(value.size for name, value in tree.items() if name != "D")
    assert sum(small[name].size for name in tree if name != "D") * 4 == numbers * states
    reduced = reduce(read(tree, case).system, 4, "balanced").system
    wanted = response(LinearPart(reduced), torch.from_numpy(VECTORS["signal"]))
    assert worst(stand_in(small, case), wanted) < FLOAT32
    assert read(small, case).system.order.tolist() == [4]


@pytest.mark.parametrize("case", ["both", "both-in-one"])
def test_both_directions_are_reduced_with_one_set_of_poles(case):
    tree = {name: value.astype(np.float64) for name, value in tree_of(case).items()}
    small, (record,) = compress_state_dict(tree, order=6, method="balanced", options=OPTIONS[case])
    assert set(small) == set(tree)
    states = len(small["Lambda_re"])
    assert states <= 6 and small["B"].shape == (states, 3, 2)
    part = read(small, case)
    assert (
        worst(stand_in(small, case), response(part, torch.from_numpy(VECTORS["signal"]))) < FLOAT64
    )
    assert part.system.order.tolist() == record.reduced_order.tolist() == [6, 6]
    # Measured on the whole response, with D, it errs as the reduction said.
    full = read(tree, case).system
    assert abs(error_of(full, part.system) / float(record.relative_error) - 1) < 0.02


def error_of(full, system):
    """Return the relative H² error of both directions and D together."""
    full, system = stack_outputs(full), stack_outputs(system)
    difference = relative_h2_error(full, system) * h2_norm(full)
    return float(
        torch.hypot(difference, torch.linalg.matrix_norm(full.D - system.D)) / h2_norm(full)
    )


@pytest.mark.parametrize("case", ONE_WAY)
def test_real_and_fast_and_slow_poles_are_kept(case):
    tree = {name: value.astype(np.float64) for name, value in tree_of(case).items()}
    system = awkward_system(3)
    system.exponents[0, 0].copy_(torch.tensor(-1e-7 + 0.3j))
    written = ADAPTER.write(flatten_tree(tree), "", system, settings(case))
    again = {name: value.numpy() for name, value in written.items()}
    part = read(again, case)
    assert relative_h2_error(system, part.system).max() < 1e-6
    assert part.system.order.tolist() == system.order.tolist()
    assert worst(stand_in(again, case), response(part, torch.from_numpy(VECTORS["signal"]))) < 1e-7


def test_the_layers_of_a_model_are_found_by_their_names():
    tree = nested(
        {name.removeprefix("model/"): VECTORS[name] for name in VECTORS.files if "model/" in name}
    )
    small, records = compress_state_dict({"params": tree}, ratio=0.5, method="balanced")
    names = [f"params.encoder.layers_{place}.seq" for place in range(2)]
    assert [record.name for record in records] == names
    new, old = (one["encoder"]["layers_1"] for one in (small["params"], tree))
    assert len(new["seq"]["Lambda_re"]) < len(old["seq"]["Lambda_re"])
    assert isinstance(new["seq"]["B"], np.ndarray)
    assert new["norm"]["scale"] is old["norm"]["scale"]


def nested(flat):
    tree = {}
    for name, value in flat.items():
        *path, leaf = name.split(".")
        place = tree
        for part in path:
            place = place.setdefault(part, {})
        place[leaf] = value
    return tree


def test_stacked_layers_and_s4_are_not_taken_for_one():
    tree = tree_of("plain")
    stacked = {name: np.stack([value, value]) for name, value in tree.items()}
    assert ADAPTER.find(flatten_tree(stacked)) == []
    assert ADAPTER.find(flatten_tree({"layer": tree})) == ["layer."]
    assert ADAPTER.find(flatten_tree({**tree, "C": tree["C"][..., 0]})) == []


def test_what_the_layout_cannot_hold_is_refused():
    tensors, options = flatten_tree(tree_of("plain")), settings("plain")
    with pytest.raises(InvalidArgumentError, match="off its diagonal"):
        ADAPTER.write(tensors, "", awkward_system(3, diagonal=False), options)
    both = flatten_tree(tree_of("both"))
    with pytest.raises(InvalidArgumentError, match="poles or B of their own"):
        ADAPTER.write(both, "", awkward_system(3, directions=2), settings("both"))
    with pytest.raises(InvalidArgumentError, match="discretization='euler'"):
        ADAPTER.read(tensors, "", {**options, "discretization": "euler"})
    with pytest.raises(InvalidArgumentError, match="step_rescale=0"):
        ADAPTER.read(tensors, "", {**options, "step_rescale": 0})
