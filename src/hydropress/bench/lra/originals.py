"""The trained models that an experiment starts from, and what they decide."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hydropress.bench.lra.config import SweepConfig
from hydropress.data.cache import cached_tensors
from hydropress.data.sequences import LabelledSequences
from hydropress.data.tasks import Source, default_cache, find_task
from hydropress.errors import FileFormatError
from hydropress.evaluation.metrics import accuracy, predict
from hydropress.evaluation.outputs import RUN
from hydropress.evaluation.records import read_json
from hydropress.models.checkpoint import load
from hydropress.models.classifier import SequenceClassifier
from hydropress.training.loop import Progress
from hydropress.training.run_folder import IRRELEVANT, fingerprint
from hydropress.training.train import MODEL, TRAINING, train_recipe


@dataclass(frozen=True)
class Data:
    """The task's data, read once.

    Attributes
    ----------
    train, test
        What is trained and measured on.
    """

    train: LabelledSequences
    test: LabelledSequences

    @staticmethod
    def of(config: SweepConfig, folder: Path | None) -> "Data":
        """Read them."""
        task = find_task(config.recipe.data)
        source = Source(folder, config.recipe.length, default_cache())
        return Data(task.load("train", source), task.load("test", source))

    @cached_property
    def digest(self) -> str:
        """A short fingerprint of both."""
        tensors = [*self.train.tensors(), *self.test.tensors()]
        return fingerprint(tensors)[:12]


@dataclass(frozen=True)
class Original:
    """One trained model.

    Attributes
    ----------
    model
        In evaluation mode.
    steps
        It was trained for.
    decisions
        Its classes on the test sequences, int64, ``(n,)``.
    accuracy
        Of these.
    """

    model: SequenceClassifier
    steps: int
    decisions: Tensor
    accuracy: float


def train_original(
    config: SweepConfig,
    seed: int,
    folder: Path,
    data_folder: Path | None,
    *,
    progress: Progress | None = None,
) -> None:
    """Train the original of a seed, unless it is there."""
    if not (folder / TRAINING).is_file():
        recipe = replace(config.recipe, seed=seed)
        train_recipe(recipe, folder, data_folder, progress=progress)


def read_original(config: SweepConfig, seed: int, folder: Path, data: Data) -> Original:
    """Read a trained original, and what it decides.

    Raises
    ------
    FileFormatError
        If it was trained by another recipe or on other data.
    """
    test = data.test
    record = read_json(folder / TRAINING)
    wanted = replace(config.recipe, seed=seed).to_dict()
    differing = _differences(record.get("recipe", {}), wanted)
    if differing:
        raise FileFormatError(
            f"{folder}: trained by another recipe ({', '.join(differing)}); required: that of the "
            "experiment; use its recipe, or train anew in another folder"
        )
    trained_on = read_json(folder / RUN).get("data", {}) if (folder / RUN).is_file() else {}
    if trained_on.get("sha256", "") not in ("", fingerprint(data.train.tensors())):
        raise FileFormatError(
            f"{folder}: trained on other data, {trained_on.get('sequences')} sequences; required: "
            f"the experiment's, {len(data.train)}; give their folder, or train anew in another one"
        )
    model = load(folder / MODEL)
    contents = {"model": fingerprint(model.state_dict().values()), "test": _digest(test)}
    found = cached_tensors(
        folder / "decisions.safetensors", contents, lambda: {"decisions": predict(model, test)}
    )["decisions"]
    return Original(model, int(record["steps"]), found, accuracy(found, test.labels))


def _differences(there: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return what differs and changes a number; what a record does not know has its default."""
    differing: list[str] = []
    for section in ("model", "training"):
        differing += [
            f"{section}.{name}"
            for name, value in wanted[section].items()
            if f"{section}.{name}" not in IRRELEVANT
            and there.get(section, {}).get(name, value) != value
        ]
    return differing + [
        name for name in ("data", "length", "seed") if there.get(name, wanted[name]) != wanted[name]
    ]


def _digest(data: LabelledSequences) -> str:
    return fingerprint([torch.tensor(len(data)), *data.tensors()])
