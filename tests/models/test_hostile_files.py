"""Every malformed file is refused with one clear error, in little time and memory, and inert."""

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

import hostile
from hostile import CASES, Case
from hydropress.errors import FileFormatError
from hydropress.models.checkpoint import CONFIG, TENSORS
from hydropress.models.classifier import SequenceClassifier
from hydropress.models.state_dicts import read_state_dict
from tiny import tiny_model

PATIENCE = 10  # seconds; most take a hundredth of one
LARGEST = 160  # MiB in all; the longest pickle that is looked at takes half of them


def refused(read: Callable[[Any], Any], path: Path, error: type[Exception], message: str) -> None:
    start = time.monotonic()
    with pytest.raises(error, match=message) as caught:
        read(path)
    assert time.monotonic() - start < PATIENCE
    assert type(caught.value) is error
    received, _, rest = str(caught.value).partition("; required: ")
    required, _, remedy = rest.partition("; ")
    assert received.startswith(str(path.parent))
    assert len(required) > 5 and len(remedy) > 5
    assert len(str(caught.value)) < 1500 and "\n" not in str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_malformed_file_is_refused(tmp_path: Path, case: Case):
    refused(read_state_dict, case.write(tmp_path), case.error, case.message)
    assert not (tmp_path / "attacked").exists()


def test_the_attacks_would_work(tmp_path: Path):
    for name in ("attack.pt", "attack.ckpt"):
        case = next(case for case in CASES if case.name == name)
        torch.load(case.write(tmp_path), weights_only=False)
        assert (tmp_path / "attacked").read_text() == "attacked"
        (tmp_path / "attacked").unlink()


SOUND = {
    ".pt": hostile.SOUND,
    ".safetensors": save(hostile.WEIGHT),
    ".msgpack": hostile.message({"params": {"weight": hostile.array()}, "step": 3}),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spoilt")


@settings(max_examples=100)
@given(
    suffix=st.sampled_from(sorted(SOUND)),
    where=st.floats(0, 1, exclude_max=True),
    drop=st.integers(0, 9),
    put=st.binary(max_size=4),
)
def test_any_damage_is_an_error_or_another_sound_file(place, suffix, where, drop, put):
    content = SOUND[suffix]
    position = int(where * len(content))
    path = place / f"file{suffix}"
    path.write_bytes(content[:position] + put + content[position + drop :])
    try:
        tensors = read_state_dict(path)
    except FileFormatError:
        return
    assert all(torch.isfinite(value).all() for value in tensors.values())


def _config(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        description = json.loads((folder / CONFIG).read_text())
        edit(description)
        (folder / CONFIG).write_text(json.dumps(description))

    return apply


def _tensors(edit: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / TENSORS)
        edit(tensors)
        save_file(tensors, folder / TENSORS)

    return apply


def _bytes(name: str, content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(content((folder / name).read_bytes()))

    return apply


def _header_longer(content: bytes) -> bytes:
    return struct.pack("<Q", struct.unpack("<Q", content[:8])[0] + 1) + content[8:]


FOLDERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a later version": (_config(lambda d: d.update(version=2)), "version is 2"),
    "no version": (_config(lambda d: d.pop("version")), "version is missing"),
    "an unknown field": (_config(lambda d: d["config"].update(run="rm")), "config.run is unknown"),
    "a field of text": (_config(lambda d: d["config"].update(channels="4")), "channels is '4'"),
    "a huge model": (_config(lambda d: d["config"].update(channels=10**9)), "encoder.weight"),
    "a negative size": (_config(lambda d: d["config"].update(channels=-1)), "channels=-1"),
    "a list": (_bytes(CONFIG, lambda _: b"[]"), "not an object"),
    "deep": (_bytes(CONFIG, lambda _: b'{"a":' * 100_000), "not a model's description"),
    "no text": (_bytes(CONFIG, lambda _: b"\xff\xfe"), "not a model's description"),
    "config cut": (_bytes(CONFIG, lambda c: c[:100]), "not a model's description"),
    "tensors cut in the header": (_bytes(TENSORS, lambda c: c[:100]), "cannot be read"),
    "tensors cut in the data": (_bytes(TENSORS, lambda c: c[:-4]), "cannot be read"),
    "a header that is longer": (_bytes(TENSORS, _header_longer), "cannot be read"),
    "a pickle": (_bytes(TENSORS, lambda _: hostile.SOUND), "safetensors"),
    "NaN": (_tensors(lambda t: t["decoder.bias"].fill_(torch.nan)), "decoder.bias holds NaN"),
    "halves": (_tensors(lambda t: t.update({"decoder.bias": t["decoder.bias"].half()})), "F16"),
}


@pytest.mark.parametrize(("spoil", "message"), FOLDERS.values(), ids=FOLDERS)
def test_a_malformed_folder_is_refused(tmp_path: Path, spoil: Any, message: str):
    tiny_model().save_pretrained(tmp_path / "model")
    spoil(tmp_path / "model")
    refused(SequenceClassifier.from_pretrained, tmp_path / "model", FileFormatError, message)


def test_there_are_more_than_fifty_of_them(tmp_path: Path):
    names = {case.name for case in CASES}
    assert len(names) == len(CASES)
    contents = set[bytes]()
    for case in CASES:
        path = case.write(tmp_path)
        contents.add(path.read_bytes() if path.is_file() else case.name.encode())
    # The same content under several names counts once.
    assert len(contents) >= 100
    assert len(FOLDERS) >= 15
    kinds = [Path(name).suffix for name in names]
    assert min(map(kinds.count, (".pt", ".safetensors", ".msgpack"))) >= 15


# The files are written by another process, so that this one's peak is that of reading them.
MEASURE = """
import resource, sys
from pathlib import Path
from hydropress.errors import HydropressError
from hydropress.models.state_dicts import read_state_dict

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

folder = Path(sys.argv[1])
for path in sorted(folder.glob("sound*")):
    read_state_dict(path)
# What is declared and never touched counts too.
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 2**29, resource.RLIM_INFINITY))
for path in sorted((folder / "cases").iterdir()):
    before = peak()
    try:
        read_state_dict(path)
    except HydropressError as error:
        assert "fits in memory" not in str(error), error
    else:
        raise SystemExit(f"{path} was read")
    print(peak() - before, path.name)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of memory")
def test_the_files_cost_little_memory(tmp_path: Path):
    (tmp_path / "cases").mkdir()
    for case in CASES:
        case.write(tmp_path / "cases")
    for suffix, content in SOUND.items():
        (tmp_path / f"sound{suffix}").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    grown = [int(line.split()[0]) for line in done.stdout.splitlines()]
    assert len(grown) == len([*(tmp_path / "cases").iterdir()])
    assert sum(grown) < LARGEST, done.stdout
