"""From recipe to model, and from compressed to recovered."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hydropress.data.fashion_mnist import load_full
from hydropress.data.tasks import find_task
from hydropress.errors import DataNotFoundError, InvalidArgumentError
from hydropress.evaluation.metrics import accuracy, predict
from hydropress.models.checkpoint import load
from hydropress.models.classifier import SequenceClassifier
from hydropress.training import train
from hydropress.training.config import RecoveryConfig, TrainingConfig
from hydropress.training.hardware import Hardware
from hydropress.training.loop import fit
from hydropress.training.objectives import CrossEntropy, Distillation, LayerMatching
from hydropress.training.recipes import Recipe
from hydropress.training.train import finetune, train_recipe
from tiny import CONFIG, tiny_images, tiny_model, write_idx_folder

TRAINING = TrainingConfig(epochs=2, batch_size=16, micro_batch=16, learning_rate=0.02)
RECIPE = Recipe("tiny", seed=3, model=CONFIG, training=TRAINING)


@pytest.fixture
def data_folder(tmp_path) -> Path:
    return write_idx_folder(tmp_path / "data")


def test_a_recipe_is_seed_model_fit_and_nothing_else(tmp_path, data_folder):
    run = train_recipe(RECIPE, tmp_path / "run", data_folder)
    torch.manual_seed(3)
    model = SequenceClassifier(CONFIG)
    fit(model, load_full("train", data_folder), RECIPE.training)
    for name, value in model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name])
    test = load_full("test", data_folder)
    assert run.test_accuracy == accuracy(predict(model, test), test.labels)
    assert run.steps == 6
    assert not run.model.training
    saved = load(tmp_path / "run" / "model")
    assert torch.equal(predict(saved, test), predict(model, test))
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert record["steps"] == 6
    assert record["test_accuracy"] == run.test_accuracy
    assert record["sequences"] == 48
    assert record["threads"] == torch.get_num_threads()
    assert record["recipe"] == {"name": "tiny", **RECIPE.to_dict()}
    assert set(record["versions"]) == {"hydropress", "torch", "python"}
    assert not list((tmp_path / "run").rglob("*.tmp"))


def test_running_again_gives_the_same_without_training(tmp_path, data_folder):
    first = train_recipe(RECIPE, tmp_path / "run", data_folder)
    steps = []
    second = train_recipe(
        RECIPE, tmp_path / "run", data_folder, progress=lambda *s: steps.append(s)
    )
    assert steps == []
    assert second.test_accuracy == first.test_accuracy
    assert second.seconds == first.seconds


def test_the_record_of_a_finished_run_stays(tmp_path, data_folder):
    folder = tmp_path / "run"
    train_recipe(RECIPE, folder, data_folder)
    path = folder / "training.json"
    # As if by an earlier version, with other threads.
    record = json.loads(path.read_text()) | {"versions": {"hydropress": "0"}, "threads": 7}
    path.write_text(json.dumps(record))
    shutil.rmtree(folder / "model")
    model = train_recipe(RECIPE, folder, data_folder).model
    assert json.loads(path.read_text()) == record
    # What is missing is written again.
    assert torch.equal(load(folder / "model").decoder.weight, model.decoder.weight)
    path.unlink()
    train_recipe(RECIPE, folder, data_folder)
    assert json.loads(path.read_text())["steps"] == 6


def test_what_has_to_be_said_of_the_data_stands_beside_the_accuracy(
    tmp_path, data_folder, monkeypatch
):
    def load(split, source):
        return replace(load_full(split, source.folder), note="slightly lossy")

    task = replace(find_task("fashion-mnist"), loader=load)
    monkeypatch.setattr(train, "find_task", lambda name: task)
    for name, expected in (("noted", "slightly lossy"), ("plain", None)):
        train_recipe(RECIPE, tmp_path / name, data_folder)
        record = json.loads((tmp_path / name / "training.json").read_text())
        assert record.get("note") == expected
        monkeypatch.undo()


def test_a_changed_recipe_is_refused(tmp_path, data_folder):
    train_recipe(RECIPE, tmp_path / "run", data_folder)
    for changed in (
        Recipe("tiny", seed=4, model=CONFIG, training=TRAINING),
        Recipe("tiny", seed=3, training=TRAINING),
    ):
        with pytest.raises(InvalidArgumentError, match="holds another run"):
            train_recipe(changed, tmp_path / "run", data_folder)


def test_missing_data_leave_no_folder(tmp_path):
    with pytest.raises(DataNotFoundError):
        train_recipe(RECIPE, tmp_path / "run", tmp_path)
    assert not (tmp_path / "run").exists()


def test_finetune_returns_a_new_model_and_reports(tmp_path):
    model, data, test = tiny_model(), tiny_images(48), tiny_images(20, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = RecoveryConfig(batch_size=16).for_steps(4, len(data))
    run = finetune(model, data, config, test=test)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not torch.equal(run.model.decoder.weight, model.decoder.weight)
    assert run.steps == 4
    assert run.test_accuracy == accuracy(predict(run.model, test), test.labels)
    assert finetune(model, data, config).test_accuracy is None


def test_finetune_resumes_in_a_folder_and_only_from_the_same_model(tmp_path):
    model, data = tiny_model(dropout=0.3), tiny_images(48)
    config = RecoveryConfig(batch_size=16).for_steps(4, len(data))
    straight = finetune(model, data, config)
    asked = []

    def stop():
        asked.append(None)
        return len(asked) == 2

    with pytest.raises(KeyboardInterrupt):
        finetune(model, data, config, folder=tmp_path / "run", stop=stop)
    with pytest.raises(InvalidArgumentError, match=r"model .* there"):
        finetune(tiny_model(seed=1, dropout=0.3), data, config, folder=tmp_path / "run")
    run = finetune(model, data, config, folder=tmp_path / "run")
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name])
    saved = load(tmp_path / "run" / "model")
    assert torch.equal(predict(saved, data), predict(run.model, data))


def as_before(folder: Path) -> set[str]:
    """Entries of a run's description."""
    return set(json.loads((folder / "run.json").read_text()))


def test_a_plain_recovery_is_described_as_ever(tmp_path):
    model, data = tiny_model(), tiny_images(48)
    config = RecoveryConfig(batch_size=16).for_steps(1, len(data))
    finetune(model, data, config, folder=tmp_path / "a")
    assert as_before(tmp_path / "a") == {"command", "model", "training", "data"}
    finetune(model, data, config, folder=tmp_path / "b", objective=CrossEntropy())
    assert as_before(tmp_path / "b") == {"command", "model", "objective", "training", "data"}
    assert json.loads((tmp_path / "b" / "run.json").read_text())["objective"] == "CrossEntropy"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (lambda: {"objective": Distillation(tiny_model(2))}, "objective.teacher"),
        (lambda: {"objective": Distillation(tiny_model(1), temperature=3.0)}, "temperature 2.0"),
        (lambda: {"objective": Distillation(tiny_model(1), weight=0.25)}, "weight 0.5 there"),
        (lambda: {"objective": LayerMatching(tiny_model(1))}, "LayerMatching here"),
        (lambda: {"objective": None}, "objective.teacher"),
        (lambda: {"hardware": Hardware("cpu", precision="bf16-mixed")}, "precision absent there"),
    ],
)
def test_another_recovery_is_not_returned_for_this_one(tmp_path, changed, named):
    model, data = tiny_model(), tiny_images(48)
    config = RecoveryConfig(batch_size=16).for_steps(1, len(data))
    same: dict[str, Any] = {"folder": tmp_path, "objective": Distillation(tiny_model(1))}
    first = finetune(model, data, config, **same)
    again = finetune(model, data, config, **same)
    assert torch.equal(predict(first.model, data), predict(again.model, data))
    with pytest.raises(InvalidArgumentError, match="holds another run") as caught:
        finetune(model, data, config, **(same | changed()))
    assert named in str(caught.value)
