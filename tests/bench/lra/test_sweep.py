"""An experiment of seconds: its lines, and what a kill leaves of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hydropress.bench.lra.config import Run, SweepConfig
from hydropress.bench.lra.originals import read_original
from hydropress.bench.lra.single import redrawn, training_of
from hydropress.bench.lra.sweep import RESULTS, Sweep
from hydropress.errors import FileFormatError, InvalidArgumentError, UnknownNameError
from hydropress.evaluation.metrics import accuracy, agreement, count_ssm_parameters, predict
from hydropress.models.checkpoint import load
from hydropress.training.config import TrainingConfig
from hydropress.training.recipes import Recipe
from tiny import CONFIG, tiny_model, write_idx_folder

TRAINING = TrainingConfig(
    epochs=4, batch_size=16, micro_batch=16, learning_rate=0.02, checkpoint_every=2
)
RECIPE = Recipe("tiny", model=CONFIG, training=TRAINING)
SWEEP = SweepConfig(
    RECIPE,
    methods=("h2", "balanced", "hippo", "scratch"),
    orders=(4, 2),
    seeds=1,
    budgets=(0.5,),
    calibration=16,
)
KEYS = {
    *("task", "seed", "method", "calibrated", "order", "ratio", "ssm_parameters"),
    *("total_parameters", "accuracy_original", "accuracy_compressed", "agreement_compressed"),
    *("accuracy_recovered", "recovery_steps", "training_steps"),
}


def ignore(title: str):
    return lambda *_: None


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory) -> Path:
    return write_idx_folder(tmp_path_factory.mktemp("data"), train=64, test=30)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, data_folder) -> Sweep:
    sweep = Sweep(SWEEP, tmp_path_factory.mktemp("sweep") / "out", data_folder)
    sweep.perform(sweep.missing(), ignore)
    return sweep


def test_every_run_has_its_line(finished):
    lines = (finished.folder / RESULTS).read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 4 * 2
    assert [(row["seed"], row["method"], row["order"]) for row in rows[:3]] == [
        (0, "h2", 4),
        (0, "h2", 2),
        (0, "balanced", 4),
    ]
    assert all(set(row) >= KEYS for row in rows)
    assert {row["recovery_steps"] for row in rows} == {8}
    assert {row["training_steps"] for row in rows} == {16}
    assert [row["calibrated"] for row in rows] == [row["method"] == "h2" for row in rows]
    assert not finished.missing()


def test_a_line_is_what_its_models_do(finished):
    row = next(row for row in finished.rows() if row["method"] == "balanced" and row["order"] == 2)
    folder, test = finished.folder, finished.data.test
    original = load(folder / "originals" / "seed0" / "model")
    work = folder / SWEEP.digest()
    start = load(work / "starts" / "seed0-balanced-order2" / "start")
    end = load(work / "recoveries" / "seed0-balanced-order2-budget0.5" / "model")
    decisions = [predict(model, test) for model in (original, start, end)]
    assert row["accuracy_original"] == accuracy(decisions[0], test.labels)
    assert row["accuracy_compressed"] == accuracy(decisions[1], test.labels)
    assert row["accuracy_recovered"] == accuracy(decisions[2], test.labels)
    assert row["agreement_compressed"] == agreement(decisions[1], decisions[0])
    assert row["ratio"] == 2 / CONFIG.state_size
    assert row["ssm_parameters"] == count_ssm_parameters(start)


@pytest.mark.parametrize("layer", ["s4d", "s5", "lru"])
def test_redrawn_keeps_all_but_the_dynamics(layer):
    original = tiny_model(3, layer=layer)
    model = redrawn(original, 2, seed=0)
    before, after = original.state_dict(), model.state_dict()
    for name, value in after.items():
        dynamics = ".ssm." in name and not name.endswith((".D", ".bias"))
        assert dynamics != (name in before and torch.equal(value, before[name]))
    other = redrawn(original, 2, seed=1).state_dict()
    assert not torch.equal(other["blocks.0.ssm.C"], after["blocks.0.ssm.C"])


def test_of_lines_alone_the_rest_is_done(tmp_path, finished, data_folder):
    out = tmp_path / "out"
    out.mkdir()
    lines = (finished.folder / RESULTS).read_text().splitlines(keepends=True)
    (out / RESULTS).write_text("".join(lines[:-1]))
    sweep = Sweep(SWEEP, out, data_folder, finished.folder / "originals")
    assert [run.name for run in sweep.missing()] == ["seed0-scratch-order2-budget0.5"]
    sweep.perform(sweep.missing(), ignore)
    assert (out / RESULTS).read_text() == "".join(lines)


def test_a_line_that_is_none_is_named(tmp_path, data_folder):
    out = tmp_path / "out"
    out.mkdir()
    line = '{"seed": 0, "method": "h2", "order": 2, "budget": 0.5, "config": "0a"}\n'
    for second in ('{"se', line.replace("0a", "../0a")):
        (out / RESULTS).write_text(line + second)
        with pytest.raises(FileFormatError, match="line 2: not a run"):
            Sweep(SWEEP, out, data_folder)


def test_another_configuration_is_another_experiment(tmp_path, finished, data_folder):
    out = tmp_path / "out"
    shutil.copytree(finished.folder, out)
    few = replace(SWEEP, methods=("h2",), orders=(2,))
    for changes in ({"rate": 0.5}, {"calibration": 24}):
        changed = Sweep(replace(few, **changes), out, data_folder)
        assert len(changed.missing()) == 1
        changed.perform(changed.missing(), ignore)
        alone = Sweep(
            replace(few, **changes), tmp_path / str(changes), data_folder, out / "originals"
        )
        alone.perform(alone.missing(), ignore)
        assert changed.rows() == alone.rows()
    # What was there before is there still.
    again = Sweep(SWEEP, out, data_folder)
    assert not again.missing()
    again.collect()
    assert (out / RESULTS).read_text() == (finished.folder / RESULTS).read_text()


@pytest.mark.parametrize("changes", [{"orders": (2,)}, {"recovery": "match"}])
def test_a_narrower_or_another_sweep_loses_no_line(tmp_path, finished, data_folder, changes):
    out = tmp_path / "out"
    out.mkdir()
    lines = (finished.folder / RESULTS).read_text()
    (out / RESULTS).write_text(lines)
    originals = finished.folder / "originals"
    few = Sweep(replace(SWEEP, methods=("modal",), **changes), out, data_folder, originals)
    few.collect()
    wide = Sweep(SWEEP, out, data_folder, originals)
    assert not wide.missing()
    wide.collect()
    assert (out / RESULTS).read_text() == lines


def test_lines_of_a_narrower_sweep_stand_where_they_belong(tmp_path, finished, data_folder):
    out = tmp_path / "out"
    shutil.copytree(finished.folder, out)
    few = Sweep(replace(SWEEP, methods=("modal",), orders=(2,)), out, data_folder)
    few.perform(few.missing(), ignore)
    lines = (out / RESULTS).read_text().splitlines(keepends=True)
    assert lines[:4] + lines[5:] == (finished.folder / RESULTS).read_text().splitlines(True)
    assert json.loads(lines[4])["method"] == "modal"


def test_settings_that_change_no_number_make_no_other_experiment():
    same = replace(
        SWEEP, recipe=replace(RECIPE, seed=3, training=replace(TRAINING, workers=2, pool=1))
    )
    assert same.digest() == SWEEP.digest()
    assert replace(SWEEP, recipe=replace(RECIPE, length=9)).digest() != SWEEP.digest()


def test_what_a_digest_stands_for_is_beside_the_rows(finished):
    text = (finished.folder / SWEEP.digest() / "config.json").read_text()
    assert json.loads(text) == json.loads(json.dumps(SWEEP.of_a_run()))


def test_other_data_are_another_experiment(tmp_path, finished):
    other = write_idx_folder(tmp_path / "other", train=64, test=20)
    out = tmp_path / "out"
    shutil.copytree(finished.folder, out)
    few = replace(SWEEP, methods=("modal",), orders=(2,))
    sweep = Sweep(few, out, other)
    with pytest.raises(FileFormatError, match="made on other data"):
        sweep.perform(sweep.missing(), ignore)
    sweep = Sweep(few, tmp_path / "new", other, finished.folder / "originals")
    assert len(sweep.missing()) == 1
    sweep.perform(sweep.missing(), ignore)  # the same training data, another test
    more = write_idx_folder(tmp_path / "more", train=80, test=30)
    sweep = Sweep(few, tmp_path / "newer", more, finished.folder / "originals")
    with pytest.raises(FileFormatError, match="trained on other data, 64 sequences"):
        sweep.perform(sweep.missing(), ignore)


def test_a_training_from_nothing_has_a_seed_and_no_patience():
    config = replace(SWEEP, recipe=replace(RECIPE, training=replace(TRAINING, patience=1)))
    trainings = [training_of(Run(seed, "scratch", 2, 0.5), config, 8) for seed in (0, 1)]
    assert [training.seed for training in trainings] == [0, 1]
    assert {training.patience for training in trainings} == {None}


@pytest.mark.parametrize("recovery", ["distill", "match"])
def test_the_order_of_the_runs_changes_none_of_them(tmp_path, finished, data_folder, recovery):
    few = replace(SWEEP, methods=("balanced", "modal"), orders=(2,), recovery=recovery)
    rows = []
    for alone in (False, True):
        sweep = Sweep(few, tmp_path / str(alone), data_folder, finished.folder / "originals")
        for runs in [[run] for run in sweep.missing()] if alone else [sweep.missing()]:
            sweep = Sweep(few, sweep.folder, data_folder, finished.folder / "originals")
            sweep.perform(runs, ignore)
        rows.append(sweep.rows())
    assert rows[0] == rows[1]


def test_an_original_of_another_recipe_is_refused(finished):
    other = replace(SWEEP, recipe=replace(RECIPE, model=replace(CONFIG, dropout=0.3)))
    folder = finished.folder / "originals" / "seed0"
    with pytest.raises(FileFormatError, match=r"model\.dropout"):
        read_original(other, 0, folder, finished.data)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"orders": (2, 2)}, InvalidArgumentError, "orders 2, 2"),
        ({"methods": ("h2", "h2")}, InvalidArgumentError, "each once"),
        ({"orders": (3,)}, InvalidArgumentError, "positive even number"),
        ({"methods": ("h3",)}, UnknownNameError, "h3"),
        ({"orders": (9,)}, InvalidArgumentError, "order 9"),
        ({"budgets": (0.0,)}, InvalidArgumentError, "budget 0"),
        ({"seeds": 0}, InvalidArgumentError, "0 seeds"),
        ({"recovery": "pray"}, InvalidArgumentError, "pray"),
    ],
)
def test_what_makes_no_experiment(changes, error, message):
    with pytest.raises(error, match=message):
        replace(SWEEP, **changes)


def test_names_of_runs_tell_them_apart():
    runs = list(replace(SWEEP, seeds=2, budgets=(0.1, 0.25)).runs())
    assert len({run.name for run in runs}) == len(runs) == 32
    assert Run(0, "h2", 4, 0.1).start == Run(0, "h2", 4, 0.25).start
    assert Run(0, "h2", 4, 0.1234567).name != Run(0, "h2", 4, 0.12345674).name
    assert Run(0, "h2", 4, 0.05).name == "seed0-h2-order4-budget0.05"


SCRIPT = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from bench.lra.test_sweep import SWEEP, ignore
    from hydropress.bench.lra.sweep import Sweep
    import torch
    torch.set_num_threads(1)
    sweep = Sweep(SWEEP, Path({out!r}), Path({data!r}))
    sweep.perform(sweep.missing(), ignore)
    """
)


def start(out: Path, data: Path) -> subprocess.Popen[bytes]:
    tests = str(Path(__file__).parents[2])
    text = SCRIPT.format(tests=tests, out=str(out), data=str(data))
    return subprocess.Popen([sys.executable, "-c", text], start_new_session=True)


def killed_when(exists: str, out: Path, data: Path) -> bool:
    """Kill a sweep as soon as a file of that pattern is there; say whether it was running."""
    process = start(out, data)
    deadline = time.monotonic() + 120
    while not list(out.glob(exists)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return running


def test_killed_in_training_reduction_and_recovery_it_ends_the_same(
    tmp_path, data_folder, finished
):
    out = tmp_path / "out"
    patterns = (
        "originals/seed0/checkpoint.safetensors",
        "originals/seed0/decisions.safetensors",
        "*/recoveries/seed0-h2-order4-budget0.5/checkpoint.safetensors",
        "*/starts/seed0-balanced-order2/start.json",
    )
    for pattern in patterns:
        assert killed_when(pattern, out, data_folder)
    assert start(out, data_folder).wait() == 0
    assert (out / RESULTS).read_bytes() == (finished.folder / RESULTS).read_bytes()
