"""Models go to folders and to the Hub and come back as they were; no network."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from hydropress.errors import DataNotFoundError, FileFormatError
from hydropress.models.checkpoint import CONFIG, TENSORS, save
from hydropress.models.classifier import SequenceClassifier
from hydropress.models.hub import CARD, push_folder
from ragged import compressed_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def same(first: SequenceClassifier, second: SequenceClassifier) -> bool:
    before, after = first.state_dict(), second.state_dict()
    alike = list(before) == list(after) and first.config == second.config
    return alike and all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_folder_holds_a_model_and_its_card(tmp_path):
    model = compressed_model()
    model.save_pretrained(tmp_path / "ours")
    assert sorted(p.name for p in (tmp_path / "ours").iterdir()) == [CARD, CONFIG, TENSORS]
    assert same(SequenceClassifier.from_pretrained(tmp_path / "ours"), model)
    assert same(SequenceClassifier.from_pretrained(str(tmp_path / "ours")), model)
    # Model and description are those of save: one format, two verbs.
    save(model, tmp_path / "plain")
    for name in (CONFIG, TENSORS):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    card = (tmp_path / "ours" / CARD).read_text()
    assert card.startswith("---\nlibrary_name: hydropress\n")
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in card
    assert "| channels | 4 |" in card


def test_a_card_and_a_compression_that_are_there_stay(tmp_path):
    (tmp_path / CARD).write_text("mine")
    (tmp_path / "compression.json").write_text("{}")
    compressed_model().save_pretrained(tmp_path)
    assert (tmp_path / CARD).read_text() == "mine"
    assert (tmp_path / "compression.json").read_text() == "{}"


class FakeHub:
    """A hub of one repository, in a dictionary."""

    def __init__(self, **files: bytes) -> None:
        self.files = {name.replace("_", "."): content for name, content in files.items()}
        self.calls: list[tuple[str, Any]] = []

    def api(self, **options: Any) -> "FakeHub":
        self.calls.append(("api", options))
        return self

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls.append(("create_repo", {"repo_id": repo_id, **options}))

    def file_exists(self, repo_id: str, filename: str, *, revision: str | None) -> bool:
        assert repo_id == "owner/model"
        return filename in self.files

    def create_commit(self, repo_id: str, operations: list[Any], **options: Any) -> Any:
        self.calls.append(("create_commit", {"repo_id": repo_id, **options}))
        for operation in operations:
            with operation.as_file() as file:
                self.files[operation.path_in_repo] = file.read()
        return SimpleNamespace(commit_url="commit/1")


@pytest.fixture
def hub(monkeypatch) -> FakeHub:
    hub = FakeHub()
    monkeypatch.setattr(huggingface_hub, "HfApi", hub.api)
    return hub


def test_what_is_pushed_comes_back(tmp_path, hub):
    model = compressed_model()
    address = model.push_to_hub("owner/model", private=True, token="secret", create_pr=True)
    assert address == "commit/1"
    assert sorted(hub.files) == [CARD, CONFIG, TENSORS]
    assert b"from_pretrained('owner/model')" in hub.files[CARD]
    assert hub.calls[:2] == [
        ("api", {"token": "secret"}),
        ("create_repo", {"repo_id": "owner/model", "private": True, "exist_ok": True}),
    ]
    assert hub.calls[2][1]["create_pr"] is True
    for name, content in hub.files.items():
        (tmp_path / name).write_bytes(content)
    assert same(SequenceClassifier.from_pretrained(tmp_path), model)


def test_a_card_on_the_hub_stays(hub):
    hub.files[CARD] = b"theirs"
    compressed_model().push_to_hub("owner/model")
    assert hub.files[CARD] == b"theirs"
    assert CONFIG in hub.files


def test_a_folder_is_pushed_with_what_belongs_to_it(tmp_path, hub):
    save(compressed_model(), tmp_path)
    (tmp_path / "compression.json").write_text(json.dumps({"states": 7}))
    (tmp_path / CARD).write_text("mine")
    (tmp_path / "secrets.txt").write_text("no")
    push_folder(tmp_path, "owner/model")
    assert sorted(hub.files) == [CARD, "compression.json", CONFIG, TENSORS]
    assert hub.files[CARD] == b"mine"
    (tmp_path / CONFIG).write_text("[]")
    hub.files.clear()
    with pytest.raises(FileFormatError, match="not an object"):
        push_folder(tmp_path, "owner/model")
    assert not hub.files


def test_a_repository_in_the_cache_needs_no_network(tmp_path):
    model = compressed_model()
    place = tmp_path / "models--owner--model"
    model.save_pretrained(place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    options: Any = {"cache_dir": tmp_path, "local_files_only": True}
    assert same(SequenceClassifier.from_pretrained("owner/model", **options), model)
    with pytest.raises(DataNotFoundError, match=r"owner/other.*required: a directory.*token"):
        SequenceClassifier.from_pretrained("owner/other", **options)
    shutil.rmtree(place / "snapshots" / COMMIT)
    with pytest.raises(DataNotFoundError):
        SequenceClassifier.from_pretrained("owner/model", **options)


def test_a_download_asks_for_our_files_only(tmp_path, monkeypatch):
    asked: dict[str, Any] = {}

    def download(repo_id: str, **options: Any) -> str:
        asked.update(options, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    model = compressed_model()
    save(model, tmp_path)
    assert same(SequenceClassifier.from_pretrained("owner/model", revision="v1"), model)
    assert asked["repo_id"] == "owner/model"
    assert asked["revision"] == "v1"
    assert sorted(asked["allow_patterns"]) == [CARD, "compression.json", CONFIG, TENSORS]


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("gone"), RuntimeError("xet")])
def test_what_the_client_raises_is_one_error(monkeypatch, error):
    def download(*_: Any, **__: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(DataNotFoundError, match="Hub does not give it"):
        SequenceClassifier.from_pretrained("owner/model")


@pytest.mark.parametrize("name", ["/nowhere/model", "./nowhere", Path("nowhere/model")])
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(monkeypatch, name):
    def download(*_: Any, **__: Any) -> str:
        raise AssertionError("the network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(DataNotFoundError, match="does not exist; required"):
        SequenceClassifier.from_pretrained(name)


def test_models_are_imported_without_the_client():
    code = "import sys, hydropress.models.checkpoint as c; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
