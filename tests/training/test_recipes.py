"""Recipes: what is in them, and what is refused."""

import pytest
import torch
import yaml

from hydropress.data.tasks import TASKS
from hydropress.errors import DataNotFoundError, FileFormatError, InvalidArgumentError
from hydropress.evaluation.metrics import count_ssm_parameters
from hydropress.models.classifier import ClassifierConfig, SequenceClassifier
from hydropress.training.config import RecoveryConfig, TrainingConfig
from hydropress.training.recipes import Recipe, load_recipe, parse_recipe, recipe_names


def test_the_shipped_recipe_is_what_the_shipped_model_was_trained_with():
    recipe = load_recipe("sequential-fashion-mnist")
    assert (recipe.data, recipe.seed) == ("fashion-mnist", 0)
    assert recipe.model == ClassifierConfig(
        channels=64, num_layers=4, state_size=64, initialization="lin", dropout=0.1
    )
    assert recipe.training == TrainingConfig(
        epochs=8,
        batch_size=64,
        micro_batch=32,
        learning_rate=4e-3,
        ssm_learning_rate=1e-3,
        weight_decay=0.01,
        warmup=0.15,
        seed=0,
    )


def test_yaml_round_trip(tmp_path):
    recipe = Recipe(
        "mine",
        seed=7,
        model=ClassifierConfig(channels=8, step_range=(1e-4, 0.5), initialization="inv"),
        training=TrainingConfig(epochs=2, max_steps=5, learning_rate=1e-5),
    )
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(recipe.to_dict()))
    assert load_recipe(path) == recipe
    assert load_recipe(path).training.seed == 7


def test_yaml_round_trip_of_other_layers(tmp_path):
    model = ClassifierConfig(layer="lru", ring=(0.9, 0.99), max_phase=0.5, state_size=8)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(Recipe("mine", model=model).to_dict()))
    assert load_recipe(path).model == model


def test_recipes_of_s4d_are_written_as_before_there_were_others():
    # Runs and experiments are told apart by what they wrote down.
    entries = Recipe("mine").to_dict()["model"]
    assert not {"layer", "softmax_length", "state_blocks", "ring", "max_phase"} & {*entries}
    entries = Recipe("mine", model=ClassifierConfig(state_blocks=3)).to_dict()["model"]
    assert entries["state_blocks"] == 3


def test_the_seed_can_be_replaced_also_by_zero():
    assert load_recipe("sequential-fashion-mnist", seed=3).training.seed == 3
    recipe = Recipe("a", seed=5)
    assert parse_recipe(recipe.to_dict(), name="a", source="a").seed == 5
    assert load_recipe("sequential-fashion-mnist", seed=0).seed == 0


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("training: {learning_rate: 4e-3, weight_decay: 0}\n")
    training = load_recipe(path).training
    assert (training.learning_rate, training.weight_decay) == (4e-3, 0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "modle: {}",
            "unknown entry 'modle'; required: any of data, length, seed, model, training",
        ),
        ("model: {chanels: 3}", "model: unknown entry 'chanels'; required: any of num_inputs"),
        ("training: {seed: 3}", "training: unknown entry 'seed'"),
        ("model: {channels: 3.5}", "model.channels: 3.5; required: a whole number"),
        ("model: {channels: true}", "model.channels: True; required: a whole number"),
        ("model: {bidirectional: 1}", "required: true or false"),
        ("model: {initialization: best}", "required: one of lin, inv, legs, real"),
        ("model: {step_range: [1]}", "required: a list of 2 numbers"),
        ("model: {step_range: [a, b]}", "required: a number"),
        ("training: {learning_rate: fast}", "'fast'; required: a number"),
        ("training: {max_steps: many}", "'many'; required: a whole number"),
        ("seed: x", "seed: 'x'; required: a whole number"),
        ("data: cifar", "'cifar'; required: one of fashion-mnist"),
        ("data: [1]", "data: [1]; required: one of fashion-mnist"),
        ("model: 3", "required: entries"),
        ("- 1", "required: entries"),
        ("a: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(FileFormatError, match=r"wrong\.yaml") as caught:
        load_recipe(path)
    assert message in str(caught.value)


def test_an_empty_recipe_has_the_defaults(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert load_recipe(path) == Recipe("empty")


def test_unknown_recipes_list_the_known():
    with pytest.raises(DataNotFoundError, match="sequential-fashion-mnist"):
        load_recipe("sequential-cifar")


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"max_steps": 0},
        {"micro_batch": -1},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"warmup": 1.5},
        {"seed": -1},
    ],
)
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        TrainingConfig(**wrong)


def test_recovery_is_chosen_by_epochs_or_by_steps():
    assert RecoveryConfig.chosen(4096) == RecoveryConfig()
    assert RecoveryConfig.chosen(4096, epochs=3, seed=0).total_steps(4096) == 192
    assert RecoveryConfig.chosen(4096, steps=100).total_steps(4096) == 100
    assert RecoveryConfig.chosen(4096, steps=3, learning_rate=0.0).learning_rate == 0.0
    assert RecoveryConfig.chosen(4096, epochs=2, batch_size=16).total_steps(4096) == 512
    with pytest.raises(InvalidArgumentError, match="at most one"):
        RecoveryConfig.chosen(4096, epochs=1, steps=1)
    with pytest.raises(InvalidArgumentError, match="max_steps=0"):
        RecoveryConfig.chosen(4096, steps=0)


def test_every_recipe_of_the_package_is_one():
    tasks = ("listops", "text", "retrieval", "image", "pathfinder", "path-x")
    sizes = ("", "-small")
    assert {f"lra-{task}{size}" for task in tasks for size in sizes} <= set(recipe_names())
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.data in TASKS
        task, base = TASKS[recipe.data], name.removesuffix("-small")
        kind = "" if recipe.model.layer == "s4d" else f"-{recipe.model.layer}"
        assert base in (f"lra-{recipe.data}", f"sequential-fashion-mnist{kind}")
        for field in ("num_classes", "num_inputs", "num_tokens", "pairs"):
            assert getattr(recipe.model, field) == getattr(task, field)
        # A small one is smaller.
        if base != name:
            large = load_recipe(base).model
            assert recipe.model.channels < large.channels


def test_a_recipe_may_train_on_series():
    recipe = parse_recipe({"data": "ucr:JapaneseVowels"}, name="a", source="a")
    assert (recipe.model.num_inputs, recipe.model.num_classes) == (12, 9)
    with pytest.raises(FileFormatError, match="ucr:ACSF1, ucr:ArrowHead"):
        parse_recipe({"data": "ucr:Vowels"}, name="a", source="a")


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.endswith("-small")])
def test_a_small_recipe_builds_a_model_of_its_task(name):
    config = load_recipe(name).model
    model = SequenceClassifier(config).eval()
    arguments = [torch.rand(3, 20, 1)]
    if config.num_tokens:
        shape = (3, 2) if config.pairs else (3,)
        arguments = [torch.randint(1, config.num_tokens, (*shape, 20)), torch.full(shape, 20)]
    with torch.no_grad():
        assert model(*arguments).shape == (3, TASKS[load_recipe(name).data].num_classes)


def test_layers_are_compared_with_as_many_ssm_parameters():
    names = (
        "sequential-fashion-mnist",
        "sequential-fashion-mnist-s5",
        "sequential-fashion-mnist-lru",
    )
    counts = [count_ssm_parameters(SequenceClassifier(load_recipe(name).model)) for name in names]
    assert max(counts) <= 1.01 * min(counts)


def test_what_a_task_decides_cannot_be_said_otherwise(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("data: text\nmodel: {num_classes: 3}\n")
    with pytest.raises(FileFormatError, match=r"model\.num_classes: 3; required: 2"):
        load_recipe(path)
    path.write_text("data: text\nlength: 100\nmodel: {num_classes: 2}\n")
    recipe = load_recipe(path)
    assert (recipe.length, recipe.model.num_tokens) == (100, 257)
