"""Checkpoints and plain systems on the command line: a file in, a smaller file out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cli.test_cli import refused, run, run_json
from hydropress.models.checkpoint import save
from hydropress.systems.modal import ModalSystem
from models.adapters.originals import case_of, channels_first, fresh, relative
from tiny import tiny_model

CASE = case_of("FFTConv", "bilinear")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working directory with a Lightning checkpoint, plain systems and a model."""
    monkeypatch.chdir(tmp_path)
    state = {f"model.layers.0.{name}": value for name, value in CASE.state.items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "last.ckpt")
    poles = np.array([[0.9 + 0.1j, 0.5 + 0.3j, 0.2 + 0j]])
    np.savez(tmp_path / "plant.npz", poles=poles, residues=np.array([[1.0, 0.1, 0.05 + 0j]]))
    save(tiny_model(), tmp_path / "model")
    return tmp_path


def linear(tensors: dict[str, torch.Tensor], **sizes: Any) -> torch.Tensor:
    """Return what the original class computes with tensors that the command wrote."""
    module = fresh(CASE, **sizes)
    module.load_state_dict({name.split(".", 2)[2]: one for name, one in tensors.items()})
    with torch.no_grad():
        return module.linear(channels_first(CASE))


def test_a_checkpoint_becomes_one_that_the_same_class_loads(place):
    command = ("compress", "last.ckpt", "--option", "disc=bilinear", "--out")
    wanted = linear({f"layers.0.{name}": value for name, value in CASE.state.items()})
    run(*command, "whole", "--ratio", "1")
    assert relative(linear(load_file("whole/tensors.safetensors")), wanted) <= 1e-5
    result = run_json(*command, "half", "--ratio", "0.5")
    (layer,) = result["layers"]
    assert layer["family"] == "s4"
    assert layer["options"]["disc"] == "bilinear"
    assert layer["parameters"][1] < layer["parameters"][0]
    half = linear(load_file(result["out"]), **layer["sizes"])
    assert 1e-3 < relative(half, wanted) < 0.5
    shown = run(*command, "half", "--ratio", "0.5").stdout  # its own earlier output
    assert "disc=bilinear" in shown
    assert f"d_state={layer['sizes']['d_state']}" in shown


def test_plain_systems_become_smaller_ones(place):
    result = run_json("compress", "plant.npz", "--order", "2", "--out", "small")
    assert result["systems"]["reduced_order"] == [2]
    full, small = (
        ModalSystem.siso(torch.from_numpy(file["poles"]), torch.from_numpy(file["residues"]))
        for file in (np.load("plant.npz"), np.load(result["out"]))
    )
    missed = full.impulse_response(300) - small.impulse_response(300)
    error = float(missed.norm() / full.impulse_response(300).norm())
    assert error == pytest.approx(result["systems"]["relative_error"][0], rel=1e-3)
    assert "H² error" in run("compress", "plant.npz", "--order", "1", "--out", "one").stdout


def test_safetensors_hold_either(place):
    tensors = {"poles.real": torch.tensor([[0.9]]), "poles.imag": torch.tensor([[0.1]])}
    weights = {"residues.real": torch.ones(1, 1), "residues.imag": torch.zeros(1, 1)}
    save_file({**tensors, **weights}, "plant.safetensors")
    assert "systems" in run_json("compress", "plant.safetensors", "--order", "2", "--out", "a")
    save_file({name: one.contiguous() for name, one in CASE.state.items()}, "layer.safetensors")
    assert "layers" in run_json("compress", "layer.safetensors", "--order", "2", "--out", "b")


def test_a_file_is_not_written_over(place):
    tensors = {name: one.contiguous() for name, one in CASE.state.items()}
    save_file(tensors, "layer.safetensors")
    made = Path(run_json("compress", "layer.safetensors", "--order", "2", "--out", "out")["out"])
    before = made.read_bytes()
    result = run("compress", str(made), "--order", "2", "--out", "out", code=2)
    assert "required: another folder" in result.stderr
    assert made.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("last.ckpt", "--tolerance", "0.1"), "--tolerance with the file last.ckpt"),
        (("last.ckpt", "--ratio", "0.5", "--calibration", "data"), "only tensors"),
        (("last.ckpt",), "exactly one of them"),
        (("last.ckpt", "--order", "2", "--option", "disc"), "name=value"),
        (("last.ckpt", "--order", "2", "--option", "dics=zoh"), "options dics"),
        (("last.ckpt", "--order", "2", "--family", "s9"), "s9"),
        (("last.ckpt", "--order", "2", "--method", "magic"), "magic"),
        (("plant.npz", "--order", "2", "--family", "s4"), "plain systems"),
        (("model", "--order", "2", "--family", "s4"), "--family with the model model"),
        (("model", "--order", "2", "--option", "disc=zoh"), "--option"),
        (("broken.npz", "--order", "2"), "broken.npz"),
        (("broken.safetensors", "--order", "2"), "broken.safetensors"),
    ],
)
def test_what_does_not_fit_is_one_error_and_leaves_nothing(place, arguments, words):
    for name in ("broken.npz", "broken.safetensors"):
        Path(name).write_bytes(b"PK\x03\x04 and then nothing")
    assert words in refused("compress", *arguments, "--out", "small")
    assert not Path("small").exists()
