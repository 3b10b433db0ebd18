"""Models as directories: config.json and model.safetensors; reading executes nothing."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from hydropress.errors import FileFormatError
from hydropress.models.classifier import ClassifierConfig, SequenceClassifier

FORMAT = "hydropress-classifier"
VERSION = 1


def write_atomically(path: Path, text: str) -> None:
    """Write a text file in one step: a reader sees the old content or the new, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def save_tensors(tensors: dict[str, Any], path: Path) -> None:
    """Write a safetensors file in one step."""
    temporary = path.with_name(path.name + ".tmp")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
    os.replace(temporary, path)


def save(model: SequenceClassifier, directory: str | Path) -> None:
    """Write a classifier, original or compressed, to a directory.

    Parameters
    ----------
    model
        The classifier.
    directory
        Created if missing.  Receives ``config.json`` and ``model.safetensors``.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "format": FORMAT,
        "version": VERSION,
        "config": dataclasses.asdict(model.config),
    }
    save_tensors(model.state_dict(), folder / "model.safetensors")
    write_atomically(folder / "config.json", json.dumps(description, indent=2) + "\n")


def load(directory: str | Path) -> SequenceClassifier:
    folder = Path(directory)
    description = json.loads((folder / "config.json").read_text())
    model = SequenceClassifier(ClassifierConfig(**description["config"]))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()
