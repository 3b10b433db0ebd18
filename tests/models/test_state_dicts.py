"""Files of other people's tools give the tensors that went in, under their own names."""

import base64
import io
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

import hostile
from hydropress.errors import MissingLibraryError
from hydropress.models.state_dicts import PREFIXES, read_state_dict, strip_prefixes

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
]


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype, name
        assert found[name].shape == value.shape, name
        assert torch.equal(found[name], value), name
        assert found[name].is_contiguous()
        assert not found[name].requires_grad
    return True


WRAPPED = {
    "alone": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": 0.5, "note": "ü"},
    "model": lambda state: {"model": state, "step": 7, "done": False, "best": None},
    "module": lambda state: {"module": state, "lr": [0.1, (0.2, 1)]},
    "all are tensors": lambda state: {"model": dict(state)},
    "in a wrapper's names": lambda state: {f"module.model.{k}": v for k, v in state.items()},
    "compiled": lambda state: {"state_dict": {f"model._orig_mod.{k}": v for k, v in state.items()}},
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin", ".PT"])
def test_a_model_is_found_wherever_it_is(tmp_path, wrap, suffix):
    state = network().state_dict()
    torch.save(wrap(state), tmp_path / f"file{suffix}")
    assert same(read_state_dict(str(tmp_path / f"file{suffix}")), dict(state))


def test_a_training_state_is_left_out(tmp_path):
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    path = tmp_path / "file.pt"
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    assert same(read_state_dict(path), dict(model.state_dict()))


SETTINGS = {
    "numbers": {"width": 4},
    # As state-spaces/s4 has them: a tree of OmegaConf, with references and open types.
    "of OmegaConf": OmegaConf.create(
        {"model": {"d_model": 4, "layer": [{"_name_": "s4", "mode": "diag", "l_max": None}]},
         "rate": 0.5, "width": "${model.d_model}", "bidirectional": True}
    ),
}  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_checkpoint_of_lightning(tmp_path, settings):
    class Module(lightning.LightningModule):
        def __init__(self, config: Any) -> None:
            super().__init__()
            self.save_hyperparameters(config, logger=False)
            self.model = network()

        def training_step(self, batch: Any) -> Tensor:
            return self.model(batch[0]).square().mean()

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters())
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

    module = Module(settings)
    trainer = lightning.Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(4, 3)), 4)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "file.ckpt")
    assert same(read_state_dict(tmp_path / "file.ckpt"), dict(module.model.state_dict()))


def test_settings_are_read_where_omegaconf_is_not(tmp_path):
    tree = {"state_dict": {"weight": torch.arange(3.0)}, "config": SETTINGS["of OmegaConf"]}
    torch.save(tree, tmp_path / "file.ckpt")
    program = (
        "import sys; sys.modules['omegaconf'] = None\n"
        "from hydropress.models.state_dicts import read_state_dict\n"
        "print(read_state_dict(sys.argv[1])['weight'].tolist())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "file.ckpt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "[0.0, 1.0, 2.0]\n", done.stderr


def test_nested_names_are_joined_with_dots(tmp_path):
    tree = {"b": {"c": torch.ones(1), "a": {"x": torch.zeros(2)}}, "a": torch.ones(3)}
    torch.save(OrderedDict(tree), tmp_path / "file.pt")
    assert [*read_state_dict(tmp_path / "file.pt")] == ["b.c", "b.a.x", "a"]


def views() -> dict[str, Tensor]:
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "whole": base,
        "transposed": base.T,
        "part": base[1:3, ::2],
        "row": base[2],
        "conjugated": torch.randn(3, 2, dtype=torch.complex64).mH,
        "negated": torch.randn(3, 2, dtype=torch.complex64).conj().imag,
        "number": torch.tensor(3),
        "nothing": torch.zeros(0, 5),
        "parameter": nn.Parameter(torch.ones(2)),
    }


def test_views_come_out_as_what_they_show(tmp_path):
    tree = views()
    assert tree["conjugated"].is_conj()
    assert tree["negated"].is_neg()
    torch.save(tree, tmp_path / "file.pt")
    shown = {name: torch.from_numpy(np.array(value.tolist())) for name, value in tree.items()}
    found = read_state_dict(tmp_path / "file.pt")
    assert list(found) == list(tree)
    for name, value in found.items():
        assert value.dtype == tree[name].dtype
        assert not value.is_conj() and not value.is_neg() and value.is_contiguous()
        assert torch.equal(value, shown[name].to(value.dtype).reshape(tree[name].shape)), name


def test_a_file_of_a_big_endian_machine(tmp_path):
    records = {"data/0": np.arange(4, dtype=">f4").tobytes(), "byteorder": b"big"}
    content = hostile.archive(hostile.pickled({"a": hostile.View()}), records)
    (tmp_path / "file.pt").write_bytes(content)
    assert same(read_state_dict(tmp_path / "file.pt"), {"a": torch.arange(4.0)})


def test_tied_weights_stay_tied(tmp_path):
    weight = torch.randn(4, 3)
    tied = {"a": weight, "b": weight, "c": weight[:2]}
    torch.save(tied, tmp_path / "file.pt")
    found = read_state_dict(tmp_path / "file.pt")
    assert found["a"] is found["b"]
    assert torch.equal(found["c"], weight[:2])


FORMATS = [
    (suffix, dtype)
    for suffix in (".pt", ".safetensors", ".msgpack")
    for dtype in DTYPES
    if (suffix, dtype) != (".safetensors", torch.complex128)  # it has no such type
]


@pytest.mark.parametrize(("suffix", "dtype"), FORMATS, ids=str)
def test_every_type_comes_through(tmp_path, suffix, dtype):
    values = torch.tensor([[1, 0, 1], [0, 0, 1]]).to(dtype) * (1 if dtype == torch.bool else 3)
    tensors, path = (
        {"a": values.to(dtype), "b": values[0, 0].to(dtype).clone()},
        tmp_path / f"file{suffix}",
    )
    if suffix == ".pt":
        torch.save(tensors, path)
    elif suffix == ".safetensors":
        save_file(tensors, path)
    else:
        name = str(dtype).removeprefix("torch.")
        path.write_bytes(
            hostile.message(
                {
                    key: hostile.array(
                        tuple(value.shape), name, bytes(value.reshape(-1).view(torch.uint8).numpy())
                    )
                    for key, value in tensors.items()
                }
            )
        )
    assert same(read_state_dict(path), tensors)


def test_the_tensors_do_not_depend_on_the_file(tmp_path):
    for suffix in (".pt", ".safetensors"):
        path = tmp_path / f"file{suffix}"
        state = {k: v.clone() for k, v in network().state_dict().items()}
        torch.save(state, path) if suffix == ".pt" else save_file(state, path)
        found = read_state_dict(path)
        path.write_bytes(bytes(path.stat().st_size))
        assert same(found, state)


# Written by Flax 0.12.8: to_bytes of the training state below, with pieces of 32 bytes, and
# msgpack_serialize of the numbers.
FLAX_STATE = (
    "g{E*}a$#+Af~RF}V{c?-a)PF7WpZw1Y{w=6lac}hr)F$#VRSPx#25eo00000fIk2L06+i$KtKQhfIt8Mpg^QzX<>"
    "866akZw1E^wVY;R$7F*d{oz(2r0z(1&LVR>b8b6+rmrc7aNVq{^*9|4n*0;ywfZE$R5cs4Y|5C8yxKL7v#KmY&$f"
    "B*nMz@uVmXM?$4Uu|<|aA9L>Ut?%>Zfj*^Utw}`VR>I)!=-a*VQ^)Fp)drYF$Jb$XmxIDbAzEU$1MSqkqD<|Y;R$"
    "7Gcv>=00000004kL0000$002Nh004kM005vs006*1007`Xp)toT0h5skr)F$#VRSPx#2^3w06_o%5J3O{AVB~CFh"
    "KwSKtTWiP(c6yU_k%?a6zFm#~lHakp!n^Y;R$7Gcv>w004kN004+V0059d005Xlt72hvV`yJ<bYXOJfuwC^VQ$A2"
    "0h5ser)F$#VRSPx#0UTYfIk2LfIp;jbY*Y{q;g?&W!M9gkf&yBZ((#ZGQ<P`0DwNJZ*X*9b97;JWrCqFf~8|`b#8"
    "RW4gr&prD<+-Gcv>k0{{R3qHT47p)ki00h5sdr)F$#VRSPx!~_5U005yefB"
)
FLAX_NUMBERS = (
    "fu?X_a$#+Agr#O|VP|v43;~mo0;FPZZ*0T@0RX0Mb!}p0a>ot>laQrpZgev;!~_EX005<PV_|G%#}osTkf&yBZ(("
    "#cG{gu1000000N_8NddCw2lFL8v00000007HC000000000"
)


def test_a_training_state_of_flax_itself(tmp_path):
    (tmp_path / "file.msgpack").write_bytes(base64.b85decode(FLAX_STATE))
    expected = {
        "params.encoder.kernel": torch.arange(6.0).reshape(2, 3),
        "params.encoder.bias": torch.full((3,), 1.5, dtype=torch.bfloat16),
        "params.layers_0.Lambda": torch.tensor([1 + 2j, -3j]),
        "params.layers_0.big": torch.arange(20.0).reshape(4, 5),
        "batch_stats.mean": torch.ones(2),
    }
    assert same(read_state_dict(tmp_path / "file.msgpack"), expected)


def test_numbers_of_flax_itself(tmp_path):
    (tmp_path / "file.msgpack").write_bytes(base64.b85decode(FLAX_NUMBERS))
    expected = {
        "scale": torch.tensor(0.5, dtype=torch.float64),
        "number": torch.tensor(3, dtype=torch.int32),
        "z": torch.tensor(1 + 2j, dtype=torch.complex128),
        "flags": torch.tensor([True, False]),
    }
    assert same(read_state_dict(tmp_path / "file.msgpack"), expected)


def test_pieces_are_put_together(tmp_path):
    values = torch.arange(6.0)
    chunks = [
        hostile.array((2,), content=bytes(v.view(torch.uint8).numpy())) for v in values.split(2)
    ]
    tree = {"params": {"a": hostile.pieces((2, 3), *chunks)}, "step": 5, "opt_state": {"0": {}}}
    (tmp_path / "file.msgpack").write_bytes(hostile.message(tree))
    assert same(read_state_dict(tmp_path / "file.msgpack"), {"a": values.reshape(2, 3)})


def test_flax_needs_msgpack_only_when_it_is_used(tmp_path, monkeypatch):
    (tmp_path / "file.msgpack").write_bytes(hostile.message({"a": hostile.array()}))
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(MissingLibraryError, match=r"required.*hydropress\[flax\]"):
        read_state_dict(tmp_path / "file.msgpack")
    torch.save(network().state_dict(), tmp_path / "file.pt")
    read_state_dict(tmp_path / "file.pt")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.a", "model.b"], ["a", "b"]),
        (["module.model.a", "module.model.b.c"], ["a", "b.c"]),
        (["model.a", "decoder.b"], ["model.a", "decoder.b"]),
        (["model.a", "model."], ["model.a", "model."]),
        (["model._orig_mod.net.a"], ["a"]),
        (["models.a"], ["models.a"]),
        (["encoder.a", "encoder.b"], ["encoder.a", "encoder.b"]),
        ([], []),
    ],
)
def test_only_what_all_share_is_taken_away(names, expected):
    assert strip_prefixes(names) == dict(zip(names, expected, strict=True))


@given(
    st.lists(st.sampled_from(PREFIXES)),
    st.lists(st.text("abc", min_size=1), unique=True, min_size=1),
)
def test_any_pile_of_wrappers_comes_off(prefixes, names):
    wrapped = ["".join(prefixes) + name for name in names]
    assert strip_prefixes(wrapped) == dict(zip(wrapped, names, strict=True))


def test_the_hand_made_archives_are_sound(tmp_path: Path):
    """What the hostile cases spoil, PyTorch reads if it is not spoilt."""
    content = hostile.archive(hostile.pickled({"a": hostile.View()}))
    assert torch.equal(torch.load(io.BytesIO(content))["a"], torch.zeros(4))
    (tmp_path / "file.pt").write_bytes(content)
    assert torch.equal(read_state_dict(tmp_path / "file.pt")["a"], torch.zeros(4))
    (tmp_path / "plain.safetensors").write_bytes(hostile.tensors_file({"a": hostile.entry()}))
    assert torch.equal(read_state_dict(tmp_path / "plain.safetensors")["a"], torch.zeros(4))
    assert zipfile.is_zipfile(tmp_path / "file.pt")
