"""Models written to a directory come back bit for bit, whatever happens on the way."""

import json
import os
import pickle
import threading
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch

from hydropress.atomic import write_atomically
from hydropress.errors import HydropressError, InvalidArgumentError
from hydropress.models import checkpoint
from hydropress.models.checkpoint import CONFIG, TENSORS, load, save, save_tensors
from hydropress.models.classifier import SequenceClassifier, SSMBlock
from hydropress.models.dss import DSS
from hydropress.models.s4d import S4D
from hydropress.models.s5 import S5
from ragged import compressed_model, modal_mimo_model
from tiny import tiny_model


def ssm_of(model: SequenceClassifier, index: int):
    block = model.blocks[index]
    assert isinstance(block, SSMBlock)
    return block.ssm


MODELS = {
    "lin": tiny_model,
    "post": lambda: tiny_model(norm="post", pooling="last", discretization="bilinear"),
    "legs": lambda: tiny_model(initialization="legs", num_inputs=3, num_classes=2),
    "real": lambda: tiny_model(initialization="real", state_size=5, bidirectional=True),
    "float64": lambda: tiny_model().double(),
    "dss": lambda: tiny_model(layer="dss"),
    "dss softmax": lambda: tiny_model(layer="dss", softmax_length=20, bidirectional=True),
    "s5": lambda: tiny_model(layer="s5", state_blocks=2, discretization="bilinear"),
    "s5, both ways": lambda: tiny_model(layer="s5", bidirectional=True),
    "lru": lambda: tiny_model(layer="lru", ring=(0.5, 0.9), max_phase=1.0),
    "lru, both ways float64": lambda: tiny_model(layer="lru", bidirectional=True).double(),
    "modal mimo": modal_mimo_model,
    "modal mimo, both ways": lambda: modal_mimo_model(bidirectional=True),
    "modal mimo float64": lambda: modal_mimo_model().double(),
    "compressed": compressed_model,
    "compressed, both ways": lambda: compressed_model(bidirectional=True),
    "compressed float64": lambda: compressed_model().double(),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_a_model_comes_back_bit_for_bit(tmp_path, make):
    model = make()
    save(model, tmp_path / "a" / "model")
    again = load(str(tmp_path / "a" / "model"))
    assert again.config == model.config
    assert not again.training
    before, after = model.state_dict(), again.state_dict()
    assert list(before) == list(after)
    for name, value in before.items():
        assert value.dtype == after[name].dtype, name
        assert torch.equal(value, after[name]), name
    sequences = torch.randn(2, 50, model.config.num_inputs, dtype=model.decoder.weight.dtype)
    with torch.no_grad():
        assert torch.equal(model(sequences), again(sequences))
    assert all(parameter.requires_grad for parameter in again.parameters())
    # Saved once more, it is the same file.
    save(again, tmp_path / "b")
    for name in (CONFIG, TENSORS):
        first, second = tmp_path / "a" / "model" / name, tmp_path / "b" / name
        assert first.read_bytes() == second.read_bytes()


def test_a_directory_holds_two_readable_files(tmp_path):
    save(compressed_model(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, TENSORS]
    description = json.loads((tmp_path / CONFIG).read_text())
    assert description == {
        "format": "hydropress-classifier",
        "version": 1,
        "config": {
            "num_inputs": 1,
            "num_classes": 10,
            "num_tokens": 0,
            "pairs": False,
            "channels": 4,
            "num_layers": 2,
            "state_size": 8,
            "initialization": "lin",
            "discretization": "zoh",
            "bidirectional": False,
            "step_range": [0.001, 0.1],
            "norm": "pre",
            "normalization": "layer",
            "pooling": "mean",
            "dropout": 0.1,
        },
        "layers": [{"kind": "s4d"}, {"kind": "modal", "pairs": 2, "reals": 2}],
    }


def test_a_description_of_another_layer_says_all_of_it(tmp_path):
    save(modal_mimo_model(bidirectional=True), tmp_path)
    description = json.loads((tmp_path / CONFIG).read_text())
    config = description["config"]
    assert (config["layer"], config["state_blocks"]) == ("s5", 1)
    assert config["ring"] == [0.0, 1.0]
    assert description["layers"] == [
        {"kind": "s5"},
        {
            "kind": "modal_mimo",
            "pairs": [2, 1],
            "reals": [1, 2],
            "full_feedthrough": True,
        },
    ]


def test_what_was_saved_before_there_were_other_layers_is_still_read():
    folder = resources.files("hydropress.data").joinpath("models")
    names = [entry.name for entry in folder.iterdir() if entry.is_dir()]
    assert names
    for name in names:
        config = json.loads(folder.joinpath(name, CONFIG).read_text(encoding="utf-8"))["config"]
        assert "layer" not in config
        model = load(str(folder.joinpath(name)))
        assert model.config.layer == "s4d"
        assert model.config.to_dict() == config


def test_a_loaded_model_does_not_depend_on_its_files(tmp_path):
    save(tiny_model(0), tmp_path)
    model = load(tmp_path)
    sequences = torch.randn(1, 20, 1)
    before = model(sequences)
    path = tmp_path / TENSORS
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(model(sequences), before)


def test_a_loaded_model_learns(tmp_path):
    save(compressed_model(), tmp_path)
    model = load(tmp_path).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(4, 20, 1)).square().mean().backward()
    before = ssm_of(model, 1).get_parameter("pair_C").detach().clone()
    optimizer.step()
    assert not torch.equal(before, ssm_of(model, 1).get_parameter("pair_C"))


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        save(tiny_model(), tmp_path / "model")
        save_tensors({"a": torch.zeros(1)}, tmp_path / "tensors")
        write_atomically(tmp_path / "text", "text")
    finally:
        os.umask(before)
    files = [tmp_path / "tensors", tmp_path / "text", *(tmp_path / "model").iterdir()]
    assert len(files) == 4
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o777 & ~umask


class _MyS4D(S4D):
    """May do anything."""


class _Stop(BaseException):
    """Ctrl-C, or whatever else ends a process between two lines."""


INTERRUPTED = ["serialize", "write_bytes", "write_text"]


@pytest.mark.parametrize("at", INTERRUPTED)
@pytest.mark.parametrize("error", [_Stop, OSError])
def test_an_interrupted_save_leaves_the_old_model(tmp_path, monkeypatch, at, error):
    old, new = tiny_model(0), compressed_model(seed=1)
    save(old, tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def stop(self: Any, content: Any, *_: Any, **__: Any) -> None:
        if isinstance(self, Path):
            # Half of it had reached the disk.
            half = content[: len(content) // 2]
            self.open("wb").write(half if isinstance(half, bytes) else half.encode())
        raise error("no space left")

    with monkeypatch.context() as patch:
        if at == "serialize":
            patch.setattr(checkpoint, "serialize", lambda tensors: stop(None, tensors))
        else:
            patch.setattr(Path, at, stop)
        with pytest.raises(error):
            save(new, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
    load(tmp_path)
    save(new, tmp_path)
    assert torch.equal(load(tmp_path).decoder.weight, new.decoder.weight)


def test_text_and_tensors_are_written_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old ä")
    assert path.read_text(encoding="utf-8") == "old ä"
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
        for attempt in (
            lambda: write_atomically(path, "new"),
            lambda: save_tensors({"a": torch.ones(2)}, path),
        ):
            with pytest.raises(OSError, match="no"):
                attempt()
    assert path.read_text(encoding="utf-8") == "old ä"
    assert list(tmp_path.iterdir()) == [path]


def replace_ssm(model: SequenceClassifier, layer: Any) -> SequenceClassifier:
    model.blocks[0].ssm = layer
    return model


def with_odd_tensor() -> SequenceClassifier:
    model = tiny_model()
    model.encoder.double()
    return model


UNSAVABLE = {
    "another discretization": lambda: replace_ssm(
        tiny_model(), S4D(4, 8, discretization="bilinear")
    ),
    "a class derived from a known one": lambda: replace_ssm(tiny_model(), _MyS4D(4, 8)),
    "another family": lambda: replace_ssm(tiny_model(), S5(4, 8)),
    "another discretization of S5": lambda: replace_ssm(
        tiny_model(layer="s5"), S5(4, 8, discretization="bilinear")
    ),
    "another softmax": lambda: replace_ssm(tiny_model(layer="dss"), DSS(4, 8, softmax_length=9)),
    "another size": lambda: replace_ssm(tiny_model(), S4D(4, 6)),
    "another kind": lambda: replace_ssm(tiny_model(), torch.nn.Identity()),
    "mixed precision": with_odd_tensor,
    "complex": lambda: tiny_model().to(torch.complex64),
}


@pytest.mark.parametrize("make", UNSAVABLE.values(), ids=UNSAVABLE.keys())
@pytest.mark.filterwarnings("ignore:Complex modules")
def test_models_that_the_format_does_not_describe_are_refused(tmp_path, make):
    with pytest.raises(InvalidArgumentError, match="required: "):
        save(make(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_file_is_no_place_for_a_model(tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(InvalidArgumentError, match="is a file"):
        save(tiny_model(), path)
    assert path.read_text() == "mine"


class _Attack:
    """What runs code when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.write_text, (self.target, "attacked")


def test_loading_never_unpickles(tmp_path, monkeypatch):
    save(tiny_model(), tmp_path)
    attack = _Attack(tmp_path / "attacked")
    pickle.loads(pickle.dumps(attack))
    assert (tmp_path / "attacked").exists()  # the attack works
    (tmp_path / "attacked").unlink()
    for write in (
        lambda p: torch.save({"a": attack}, p),
        lambda p: p.write_bytes(pickle.dumps(attack)),
    ):
        write(tmp_path / TENSORS)
        with pytest.raises(HydropressError, match="safetensors"):
            load(tmp_path)
        assert not (tmp_path / "attacked").exists()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("unpickling")

    save(tiny_model(), tmp_path)
    for module, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (torch, "load"),
    ):
        monkeypatch.setattr(module, name, refuse)
    load(tmp_path)


def test_writers_at_once_do_not_meet(tmp_path):
    path, errors = tmp_path / "file", []
    start = threading.Barrier(4)

    def write(text: str) -> None:
        start.wait()
        try:
            for _ in range(200):
                write_atomically(path, text)
        except OSError as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(str(name) * 1000,)) for name in range(4)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert not errors
    assert path.read_text() in {str(name) * 1000 for name in range(4)}
    assert list(tmp_path.iterdir()) == [path]
