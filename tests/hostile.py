"""Files that lie: tools that write them, and the cases that no reader may fall for.

A case is a name, how to write it, and what the error has to say.  They are made here, so that a
process of its own can read them all and tell how much memory that took.
"""

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import torch
from omegaconf import OmegaConf
from safetensors.torch import save as safetensors_bytes

from hydropress.errors import DataNotFoundError, FileFormatError

HUGE = 10**12


class Attack:
    """What leaves a file behind when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.write_text, (self.target, "attacked")


@dataclass(frozen=True)
class Storage:
    """A storage that a pickle names, whether it is there or not."""

    count: Any = 4
    key: Any = "0"
    kind: Any = torch.FloatStorage


class View:
    """A tensor as a pickle describes it, whether that can be or not."""

    def __init__(
        self,
        shape: Any = (4,),
        stride: Any = (1,),
        offset: Any = 0,
        storage: Any = Storage(),
    ) -> None:
        self.arguments = (storage, offset, shape, stride, False, OrderedDict())

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.arguments


class Call:
    """A function that a pickle calls."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.whole = (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.whole


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Storage):
            return ("storage", obj.kind, obj.key, "cpu", obj.count)
        return None


def pickled(tree: Any, protocol: int = 2) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(tree)
    return buffer.getvalue()


def archive(
    content: bytes,
    records: Mapping[str, bytes] | None = None,
    *,
    compression: int = zipfile.ZIP_STORED,
    folder: str = "archive",
) -> bytes:
    """Write a zip archive as torch.save lays it out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr(f"{folder}/data.pkl", content)
        for name, record in ({"data/0": bytes(16)} if records is None else records).items():
            file.writestr(f"{folder}/{name}", record)
        file.writestr(f"{folder}/version", b"3\n")
    return buffer.getvalue()


def saved(tree: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(tree, buffer, **options)
    return buffer.getvalue()


def message(tree: Any) -> bytes:
    packed = msgpack.packb(tree)
    assert packed is not None
    return packed


def ext(code: int, payload: Any) -> msgpack.ExtType:
    return msgpack.ExtType(code, payload if isinstance(payload, bytes) else message(payload))


def array(shape: Any = (4,), kind: Any = "float32", content: bytes = bytes(16)) -> msgpack.ExtType:
    return ext(1, (shape, kind, content))


def pieces(shape: Any, *chunks: Any) -> dict[str, Any]:
    sizes = {str(axis): size for axis, size in enumerate(shape)}
    return {
        "__msgpack_chunked_array__": True,
        "shape": sizes,
        "chunks": {str(number): chunk for number, chunk in enumerate(chunks)},
    }


def tensors_file(header: Any, content: bytes = bytes(16)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def entry(shape: Any = (4,), offsets: Any = (0, 16), kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}


@dataclass(frozen=True)
class Case:
    """A file, and what the error that refuses it has to say."""

    name: str
    make: Callable[[Path], Any]
    message: str
    error: type[Exception] = FileFormatError

    def write(self, folder: Path) -> Path:
        """Return the path to read."""
        path = folder / self.name
        content = self.make(path)
        if isinstance(content, bytes):
            path.write_bytes(content)
        return path


def _nested(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = {"a": leaf}
    return leaf


def _doubled(depth: int, leaf: Any, pair: Callable[[Any], Any]) -> Any:
    for _ in range(depth):
        leaf = pair(leaf)
    return leaf


def _cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


WEIGHT = {"weight": torch.arange(4.0)}
SOUND = saved(WEIGHT)
SPOILT = {"good": torch.ones(2), "spoilt": torch.tensor([1.0, float("nan")])}
# Each tuple holds the one before twice, so that a hash of the last takes 2^60 steps.
ENDLESS_HASH = b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"Ns."


def _twice() -> bytes:
    content = archive(pickled({"a": View()}), {"data/0": bytes(16), "data/1": bytes(16)})
    return content.replace(b"data/1", b"data/0")


CALLS: dict[str, tuple[bytes, str]] = {
    # What PyTorch's own reader of weights only would carry out ...
    "room.pt": (pickled({"a": Call(bytearray, HUGE)}), "__builtin__.bytearray|builtins.bytearray"),
    "room-tensor.pt": (
        b"\x80\x02ctorch\nFloatTensor\n\x8a\x06" + HUGE.to_bytes(6, "little") + b"\x85R.",
        "torch.FloatTensor",
    ),
    "hidden-method.pt": (pickled(Call(OrderedDict, state={"items": 1})), "attributes"),
    "sparse.pt": (saved({"a": torch.eye(3).to_sparse()}), "_rebuild_sparse_tensor|_get_layout"),
    # ... and what it would not.
    "settings-for-weights.pt": (saved({"a": OmegaConf.create({})}), "no tensor"),
    "eval.pt": (b"\x80\x02cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R.", "builtins.eval"),
    "system.pt": (b"(X\x04\x00\x00\x00trueios\nsystem\n.", "instruction INST os system"),
    "protocol-4.pt": (
        pickled(Call(eval, "1+1"), protocol=4),
        "PROTO 4, which torch.save never",
    ),
    "endless-hash.pt": (ENDLESS_HASH, "a dictionary with a tuple as key"),
    "new-object.pt": (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "instruction NEWOBJ"),
}

VIEWS: dict[str, tuple[Any, str]] = {
    "view-longer-than-storage.pt": (View((5,)), r"shape \(5,\)"),
    "view-huge.pt": (View((HUGE,)), "in a storage of 4 numbers"),
    "view-repeated.pt": (View((HUGE,), (0,)), "declares tensors of 4,000,000,000,000 bytes"),
    "view-huge-stride.pt": (View((2, 2), (HUGE, 1)), "strides"),
    "view-offset.pt": (View((4,), offset=1), "at 1 in a storage"),
    "view-backwards.pt": (View((4,), offset=-1), "damaged pickle"),
    "view-negative-shape.pt": (View((-4,)), "damaged pickle"),
    "view-negative-stride.pt": (View((4,), (-1,)), "damaged pickle"),
    "view-ranks.pt": (View((2, 2), (1,)), r"shorter|longer|damaged"),
    "view-fraction.pt": (View((4.0,)), "damaged pickle"),
    "view-of-nothing.pt": (View(storage=7), "damaged pickle"),
    "view-many-axes.pt": (View((1,) * 100, (1,) * 100), "damaged pickle"),
    "storage-declares-more.pt": (View(storage=Storage(HUGE)), "with 16 present"),
    "storage-declares-less.pt": (View((1,), storage=Storage(1)), "declares 4 bytes"),
    "storage-missing.pt": (View(storage=Storage(key="1")), "with 0 present"),
    "storage-elsewhere.pt": (View(storage=Storage(key="../../x")), "with 0 present"),
    "storage-negative.pt": (View(storage=Storage(-4)), "damaged pickle"),
    "storage-of-quarters.pt": (View(storage=Storage(4, kind=torch.QInt8Storage)), "QInt8Storage"),
}

TREES: dict[str, tuple[Any, str]] = {
    "number.pt": (7, "holds an int and no dictionary"),
    "lone-tensor.pt": (View(), "no dictionary of tensors"),
    "list.pt": ([View()], "holds a list"),
    "nothing.pt": ({}, "holds no tensor"),
    "numbers.pt": ({"epoch": 3}, "holds 'epoch', an int and no tensor"),
    "tensor-beside-number.pt": ({"a": View(), "epoch": 3}, "holds 'epoch'"),
    "list-inside.pt": ({"a": [View()]}, "holds 'a', a list and no tensor"),
    "number-as-key.pt": ({1: View()}, "key '1'"),
    "long-key.pt": ({"k" * 10_000: View()}, "no text of decent length"),
    "deep.pt": (_nested(100, View()), "nests over 32 deep"),
    "doubled.pt": (_doubled(30, View(), lambda t: {"a": t, "b": t}), "over 100,000 tensors"),
    "doubled-empty.pt": (_doubled(30, {}, lambda t: {"a": t, "b": t}), "over 100,000 tensors"),
    "same-name.pt": ({"a.b": View(), "a": {"b": View()}}, "holds 'a.b' twice"),
}

ARCHIVES: dict[str, tuple[Any, str]] = {
    "empty.pt": (b"", "is empty"),
    "text.pt": (b"hello", "no zip archive"),
    "zip-in-name-only.ckpt": (b"PK\x03\x04" + bytes(100), "no zip archive"),
    "half.ckpt": (_cut(SOUND, 0.5), "no zip archive"),
    "all-but-a-byte.bin": (SOUND[:-1], "no zip archive"),
    "before-1.6.pth": (saved(WEIGHT, _use_new_zipfile_serialization=False), "torch.save"),
    "other-zip.pt": (archive(b"", folder="a/b"), "without the one record data.pkl"),
    "program.pt": (archive(pickled({}), {"constants.pkl": b""}), "TorchScript"),
    "record-twice.pt": (_twice, "record twice"),
    "bomb.pt": (
        lambda: archive(pickled({"a": View((2**24,), storage=Storage(2**24))}),
                        {"data/0": bytes(2**26)}, compression=zipfile.ZIP_DEFLATED),
        "compressed record",
    ),
    "pickle-cut.pt": (archive(pickled({"a": View()})[:-9]), "cannot be read as a torch file"),
    "pickle-empty.pt": (archive(b""), "cannot be read as a torch file"),
    "pickle-no-text.pt": (archive(b"\x80\x02X\x02\x00\x00\x00\xff\xfe."), "torch file"),
    "pickle-stack.pt": (archive(b"\x80\x02\x86."), "damaged pickle"),
    "pickle-memo.pt": (archive(b"\x80\x02j\xff\xff\xff\xff."), "damaged pickle"),
    "pickle-long.pt": (lambda: archive(b"\x80\x02" + b"N0" * 2**20 + b"."), "instruction"),
    "pickle-many.pt": (lambda: archive(b"\x80\x02" + b"}" * 2**21 + b"."), "1,048,576 instr"),
    "pickle-large.pt": (lambda: archive(bytes(2**24 + 1)), "more than 16,777,216 bytes"),
    "other-type.pt": (saved({"a": torch.ones(4).to(torch.float8_e4m3fn)}), "float8_e4m3fn"),
    "module.pt": (saved(torch.nn.Linear(2, 2)), "objects other than tensors.*Linear"),
    "array.pt": (saved({"a": torch.ones(2).numpy()}), "objects other than tensors.*numpy"),
    "nan.pt": (saved(SPOILT), "NaN or infinity in 'spoilt'"),
    "infinite.pt": (saved({"a": torch.tensor([complex(0, float("inf"))])}), "infinity in 'a'"),
}  # fmt: skip

MESSAGES: dict[str, tuple[Any, str]] = {
    "no-map.msgpack": (7, "holds an int"),
    "no-tensors.msgpack": ({"step": 3}, "holds 'step', an int"),
    "list.msgpack": ({"a": [array()]}, "holds 'a', a list"),
    "keys.msgpack": ({1: array()}, "int is not allowed for map key"),
    "deep.msgpack": (_nested(100, array()), "nests over 32 deep"),
    "more-than-present.msgpack": ({"a": array((HUGE,))}, "with 16 present"),
    "less-than-present.msgpack": ({"a": array((3,))}, "declares 12 bytes"),
    "negative.msgpack": ({"a": array((-2, -2))}, r"shape \[-2, -2\]"),
    "fraction.msgpack": ({"a": array((4.0,))}, "has the shape"),
    "empty-and-huge.msgpack": ({"a": array((2**62, 2**62, 0), content=b"")}, "checkpoint of Flax"),
    "many-axes.msgpack": ({"a": array((1,) * 1000)}, "exceeds max_array_len"),
    "objects.msgpack": ({"a": array(kind="object")}, "has the type b'object'"),
    "other-type.msgpack": ({"a": array(kind="float8_e5m2")}, "float8_e5m2"),
    "no-triple.msgpack": ({"a": ext(1, (4, "float32"))}, "no triple"),
    "no-bytes.msgpack": ({"a": ext(1, ((4,), "float32", 16))}, "no triple"),
    "damaged-array.msgpack": ({"a": ext(1, b"\xc1")}, "checkpoint of Flax"),
    "other-extension.msgpack": ({"a": ext(7, 1)}, "extension type 7"),
    "complex.msgpack": ({"a": ext(2, ("1", 0.0))}, "extension type 2"),
    "pieces-missing.msgpack": ({"a": {"__msgpack_chunked_array__": True}}, "lacks its shape"),
    "pieces-gap.msgpack": (
        {"a": pieces((4,), array()) | {"chunks": {"1": array()}}}, "lacks the number '0'"),
    "pieces-huge.msgpack": ({"a": pieces((HUGE,), array())}, "comes in 4 numbers"),
    "pieces-mixed.msgpack": ({"a": pieces((8,), array(), array(kind="int32"))}, "mixed types"),
    "pieces-of-nothing.msgpack": ({"a": pieces((4,), 7)}, "no list of numbers"),
    "nan.msgpack": ({"a": array(content=b"\xff" * 16)}, "NaN or infinity in 'a'"),
}  # fmt: skip

FLAX_FILES: dict[str, tuple[bytes, str]] = {
    "empty.msgpack": (b"", "is empty"),
    "half.msgpack": (_cut(message({"a": array()}), 0.5), "checkpoint of Flax"),
    "more-after.msgpack": (message({"a": array()}) + b"\x00", "extra data"),
    "no-text.msgpack": (b"\x81\xa2\xff\xfe\x00", "utf-8"),
    "pickle.msgpack": (pickle.dumps(Path("x")), "checkpoint of Flax"),
    "long-list.msgpack": (b"\xdd\xff\xff\xff\xff", "max_array_len"),
    "long-map.msgpack": (b"\xdf\xff\xff\xff\xff", "max_map_len|incomplete"),
    "lists-in-lists.msgpack": (b"\xdc\xff\xff" * 100_000, "max_array_len"),
    "very-deep.msgpack": (b"\x81\xa1a" * 100_000, "checkpoint of Flax"),
}

SAFETENSORS: dict[str, tuple[bytes, str]] = {
    "empty.safetensors": (b"", "is empty"),
    "short.safetensors": (b"1234567", "as safetensors"),
    "pickle.safetensors": (SOUND, "as safetensors"),
    "long-header.safetensors": (struct.pack("<Q", 2**63) + b"{}", "as safetensors"),
    "half.safetensors": (_cut(safetensors_bytes(WEIGHT), 0.6), "as safetensors"),
    "more-after.safetensors": (safetensors_bytes(WEIGHT) + b"\0", "as safetensors"),
    "no-json.safetensors": (tensors_file(b"hello"), "as safetensors"),
    "no-text.safetensors": (tensors_file(b"\xff\xfe"), "as safetensors"),
    "list.safetensors": (tensors_file([]), "as safetensors"),
    "nothing.safetensors": (tensors_file({}, b""), "holds no tensor"),
    "deep.safetensors": (tensors_file(b'{"a":' * 50_000), "as safetensors"),
    "huge.safetensors": (tensors_file({"a": entry((HUGE,), (0, 4 * HUGE))}), "as safetensors"),
    "product.safetensors": (tensors_file({"a": entry((2**62, 2**62))}), "as safetensors"),
    "negative.safetensors": (tensors_file({"a": entry((-4,))}), "as safetensors"),
    "backwards.safetensors": (tensors_file({"a": entry(offsets=(16, 0))}), "as safetensors"),
    "overlap.safetensors": (
        tensors_file({"a": entry(), "b": entry((3,), (4, 16))}), "as safetensors"),
    "gap.safetensors": (tensors_file({"a": entry((3,), (4, 16))}), "as safetensors"),
    "unknown.safetensors": (tensors_file({"a": entry(kind="F1")}), "as safetensors"),
    "other-type.safetensors": (tensors_file({"a": entry((16,), kind="F8_E4M3")}), "type F8_E4M3"),
    "nan.safetensors": (safetensors_bytes(SPOILT), "NaN or infinity in 'spoilt'"),
}  # fmt: skip


def _attack(path: Path) -> bytes:
    return saved({"weight": torch.ones(2), "run": Attack(path.with_name("attacked"))})


def _lightning_attack(path: Path) -> bytes:
    attack = Attack(path.with_name("attacked"))
    return saved({"state_dict": WEIGHT, "hyper_parameters": {"run": attack}})


def _settings_attack(path: Path) -> bytes:
    settings = OmegaConf.create({"run": 1})
    return saved({"state_dict": WEIGHT, "config": [settings, Attack(path.with_name("attacked"))]})


PLACES = [
    Case("nowhere.pt", lambda _: None, "does not exist", DataNotFoundError),
    Case("directory.pt", Path.mkdir, "is a directory"),
    Case("directory.msgpack", Path.mkdir, "is a directory"),
    Case("pipe.pt", os.mkfifo, "no common file"),
    Case("weights.h5", lambda _: SOUND, "one of .safetensors"),
    Case("weights", lambda _: SOUND, "one of .safetensors"),
    Case("attack.pt", _attack, "code or objects other than tensors"),
    Case("attack.ckpt", _lightning_attack, "code or objects other than tensors"),
    Case("attack-in-settings.ckpt", _settings_attack, "code or objects other than tensors"),
    Case("attack.bin", lambda path: pickle.dumps(Attack(path.with_name("attacked"))), "no zip"),
]


def _cases(table: Mapping[str, tuple[Any, str]], write: Callable[[Any], bytes]) -> list[Case]:
    return [
        Case(name, lambda _, made=made: write(made() if callable(made) else made), message)
        for name, (made, message) in table.items()
    ]


CASES = [
    *PLACES,
    *_cases(CALLS, lambda made: made if made[:2] == b"PK" else archive(made)),
    *_cases({n: ({"a": v}, m) for n, (v, m) in VIEWS.items()}, lambda t: archive(pickled(t))),
    *_cases(TREES, lambda tree: archive(pickled(tree))),
    *_cases(ARCHIVES, lambda made: made),
    *_cases(MESSAGES, message),
    *_cases(FLAX_FILES, lambda made: made),
    *_cases(SAFETENSORS, lambda made: made),
]
