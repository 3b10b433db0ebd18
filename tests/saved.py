"""A stand-in for the library ``datasets`` and what it writes."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def pretend_saved(folder: Path) -> Path:
    """Write what tells a folder of the library ``datasets``."""
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for split in ("train", "test"):
        (folder / split).mkdir()
        (folder / split / "data-00000-of-00001.arrow").write_bytes(b"arrow")
    return folder


def pretend_library(monkeypatch: Any, content: Any) -> list[str]:
    """Let the library load that content from any folder; return a list of those it is given."""
    opened: list[str] = []

    def load_from_disk(path: str) -> Any:
        opened.append(path)
        return content

    library = SimpleNamespace(load_from_disk=load_from_disk)
    monkeypatch.setitem(sys.modules, "datasets", library)
    return opened
