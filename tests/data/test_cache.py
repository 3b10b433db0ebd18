"""Cached tensors: built once, rebuilt for another description, refused when damaged."""

from pathlib import Path

import pytest
import torch

from hydropress.data.cache import cached_tensors
from hydropress.errors import FileFormatError


class Builder:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"a": torch.arange(6).reshape(2, 3).mT, "b": torch.tensor([1.5])}


def test_the_second_time_it_is_read(tmp_path):
    build, path = Builder(), tmp_path / "folder" / "data.safetensors"
    first = cached_tensors(path, {"seed": 1}, build)
    second = cached_tensors(path, {"seed": 1}, build)
    assert build.calls == 1
    assert all(torch.equal(first[name], second[name]) for name in ("a", "b"))
    assert [entry.name for entry in path.parent.iterdir()] == ["data.safetensors"]


def test_another_description_is_built_anew(tmp_path):
    build, path = Builder(), tmp_path / "data.safetensors"
    cached_tensors(path, {"seed": 1}, build)
    cached_tensors(path, {"seed": 2}, build)
    cached_tensors(path, {"seed": 2}, build)
    assert build.calls == 2


def test_without_a_path_nothing_is_kept():
    build = Builder()
    cached_tensors(None, {}, build)
    cached_tensors(None, {}, build)
    assert build.calls == 2


def test_a_building_that_fails_leaves_no_file(tmp_path):
    def fail():
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        cached_tensors(tmp_path / "data.safetensors", {}, fail)
    assert not list(tmp_path.iterdir())


def test_processes_may_write_the_same_file_at_the_same_time(tmp_path, monkeypatch):
    build, path, write = Builder(), tmp_path / "data.safetensors", Path.write_bytes

    def and_another_process_writes_all_of_it(temporary, content):
        done = write(temporary, content)
        monkeypatch.setattr(Path, "write_bytes", write)
        cached_tensors(path, {}, build)
        return done

    monkeypatch.setattr(Path, "write_bytes", and_another_process_writes_all_of_it)
    cached_tensors(path, {}, build)
    assert build.calls == 2
    assert torch.equal(cached_tensors(path, {}, build)["b"], torch.tensor([1.5]))
    assert build.calls == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.safetensors"]


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    build, path = Builder(), tmp_path / "data.safetensors"
    cached_tensors(path, {}, build)
    content = bytearray(path.read_bytes())
    if damage == "changed":
        content[-1] ^= 1
        path.write_bytes(content)
    else:
        path.write_bytes(content[:-3])
    with pytest.raises(FileFormatError, match="delete it"):
        cached_tensors(path, {}, build)
