"""From a recipe to a trained model, and from a compressed model to a recovered one."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hydropress.data.sequences import LabelledSequences
from hydropress.data.tasks import Source, default_cache, find_task
from hydropress.errors import InvalidArgumentError
from hydropress.evaluation.metrics import accuracy, predict
from hydropress.evaluation.outputs import check_folder, uninterrupted
from hydropress.evaluation.records import versions, write_json
from hydropress.models.checkpoint import CONFIG, save
from hydropress.models.classifier import SequenceClassifier
from hydropress.training.checkpoints import read_log, require_validation
from hydropress.training.config import RecoveryConfig, TrainingConfig
from hydropress.training.hardware import Hardware, is_first_process
from hydropress.training.loop import Progress, fit
from hydropress.training.objectives import Objective, describe
from hydropress.training.recipes import Recipe
from hydropress.training.run_folder import fingerprint

MODEL = "model"
TRAINING = "training.json"


@dataclass(frozen=True)
class TrainingRun:
    """A trained model and what it took.

    Attributes
    ----------
    model
        In evaluation mode.
    steps
        Updates, those before a resumption included.
    test_accuracy
        After the last step; None without test images.
    seconds
        Time spent in training, those before a resumption included.
    validation_accuracy
        After the last step; None where a task has no validation split.
    """

    model: SequenceClassifier
    steps: int
    test_accuracy: float | None
    seconds: float
    validation_accuracy: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, ready for JSON."""
        record = {
            "steps": self.steps,
            "test_accuracy": self.test_accuracy,
            "seconds": self.seconds,
        }
        if self.validation_accuracy is not None:
            record["validation_accuracy"] = self.validation_accuracy
        return record


def train_recipe(
    recipe: Recipe,
    folder: Path,
    data_folder: Path | None = None,
    *,
    hardware: Hardware | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainingRun:
    """Train a model as a recipe says.

    Parameters
    ----------
    recipe
        Architecture, training and seed.
    folder
        Receives checkpoints and the log, at the end ``model/`` and ``training.json``.  A run that
        was stopped continues from its last checkpoint and ends with the same weights.
    data_folder
        Where the full data are; None for the task's own, where it has one.
    hardware, progress, stop
        As in :func:`~hydropress.training.loop.fit`.

    Raises
    ------
    InvalidArgumentError
        If the folder holds something else, or a run of another configuration.
    DataNotFoundError
        If the data are not there.
    """
    check_folder(folder, "train")
    task = find_task(recipe.data)
    if recipe.training.patience is not None and not task.has_validation:
        raise InvalidArgumentError(
            f"patience={recipe.training.patience} with {recipe.data!r}, which has no validation "
            "split; required: none; leave it out, test data must not decide"
        )
    source = Source(data_folder, recipe.length, default_cache())
    train, test = task.load("train", source), task.load("test", source)
    validation = task.load("val", source) if task.has_validation else None
    torch.manual_seed(recipe.seed)
    model = SequenceClassifier(recipe.model)
    settings = recipe.to_dict()
    del settings["training"]
    description = {"command": "train", "recipe": {"name": recipe.name, **settings}}
    run, trained = _run(
        model,
        train,
        recipe.training,
        folder,
        test,
        progress,
        stop,
        description,
        validation=validation,
        hardware=hardware,
    )
    record: dict[str, Any] = {"recipe": {"name": recipe.name, **recipe.to_dict()}}
    record["sequences"] = len(train)
    if note := getattr(test, "note", ""):
        record["note"] = note
    _write(run, trained, folder, record)
    return run


def finetune(
    model: SequenceClassifier,
    data: LabelledSequences,
    config: TrainingConfig | None = None,
    *,
    objective: Objective | None = None,
    hardware: Hardware | None = None,
    folder: Path | None = None,
    test: LabelledSequences | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainingRun:
    """Train a compressed model back to its accuracy.

    Parameters
    ----------
    model
        It is copied, not changed.
    data
        Training images.
    config
        :class:`~hydropress.training.config.RecoveryConfig` if not given; without ``patience``.
    objective, hardware, progress, stop
        As in :func:`~hydropress.training.loop.fit`.
    folder
        If given, as in :func:`train_recipe`, resumption included.
    test
        Images on which accuracy is measured after each epoch.

    Returns
    -------
    TrainingRun
        With the new model.
    """
    settings = RecoveryConfig() if config is None else config
    require_validation(settings.patience, False)
    if folder is not None:
        check_folder(folder, "finetune")
    description: dict[str, Any] = {
        "command": "finetune",
        "model": fingerprint(model.state_dict().values()),
    }
    copied = copy.deepcopy(model)
    if objective is not None:
        description["objective"] = describe(objective)
    run, trained = _run(
        copied,
        data,
        settings,
        folder,
        test,
        progress,
        stop,
        description,
        objective=objective,
        hardware=hardware,
    )
    if folder is not None:
        _write(run, trained, folder, {"training": asdict(settings), "sequences": len(data)})
    return run


def _run(
    model: SequenceClassifier,
    data: LabelledSequences,
    config: TrainingConfig,
    folder: Path | None,
    test: LabelledSequences | None,
    progress: Progress | None,
    stop: Callable[[], bool] | None,
    description: dict[str, Any],
    *,
    validation: LabelledSequences | None = None,
    objective: Objective | None = None,
    hardware: Hardware | None = None,
) -> tuple[TrainingRun, bool]:
    """Train, and return whether a step was left to take.

    What is measured after each epoch is the test's accuracy, or the validation's.
    """
    name, measured = ("test_accuracy", test) if validation is None else ("accuracy", validation)

    def measure(_: int) -> dict[str, float]:
        if measured is None:
            return {}
        return {name: accuracy(predict(model, measured), measured.labels)}

    history = fit(
        model,
        data,
        config,
        objective=objective,
        hardware=hardware,
        folder=folder,
        progress=progress,
        on_epoch=measure,
        stop=stop,
        description=description,
    )
    last = (history or (read_log(folder) if folder else []) or [{}])[-1]
    steps = config.total_steps(len(data))
    if config.patience is not None:
        steps = int(last.get("step", steps))
        last = {"seconds": last.get("seconds", 0.0), **measure(0)}
    elif last.get("step") != steps or (measured is not None and name not in last):
        last = {"seconds": last.get("seconds", 0.0), **measure(0)}
    model.eval()
    if validation is not None and test is not None:
        last["test_accuracy"] = accuracy(predict(model, test), test.labels)
    seconds = last["seconds"]
    run = TrainingRun(model, steps, last.get("test_accuracy"), seconds, last.get("accuracy"))
    return run, bool(history)


def _write(run: TrainingRun, trained: bool, folder: Path, record: dict[str, Any]) -> None:
    """Write the model and training.json; the latter last, as the sign of a complete run.

    What is there stays, unless the model was ``trained`` further.
    """
    if not is_first_process():
        return
    complete = not trained and (folder / TRAINING).is_file()
    with uninterrupted():
        if not complete or not (folder / MODEL / CONFIG).is_file():
            save(run.model, folder / MODEL)
        if complete:
            return
        write_json(
            folder / TRAINING,
            {
                **record,
                "versions": versions(),
                "threads": torch.get_num_threads(),
                **run.to_dict(),
            },
        )
