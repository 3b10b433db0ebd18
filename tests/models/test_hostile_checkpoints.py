"""Damaged and hostile model directories: one clear error each, quickly, and nothing executed."""

import json
import math
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from hydropress.errors import DataNotFoundError, FileFormatError
from hydropress.models.checkpoint import CONFIG, TENSORS, load, save
from ragged import compressed_model, modal_mimo_model

PATIENCE = 20  # seconds; a busy machine needs some, a declared size of 10^12 would need all


@pytest.fixture
def place(tmp_path) -> Path:
    save(compressed_model(), tmp_path)
    return tmp_path


def refused(place: Path, error: type[Exception] = FileFormatError) -> str:
    start = time.monotonic()
    with pytest.raises(error) as caught:
        load(place)
    assert time.monotonic() - start < PATIENCE
    message = str(caught.value)
    assert str(place) in message
    assert "required: " in message
    assert len(message) < 1500
    return message


# Paths


def test_what_is_missing(place):
    assert "does not exist" in refused(place / "nowhere", DataNotFoundError)
    (place / TENSORS).rename(place / "elsewhere")
    assert TENSORS in refused(place, DataNotFoundError)
    (place / CONFIG).unlink()
    assert CONFIG in refused(place, DataNotFoundError)


def test_what_is_of_the_wrong_kind(place):
    assert "wrong kind" in refused(place / CONFIG)
    for name in (CONFIG, TENSORS):
        content = (place / name).read_bytes()
        (place / name).unlink()
        (place / name).mkdir()
        assert "wrong kind" in refused(place)
        (place / name).rmdir()
        (place / name).write_bytes(content)
    load(place)


# The description

TEXTS = {
    "empty": b"",
    "no JSON": b"hello",
    "half": b'{"format": "hydropress-classifier", "version',
    "no text": b"\xff\xfe\x00\x80",
    "list": b"[]",
    "number": b"1",
    "null": b"null",
    "deep": b"[" * 200_000,
    "long": b" " * (2**22 + 1),
    "long number": b'{"version": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_texts_that_describe_nothing(place, text):
    (place / CONFIG).write_bytes(text)
    assert CONFIG in refused(place)


def change(*keys: Any, to: Any = None, drop: bool = False) -> Callable[[Any], None]:
    def apply(description: Any) -> None:
        for key in keys[:-1]:
            description = description[key]
        if drop:
            del description[keys[-1]]
        else:
            description[keys[-1]] = to

    return apply


MODAL = {"kind": "modal", "pairs": 2, "reals": 2}
DESCRIPTIONS = {
    "another format": (change("format", to="other"), "hydropress-classifier"),
    "a later version": (change("version", to=2), "version 1"),
    "a version as text": (change("version", to="1"), "version is '1'"),
    "true for one": (change("version", to=True), "version is True"),
    "no version": (change("version", drop=True), "version is missing"),
    "no config": (change("config", drop=True), "config is missing"),
    "config of another kind": (change("config", to=[]), r"config is \[\]"),
    "no layers": (change("layers", drop=True), "layers is missing"),
    "layers of another kind": (change("layers", to="s4d"), "layers is 's4d'"),
    "more layers": (change("layers", to=[MODAL] * 3), "3 layers listed"),
    "layer of another kind": (change("layers", 0, to={"kind": "rnn"}), r"layers\[0\].*kind"),
    "layer that is none": (change("layers", 0, to=7), r"layers\[0\] is 7"),
    "kind that has no hash": (change("layers", 0, to={"kind": []}), r"layers\[0\]"),
    "layer with a field too many": (change("layers", 0, "pairs", to=1), "pairs is unknown"),
    "layer with a field too few": (change("layers", 1, "reals", drop=True), "reals is missing"),
    "other kind than the tensors": (change("layers", 0, to=MODAL), "pair_log_decay is missing"),
    "unknown field": (change("surprise", to=1), "surprise is unknown"),
    "unknown field of the config": (change("config", "surprise", to=1), "config.surprise is unk"),
    "field too few": (change("config", "norm", drop=True), "config.norm is missing"),
    "number for text": (change("config", "norm", to=1), "config.norm is 1"),
    "unknown norm": (change("config", "norm", to="batch"), "'pre' or 'post'"),
    "text for a number": (change("config", "channels", to="4"), "config.channels is '4'"),
    "fraction for a number": (change("config", "channels", to=4.0), "config.channels is 4.0"),
    "truth for a number": (change("config", "channels", to=True), "config.channels is True"),
    "number for truth": (change("config", "bidirectional", to=0), "config.bidirectional is 0"),
    "NaN": (change("config", "dropout", to=math.nan), "config.dropout is nan"),
    "infinity": (change("config", "dropout", to=math.inf), "config.dropout is inf"),
    "dropout out of range": (change("config", "dropout", to=3.0), "dropout=3.0"),
    "short range": (change("config", "step_range", to=[0.1]), "a list of 2 numbers"),
    "range of texts": (change("config", "step_range", to=["a", "b"]), "a list of 2 numbers"),
    "range from zero": (change("config", "step_range", to=[0, 0.1]), "step_range="),
    "other width": (change("config", "channels", to=5), r"encoder.weight is F32 \(4, 1\), not"),
    "other states": (change("config", "state_size", to=10), "blocks.0.ssm.log_decay"),
    "odd states": (change("config", "state_size", to=7), "even number"),
    "no states": (change("config", "state_size", to=0), "state_size=0"),
    "no width": (change("config", "channels", to=0), "channels=0"),
    "negative width": (change("config", "channels", to=-4), "channels=-4"),
    "other depth": (change("config", "num_layers", to=3), "num_layers is 3"),
    "a million layers": (change("config", "num_layers", to=10**6), "num_layers is 1000000"),
    "a huge width": (change("config", "channels", to=10**9), "channels|encoder.weight"),
    "an absurd width": (change("config", "channels", to=10**40), "cannot be built"),
    "an absurd state": (change("config", "state_size", to=10**40), "cannot be built"),
    "a huge state": (change("config", "state_size", to=10**12), "log_decay|cannot be built"),
    "negative pairs": (change("layers", 1, "pairs", to=-1), "cannot be built"),
    "huge pairs": (change("layers", 1, "pairs", to=10**12), "blocks.1.ssm.pair_row"),
    "absurd pairs": (change("layers", 1, "pairs", to=10**40), "cannot be built"),
}


@pytest.mark.parametrize(("edit", "message"), DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
def test_descriptions_that_do_not_fit(place, edit, message):
    path = place / CONFIG
    description = json.loads(path.read_text())
    edit(description)
    path.write_text(json.dumps(description))
    with pytest.raises(FileFormatError, match=message):
        load(place)
    refused(place)


MIMO = {"kind": "modal_mimo", "pairs": [2], "reals": [1], "full_feedthrough": True}
MIMO_DESCRIPTIONS = {
    "another kind of own layer": (change("layers", 0, "kind", to="lru"), "kind is 'lru', and"),
    "another layer of the config": (change("config", "layer", to="s4d"), "kind is 's5', and"),
    "unknown layer": (change("config", "layer", to="rnn"), "config.layer is 'rnn'"),
    "another size of the ring": (change("config", "ring", to=[1]), "ring is .* 2 numbers"),
    "blocks that do not fit": (change("config", "state_blocks", to=3), "cannot be built"),
    "a huge state": (change("config", "state_size", to=2 * 10**6), "blocks.0.ssm.log_step"),
    "an absurd state": (change("config", "state_size", to=10**40), "cannot be built"),
    "a number for a list": (change("layers", 1, "pairs", to=2), "pairs is 2, not a list"),
    "texts for numbers": (change("layers", 1, "pairs", to=["2"]), "pairs is .* not a list"),
    "three directions": (change("layers", 1, "pairs", to=[2, 0, 0]), "pairs is .* not a list"),
    "a direction too many": (
        change("layers", 1, to=MIMO | {"pairs": [2, 0], "reals": [1, 0]}),
        "cannot be built",
    ),
    "no direction": (change("layers", 1, to=MIMO | {"pairs": [], "reals": []}), "cannot be built"),
    "directions that differ": (change("layers", 1, "reals", to=[1, 1]), "cannot be built"),
    "negative pairs": (change("layers", 1, "pairs", to=[-1]), "cannot be built"),
    "huge pairs": (change("layers", 1, "pairs", to=[10**12]), "blocks.1.ssm.pair_log_decay"),
    "absurd pairs": (change("layers", 1, "pairs", to=[10**40]), "cannot be built"),
    "absurd real poles": (change("layers", 1, "reals", to=[10**40]), "cannot be built"),
    "another D": (change("layers", 1, "full_feedthrough", to=False), r"blocks.1.ssm.D is F32"),
    "a number for truth": (change("layers", 1, "full_feedthrough", to=1), "full_feedthrough is 1"),
}


@pytest.mark.parametrize(
    ("edit", "message"), MIMO_DESCRIPTIONS.values(), ids=MIMO_DESCRIPTIONS.keys()
)
def test_descriptions_of_mimo_layers_that_do_not_fit(tmp_path, edit, message):
    save(modal_mimo_model(), tmp_path)
    path = tmp_path / CONFIG
    description = json.loads(path.read_text())
    assert description["layers"][1] == MIMO
    edit(description)
    path.write_text(json.dumps(description))
    with pytest.raises(FileFormatError, match=message):
        load(tmp_path)
    refused(tmp_path)


@pytest.mark.parametrize("layer", ["dss", "s5", "lru"])
def test_a_huge_state_costs_nothing_with_any_layer(place, layer):
    path = place / CONFIG
    description = json.loads(path.read_text())
    description["config"] |= {"layer": layer, "state_size": 2 * 10**6, "initialization": "legs"}
    description["layers"][0] = {"kind": layer}
    path.write_text(json.dumps(description))
    assert "blocks.0.ssm" in refused(place)


@pytest.mark.parametrize(("name", "value"), [("step_size", 0.0), ("real_sign", 0.5)])
def test_tensors_of_mimo_layers_that_do_not_fit(tmp_path, name, value):
    save(modal_mimo_model(), tmp_path)
    edit_tensors(tmp_path, fill(SSM + name, value))
    assert name in refused(tmp_path)


@pytest.mark.parametrize("initialization", ["legs", "inv", "real"])
def test_a_huge_state_costs_nothing_with_any_initialization(place, initialization):
    path = place / CONFIG
    description = json.loads(path.read_text())
    description["config"] |= {"initialization": initialization, "state_size": 2 * 10**6}
    path.write_text(json.dumps(description))
    refused(place)


# The tensors


def edit_tensors(place: Path, edit: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(place / TENSORS)
    edit(tensors)
    save_file(tensors, place / TENSORS)


def fill(name: str, value: float) -> Callable[[dict[str, torch.Tensor]], Any]:
    return lambda tensors: tensors[name].view(-1)[-1:].fill_(value)


def put(name: str, value: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], Any]:
    return lambda tensors: tensors.update({name: value})


SSM = "blocks.1.ssm."
TENSOR_EDITS = {
    "missing": (lambda tensors: tensors.pop("decoder.bias"), "decoder.bias is missing"),
    "unexpected": (put("extra", torch.zeros(3)), "extra is unexpected"),
    "a block too many": (put("blocks.2.mix.linear.bias", torch.zeros(8)), "tensors of 3 blocks"),
    "other shape": (put("decoder.bias", torch.zeros(11)), r"decoder.bias is F32 \(11,\), not"),
    "other precision": (put("decoder.bias", torch.zeros(10).double()), "decoder.bias is F64"),
    "integers": (put("decoder.bias", torch.zeros(10).long()), "decoder.bias is I64"),
    "all of another type": (
        lambda tensors: tensors.update({n: t.to(torch.int32) for n, t in tensors.items()}),
        "I32",
    ),
    "floating rows": (put(SSM + "pair_row", torch.zeros(2)), "pair_row is F32"),
    "truths": (put("decoder.weight", torch.zeros(10, 4).bool()), "decoder.weight is BOOL"),
    "NaN": (fill("decoder.bias", math.nan), "decoder.bias holds NaN or infinity"),
    "infinity": (fill("blocks.0.ssm.C", math.inf), "blocks.0.ssm.C holds NaN or infinity"),
    "row out of range": (fill(SSM + "pair_row", 4), "row that is none of its systems"),
    "negative row": (fill(SSM + "real_row", -1), "row that is none of its systems"),
    "step of zero": (fill(SSM + "step_size", 0), "step_size is not positive"),
    "negative step": (fill(SSM + "step_size", -1), "step_size is not positive"),
    "sign that is none": (fill(SSM + "real_sign", 0), "real_sign"),
}


@pytest.mark.parametrize(("edit", "message"), TENSOR_EDITS.values(), ids=TENSOR_EDITS.keys())
def test_tensors_that_do_not_fit(place, edit, message):
    edit_tensors(place, edit)
    with pytest.raises(FileFormatError, match=message):
        load(place)
    refused(place)


def with_header(header: bytes, rest: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + rest


def declared(shape: list[int], offsets: list[int]) -> bytes:
    return json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()


FILES = {
    "empty": b"",
    "seven bytes": b"1234567",
    "a header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header longer than the file": struct.pack("<Q", 100) + b"{}",
    "no JSON": with_header(b"hello"),
    "a list": with_header(b"[]"),
    "no text": with_header(b"\xff\xfe\xfd"),
    "deep": with_header(b'{"a":' * 5000),
    "a huge tensor": with_header(declared([10**12], [0, 4 * 10**12])),
    "an overflowing shape": with_header(declared([2**62, 2**62], [0, 4]), bytes(4)),
    "offsets backwards": with_header(declared([1], [4, 0]), bytes(4)),
    "offsets beyond the end": with_header(declared([1], [4, 8]), bytes(4)),
    "an unknown type": with_header(
        b'{"a": {"dtype": "F1", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)
    ),
    "nothing": with_header(b"{}"),
    "zip": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_files_that_are_none(place, content):
    (place / TENSORS).write_bytes(content)
    refused(place)


def test_files_cut_short(place):
    content = (place / TENSORS).read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for length in (8, header // 2, header, header + 1, len(content) // 2, len(content) - 1):
        (place / TENSORS).write_bytes(content[:length])
        assert TENSORS in refused(place)
    (place / TENSORS).write_bytes(content + b"\0")
    refused(place)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    place = tmp_path_factory.mktemp("original")
    torch.manual_seed(0)
    save(compressed_model(), place)
    return place, {name: (place / name).read_bytes() for name in (CONFIG, TENSORS)}


@settings(max_examples=150)
@given(name=st.sampled_from([CONFIG, TENSORS]), where=st.floats(0, 1), byte=st.integers(0, 255))
def test_one_wrong_byte_is_an_error_or_another_sound_model(original, name, where, byte):
    place, files = original
    for path, content in files.items():
        (place / path).write_bytes(content)
    # Half of the places lie in the header, where a byte matters most.
    last = 2500 if name == TENSORS and byte % 2 else len(files[name]) - 1
    position = min(int(where * last), len(files[name]) - 1)
    content = bytearray(files[name])
    content[position] = byte
    (place / name).write_bytes(content)
    try:
        model = load(place)
    except FileFormatError:
        return
    for tensor in model.state_dict().values():
        assert torch.isfinite(tensor).all()
    with torch.no_grad():
        assert model(torch.zeros(1, 4, model.config.num_inputs)).shape == (
            1,
            model.config.num_classes,
        )
