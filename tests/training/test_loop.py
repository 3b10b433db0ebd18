"""Training that stops anywhere and goes on to the same weights."""

import csv
import json
import signal
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from hydropress.errors import FileFormatError, InvalidArgumentError, NotConvergedError
from hydropress.training.checkpoints import read_log
from hydropress.training.config import TrainingConfig
from hydropress.training.hardware import Hardware
from hydropress.training.interrupts import DeferredInterrupt
from hydropress.training.loop import fit, make_optimizer, schedule
from hydropress.training.objectives import CrossEntropy
from hydropress.training.process import keep_freed_memory, use_threads
from ragged import compressed_model, modal_mimo_model
from tiny import tiny_images, tiny_model

# Two steps an epoch, so that six steps cross two borders of epochs.
CONFIG = TrainingConfig(
    epochs=3, batch_size=16, micro_batch=8, learning_rate=0.02, checkpoint_every=3
)
DATA = tiny_images(40)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.fixture(scope="module")
def straight():
    model = tiny_model(dropout=0.3)
    history = fit(model, DATA, CONFIG)
    assert history[-1]["step"] == 6
    return weights(model)


class Killed(Exception):
    pass


def killed_at(step):
    def progress(done, total, loss):
        if done == step:
            raise Killed

    return progress


def test_training_changes_every_parameter(straight):
    before = weights(tiny_model(dropout=0.3))
    assert not any(torch.equal(value, before[name]) for name, value in straight.items())


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_stopped_and_resumed_is_bit_identical(tmp_path, straight, stop_after):
    asked = []

    def stop():
        asked.append(None)
        return len(asked) == stop_after

    with pytest.raises(KeyboardInterrupt):
        fit(tiny_model(dropout=0.3), DATA, CONFIG, folder=tmp_path, stop=stop)
    # Another start must not matter: the checkpoint holds everything.
    model = tiny_model(seed=5, dropout=0.3)
    steps = []
    fit(model, DATA, CONFIG, folder=tmp_path, progress=lambda done, *_: steps.append(done))
    assert steps == list(range(stop_after + 1, 7))
    assert same(straight, weights(model))


@pytest.mark.parametrize("step", [1, 4, 5, 6])
def test_killed_between_checkpoints_and_resumed_is_bit_identical(tmp_path, straight, step):
    with pytest.raises(Killed):
        fit(tiny_model(dropout=0.3), DATA, CONFIG, folder=tmp_path, progress=killed_at(step))
    model = tiny_model(dropout=0.3)
    fit(model, DATA, CONFIG, folder=tmp_path)
    assert same(straight, weights(model))
    assert [line["step"] for line in read_log(tmp_path)] == [2, 4, 6]


def test_a_log_line_after_the_last_checkpoint_is_dropped(tmp_path, straight):
    with pytest.raises(Killed):
        fit(tiny_model(dropout=0.3), DATA, CONFIG, folder=tmp_path, progress=killed_at(5))
    with (tmp_path / "training.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 1.0, "rate": 0.1, "seconds": 1.0}\n{"step": 6, "lo')
    fit(tiny_model(dropout=0.3), DATA, CONFIG, folder=tmp_path)
    assert [line["step"] for line in read_log(tmp_path)] == [2, 4, 6]


def test_time_goes_on_after_resuming(tmp_path):
    with pytest.raises(Killed):
        fit(tiny_model(), DATA, CONFIG, folder=tmp_path, progress=killed_at(3))
    path = tmp_path / "training.jsonl"
    path.write_text('{"step": 2, "loss": 1.0, "rate": 0.1, "seconds": 500.0}\n')
    history = fit(tiny_model(), DATA, CONFIG, folder=tmp_path)
    assert history[-1]["seconds"] > 500


def test_a_finished_run_has_nothing_to_add(tmp_path):
    model = tiny_model()
    fit(model, DATA, CONFIG, folder=tmp_path)
    again = tiny_model(seed=1)
    assert fit(again, DATA, CONFIG, folder=tmp_path) == []
    assert same(weights(model), weights(again))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 0.01}, "training.learning_rate 0.02 there, 0.01 here"),
        ({"seed": 1}, "training.seed 0 there, 1 here"),
        ({"epochs": 4}, "training.epochs"),
        ({"micro_batch": 16}, "training.micro_batch"),
    ],
)
def test_another_configuration_is_refused(tmp_path, change, named):
    fit(tiny_model(), DATA, CONFIG, folder=tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    changed = TrainingConfig(**CONFIG.__dict__ | change)
    with pytest.raises(InvalidArgumentError, match="holds another run") as caught:
        fit(tiny_model(), DATA, changed, folder=tmp_path)
    assert named in str(caught.value)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_other_data_and_descriptions_are_refused(tmp_path):
    fit(tiny_model(), DATA, CONFIG, folder=tmp_path, description={"recipe": {"a": 1, "name": "x"}})
    with pytest.raises(InvalidArgumentError, match=r"data\.sha256"):
        fit(tiny_model(), tiny_images(40, seed=1), CONFIG, folder=tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"recipe\.a 1 there, 2 here"):
        fit(tiny_model(), DATA, CONFIG, folder=tmp_path, description={"recipe": {"a": 2}})
    often = TrainingConfig(**CONFIG.__dict__ | {"checkpoint_every": 1})
    other_name = {"recipe": {"a": 1, "name": "y"}}
    fit(tiny_model(), DATA, often, folder=tmp_path, description=other_name)


def test_a_folder_without_description_is_taken_to_match(tmp_path, straight):
    with pytest.raises(Killed):
        fit(tiny_model(dropout=0.3), DATA, CONFIG, folder=tmp_path, progress=killed_at(4))
    (tmp_path / "run.json").unlink()
    model = tiny_model(dropout=0.3)
    fit(model, DATA, CONFIG, folder=tmp_path)
    assert same(straight, weights(model))
    assert (tmp_path / "run.json").is_file()


@pytest.mark.parametrize("content", [b"", b"rubbish" * 10])
def test_a_broken_checkpoint_is_reported_in_one_line(tmp_path, content):
    (tmp_path / "checkpoint.safetensors").write_bytes(content)
    with pytest.raises(FileFormatError, match="not a checkpoint of this model") as caught:
        fit(tiny_model(), DATA, CONFIG, folder=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_model_is_reported(tmp_path):
    fit(tiny_model(), DATA, CONFIG, folder=tmp_path)
    with pytest.raises(FileFormatError, match="not a checkpoint of this model"):
        fit(tiny_model(channels=6), DATA, CONFIG, folder=tmp_path)


def test_too_few_data_are_refused():
    with pytest.raises(InvalidArgumentError, match="batch_size=16 with 8"):
        fit(tiny_model(), DATA[:8], CONFIG)


def test_first_interrupt_is_a_request_and_the_second_acts(tmp_path):
    told = []
    with DeferredInterrupt(lambda: told.append(None)) as interrupt:
        assert not interrupt.stop()
        signal.raise_signal(signal.SIGINT)
        assert interrupt.stop()
        assert len(told) == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_ends_training_with_a_checkpoint(tmp_path, straight):
    def progress(done, total, loss):
        if done == 4:
            signal.raise_signal(signal.SIGINT)

    model = tiny_model(dropout=0.3)
    with pytest.raises(KeyboardInterrupt), DeferredInterrupt() as interrupt:
        fit(model, DATA, CONFIG, folder=tmp_path, progress=progress, stop=interrupt.stop)
    assert not list(tmp_path.glob("*.tmp"))
    model, steps = tiny_model(dropout=0.3), []
    fit(model, DATA, CONFIG, folder=tmp_path, progress=lambda done, *_: steps.append(done))
    assert steps == [5, 6]
    assert same(straight, weights(model))


def test_a_training_that_diverges_ends_with_an_error(tmp_path):
    config = replace(CONFIG, learning_rate=1e12, ssm_learning_rate=1e12, checkpoint_every=1)
    for _ in range(2):
        with pytest.raises(NotConvergedError, match=r"at step \d+.*smaller learning_rate"):
            fit(tiny_model(), DATA, config, folder=tmp_path)


class Failing:
    """A loss that is no number from some step on, or has a gradient that is none."""

    def __init__(self, step: int, gradient: bool) -> None:
        self.left, self.gradient = 2 * step, gradient

    def __call__(self, model, batch):
        self.left -= 1
        loss = CrossEntropy()(model, batch)
        if self.left > 0:
            return loss
        return loss + 0 * (loss - loss.detach()).sqrt() if self.gradient else loss * torch.nan


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize(("step", "kept"), [(3, 2), (5, 4), (6, 4)])
def test_what_is_no_number_is_neither_logged_nor_kept(tmp_path, step, kept, gradient):
    with pytest.raises(NotConvergedError, match="finite"):
        fit(tiny_model(), DATA, CONFIG, folder=tmp_path, objective=Failing(step, gradient))
    for line in (tmp_path / "training.jsonl").read_text().splitlines():
        assert json.loads(line, parse_constant=pytest.fail)["step"] <= kept
    saved = load_file(tmp_path / "checkpoint.safetensors")
    assert int(saved["step"]) == kept
    for name, value in saved.items():
        assert torch.isfinite(value).all(), name


def test_a_resumed_run_has_all_lines_in_its_csv(tmp_path):
    hardware = Hardware("cpu", loggers=("csv",))
    for step in (3, 5):
        with pytest.raises(Killed):
            fit(
                tiny_model(), DATA, CONFIG, folder=tmp_path, hardware=hardware,
                progress=killed_at(step),
            )  # fmt: skip
    fit(tiny_model(), DATA, CONFIG, folder=tmp_path, hardware=hardware)
    (path,) = tmp_path.rglob("metrics.csv")
    with path.open(newline="") as file:
        rows = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    assert rows == [(line["step"], line["loss"]) for line in read_log(tmp_path)]
    assert [step for step, _ in rows] == [2, 4, 6]


def test_schedule_rises_and_falls():
    values = [schedule(step, 100, 0.1) for step in range(100)]
    assert values[0] == pytest.approx(0.1)
    assert values[9] == 1.0
    assert values[10] == 1.0
    assert all(later <= earlier for earlier, later in pairwise(values[10:]))
    assert values[-1] < 1e-3


def test_process_settings():
    assert keep_freed_memory() in (True, False)
    before = torch.get_num_threads()
    use_threads(None)
    assert torch.get_num_threads() == before
    with pytest.raises(InvalidArgumentError, match="threads=0"):
        use_threads(0)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (tiny_model, {"log_step", "log_decay", "frequency"}),
        (lambda: tiny_model(layer="dss"), {"log_step", "log_decay", "frequency", "W"}),
        (lambda: tiny_model(layer="s5"), {"log_step", "real_part", "frequency", "B"}),
        (lambda: tiny_model(layer="lru"), {"log_decay", "log_phase", "log_gamma", "B"}),
        (
            compressed_model,
            {"log_step", "log_decay", "frequency", "pair_log_decay", "pair_frequency"}
            | {"real_log_decay"},
        ),
        (
            modal_mimo_model,
            {"log_step", "real_part", "frequency", "B", "pair_log_decay", "pair_frequency"}
            | {"pair_B", "real_log_decay", "real_B"},
        ),
    ],
)
def test_dynamics_have_the_small_rate_and_no_decay(make, expected):
    model = make()
    others, dynamics = make_optimizer(model, CONFIG).param_groups
    assert dynamics["peak"] == CONFIG.ssm_learning_rate
    assert dynamics["weight_decay"] == 0
    names = {id(value): name for name, value in model.named_parameters()}
    found = [names[id(value)] for value in dynamics["params"]]
    assert {name.rpartition(".")[2] for name in found} == expected
    assert all(".ssm." in name for name in found)
    assert len(found) + len(others["params"]) == len(names)
