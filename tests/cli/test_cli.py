"""The command line: results, wrong input, machine-readable output."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hydropress.calibration.plan import Plan
from hydropress.cli.app import app
from hydropress.data.sources import held_out_sequences, open_data
from hydropress.evaluation.evaluate import evaluate
from hydropress.evaluation.metrics import largest_order
from hydropress.models.checkpoint import load, save
from hydropress.reduction.registry import method_names
from series import provide_series, vowels
from tiny import tiny_model, write_idx_folder

RECIPE = """
model: {channels: 4, num_layers: 2, state_size: 8}
training: {epochs: 2, batch_size: 16, micro_batch: 16}
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working directory with a model, data and a recipe."""
    monkeypatch.chdir(tmp_path)
    save(tiny_model(), tmp_path / "model")
    write_idx_folder(tmp_path / "data")
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    return tmp_path


def run(*arguments: str, code: int = 0):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, (result.output, result.exception)
    return result


def run_json(*arguments: str):
    return json.loads(run(*arguments, "--json").stdout)


def refused(*arguments: str) -> str:
    """Return the one line on stderr."""
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("hydropress: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("\n")
    return result.stderr


COMPRESS = ("compress", "model", "--calibration", "data", "--samples", "16")


def test_every_command_has_help_and_json():
    listing = run("--help").stdout
    for command in ("demo", "inspect", "compress", "finetune", "evaluate", "train", "report"):
        assert command in listing
        assert "--json" in run(command, "--help").stdout


def test_help_is_quick_because_torch_is_not_imported():
    code = "import sys, hydropress.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_inspect(place):
    result = run_json("inspect", "model")
    assert result["total_parameters"] > result["ssm_parameters"] > 0
    assert [layer["name"] for layer in result["layers"]] == ["blocks.0.ssm", "blocks.1.ssm"]
    shown = run("inspect", "model").stdout
    assert "blocks.1.ssm" in shown
    assert "guaranteed" in shown


def test_evaluate(place):
    result = run_json("evaluate", "model", "--data", "data", "--reference", "model")
    assert result["agreement"] == 1.0
    assert result["samples"] == 20
    shown = run("evaluate", "model", "--data", "data").stdout
    assert "accuracy" in shown
    assert "agreement" not in shown


def test_compress_writes_a_model_and_what_a_report_needs(place):
    result = run_json(*COMPRESS, "--order", "2", "--out", "out")
    assert result["order"] == 2
    assert [row["method"] for row in result["rows"]] == ["original", "h2"]
    assert result["rows"][1]["calibrated"] is True
    assert result["rows"][1]["ssm_parameters"] < result["rows"][0]["ssm_parameters"]
    assert json.loads((place / "out" / "results.json").read_text()) == result["rows"]
    assert json.loads((place / "out" / "compression.json").read_text())["seed"] == 0
    assert load(place / "out").config.state_size == 8
    assert (result["allocation"], result["rows"][1]["order"]) == ("global", 2)
    plan = Plan.load(place / "out" / "plan.json")
    assert plan.ratio == pytest.approx(result["ratio"])
    page = run_json("report", "out")["report"]
    assert Path(page).read_text().startswith("<!")
    assert not list(place.rglob("*.tmp"))
    # Its own earlier output is replaced.
    uniform = ("--method", "balanced", "--allocation", "uniform")
    shown = run(*COMPRESS, "--ratio", "0.5", "--out", "out", *uniform).stdout
    assert "balanced" in shown
    assert largest_order(load(place / "out")) == 4
    assert Plan.load(place / "out" / "plan.json").allocation == "uniform"


def test_compress_does_not_write_over_its_own_input(place):
    smaller = ("--method", "balanced", "--calibration", "none")
    run("compress", "model", "--order", "4", "--out", "small", *smaller)
    before = {path.name: path.read_bytes() for path in (place / "small").iterdir()}
    for out in ("small", "other/../small", str(place / "small")):
        (place / "other").mkdir(exist_ok=True)
        message = refused("compress", "small", "--order", "2", "--out", out, *smaller)
        assert "required: another folder" in message
    assert {path.name: path.read_bytes() for path in (place / "small").iterdir()} == before


def test_compress_to_a_tolerance(place):
    command = (*COMPRESS, "--method", "balanced", "--out", "out")
    result = run_json(*command, "--tolerance", "0.3")
    assert result["allocation"] == "tolerance"
    assert 0 < result["ratio"] < 1
    assert "exactly one" in refused(*command, "--tolerance", "0.3", "--order", "2")


def test_compress_until_the_accuracy_drops(place):
    command = (*COMPRESS, "--method", "balanced", "--out", "out")
    result = run_json(*command, "--max-drop", "50%")
    assert result["target"] == "max_drop=50%"
    states = [trial["states"] for trial in result["trials"]]
    assert 0 < len(states) <= 3 + math.log2(64)
    # The metric is the accuracy on training sequences; the rows show that on those of the test.
    images = open_data(place / "data", "train")
    held_out = held_out_sequences(images, 0, calibration=images, samples=16)
    assert len(held_out) == 48 - 16
    measured = [one["metric"] for one in result["trials"] if one["states"] == plan_of(place).budget]
    assert measured == [evaluate(load(place / "out"), held_out).accuracy]
    before = evaluate(load(place / "model"), held_out).accuracy
    assert measured[0] >= before / 2
    assert "32 other training sequences" in result["calibration"]
    line = json.loads((place / "out" / "run.json").read_text())["line"]
    assert "--max-drop 50%" in line
    # The same images, named.
    assert run_json(*command, "--max-drop", "50%", "--data", "data")["trials"] == result["trials"]
    blind = (*COMPRESS[:2], "--calibration", "none", "--data", "data", "--method", "balanced")
    assert "48 other" in run_json(*blind, "--max-drop", "0.3", "--out", "blind")["calibration"]


def plan_of(place: Path) -> Plan:
    return Plan.load(place / "out" / "plan.json")


def test_compress_by_a_saved_plan_gives_the_same_files(place):
    run(*COMPRESS, "--ratio", "0.3", "--method", "balanced", "--out", "out")
    # The plan knows its method.
    result = run_json(*COMPRESS, "--plan", "out/plan.json", "--out", "again")
    assert (result["method"], result["allocation"]) == ("balanced", plan_of(place).allocation)
    for name in ("model.safetensors", "plan.json", "config.json"):
        assert (place / "again" / name).read_bytes() == (place / "out" / name).read_bytes()


def test_help_lists_the_methods_that_are_registered():
    shown = " ".join(run("compress", "--help").stdout.replace("│", " ").split())
    assert ", ".join(method_names()) in shown
    assert {"h2", "irka", "last"} < set(method_names())


def test_compress_without_data_measures_nothing(place):
    rows = run_json("compress", "model", "--order", "4", "--out", "out", "--calibration", "none")[
        "rows"
    ]
    assert rows[1]["accuracy"] is None
    assert rows[1]["calibrated"] is False
    run("report", "out")


def test_train_finetune_and_evaluate_what_came_out(place):
    trained = run_json("train", "tiny.yaml", "--out", "run", "--data", "data")
    assert trained["steps"] == 6
    assert run_json("train", "tiny.yaml", "--out", "run", "--data", "data") == trained
    tuned = ("finetune", "run", "--out", "tuned", "--data", "data")
    # 48 images are fewer than a batch of 64.
    assert "batch_size=64 with 48" in refused(*tuned, "--steps", "1")
    assert run_json(*tuned, "--epochs", "1", "--batch-size", "16")["steps"] == 3


def test_finetune(place):
    write_idx_folder(place / "more", train=70)
    command = ("finetune", "model", "--out", "tuned", "--data", "more", "--steps", "2")
    result = run_json(*command, "--learning-rate", "0.001")
    assert result["steps"] == 2
    assert run_json("evaluate", "tuned", "--data", "more")["accuracy"] == result["test_accuracy"]
    assert "holds another run" in refused(*command, "--learning-rate", "0.002")
    assert "at most one" in refused(*command, "--epochs", "1")


def test_series_of_several_lengths_from_training_to_a_smaller_model(place, monkeypatch):
    provide_series(monkeypatch, "JapaneseVowels", vowels(72, 0), vowels(18, 1))
    (place / "vowels.yaml").write_text(f"data: ucr:JapaneseVowels{RECIPE}")
    run("train", "vowels.yaml", "--out", "trained")
    config = load(place / "trained" / "model").config
    assert (config.num_inputs, config.num_classes) == (12, 9)
    data = ("--data", "ucr:JapaneseVowels")
    assert run_json("evaluate", "trained/model", *data)["samples"] == 18
    calibrated = ("--calibration", "ucr:JapaneseVowels", "--samples", "8")
    smaller = ("--method", "balanced", "--order", "4")
    run("compress", "trained/model", "--out", "small", *calibrated, *smaller)
    run("finetune", "small", "--out", "tuned", "--epochs", "1", *data)
    assert largest_order(load(place / "tuned" / "model")) <= 8
    assert "leave it out" in refused("train", "vowels.yaml", "--out", "no", "--data", "data")


def test_seed_of_training_overrides_the_recipe(place):
    run("train", "tiny.yaml", "--out", "run", "--data", "data", "--seed", "5")
    record = json.loads((place / "run" / "training.json").read_text())
    assert record["recipe"]["seed"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("inspect", "nowhere"), "'nowhere' is not a directory"),
        (("evaluate", "data"), "holds no config.json"),
        (("evaluate", "model", "--data", "nowhere"), "'slice', a folder of"),
        ((*COMPRESS, "--out", "out"), "exactly one of"),
        ((*COMPRESS, "--out", "out", "--ratio", "0.5", "--order", "2"), "exactly one of"),
        ((*COMPRESS, "--out", "out", "--ratio", "2"), "ratio=2.0; required"),
        ((*COMPRESS, "--out", "out", "--order", "0"), "order=0; required"),
        ((*COMPRESS, "--out", "out", "--max-drop", "half"), "max_drop='half'; required"),
        ((*COMPRESS, "--out", "out", "--max-drop", "-1%"), "max_drop='-1%'; required"),
        ((*COMPRESS, "--out", "out", "--max-drop", "1%", "--order", "2"), "exactly one of"),
        ((*COMPRESS, "--out", "out", "--order", "2", "--data", "data"), "without max_drop"),
        ((*COMPRESS, "--out", "out", "--max-drop", "1%", "--data", "no"), "'slice', a folder of"),
        ((*COMPRESS[:-1], "48", "--out", "out", "--max-drop", "1%"), "no sequence of 48 is left"),
        (
            ("compress", "model", "--calibration", "none", "--max-drop", "1%", "--out", "out"),
            "without data; required: labelled",
        ),
        ((*COMPRESS, "--out", "out", "--plan", "nowhere.json"), "nowhere.json: cannot be read"),
        ((*COMPRESS, "--out", "out", "--plan", "tiny.yaml"), "tiny.yaml: cannot be read"),
        ((*COMPRESS, "--out", "out", "--plan", "model/config.json"), "config.json: a plan"),
        ((*COMPRESS, "--out", "out", "--order", "2", "--method", "best"), "required: one of h2"),
        ((*COMPRESS, "--out", "data", "--order", "2"), "not empty"),
        ((*COMPRESS, "--out", "tiny.yaml", "--order", "2"), "is a file"),
        *(
            ((*COMPRESS[:-1], samples, "--out", "out", "--order", "2"), "from 8 to 48")
            for samples in ("900", "7", "2", "0", "-1")
        ),
        (
            ("evaluate", "two", "--data", "data"),
            "model 'two' with data 'data': num_classes 2, not 10; required",
        ),
        (("evaluate", "two"), "model 'two' with data 'slice': num_classes 2, not 10; required"),
        (("evaluate", "model", "--data", "text:data"), "num_classes 10, not 2, num_tokens 0, not"),
        (
            ("evaluate", "tokens", "--data", "retrieval@9:data"),
            "model 'tokens' with data 'retrieval@9:data': num_tokens 16, not 257, pairs False, not",
        ),
        (("evaluate", "wide", "--data", "data"), "num_inputs 3, not 1; required"),
        (("evaluate", "model", "--reference", "two"), "model 'two' with"),
        (("finetune", "two", "--out", "out"), "model 'two' with"),
        (("finetune", "model", "--out", "out", "--distill", "two"), "model 'two' with"),
        (("finetune", "model", "--out", "out", "--match", "two"), "model 'two' with"),
        (
            ("train", "tiny.yaml", "--out", "out", "--data", "data", "--accelerator", "foo"),
            "accelerator='foo'",
        ),
        (
            ("train", "tiny.yaml", "--out", "out", "--data", "data", "--accelerator", "tpu"),
            "accelerator='tpu'",
        ),
        (("train", "unknown", "--out", "out"), "recipe 'unknown'"),
        (("train", "tiny.yaml", "--out", "out", "--data", "model"), "dataset-fashion-mnist"),
        (("train", "tiny.yaml", "--out", "data", "--data", "data"), "not empty"),
        (("train", "tiny.yaml", "--out", "out", "--data", "data", "--threads", "0"), "threads=0"),
        (("finetune", "model", "--out", "out", "--steps", "0"), "max_steps=0"),
        (("finetune", "model", "--out", "out", "--learning-rate", "-1"), "learning_rate=-1.0"),
        (("report", "model"), "results.json does not exist"),
        (("demo", "--out", "data"), "not empty"),
    ],
)
def test_wrong_input_is_refused_in_one_line(place, arguments, message):
    save(tiny_model(num_classes=2), place / "two")
    save(tiny_model(num_classes=2, num_tokens=16), place / "tokens")
    save(tiny_model(num_inputs=3), place / "wide")
    before = sorted(place.rglob("*"))
    assert message in refused(*arguments)
    assert sorted(place.rglob("*")) == before


def test_an_unwritable_place_is_one_line(place):
    assert "check the path" in refused(
        *COMPRESS[:2], "--calibration", "none", "--order", "2", "--out", "tiny.yaml/out"
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("inspect", "model", "--colour"), "--colour"),
        (("compress", "model", "--order", "half", "--out", "small"), "half"),
        (("compress",), "MODEL"),
        (("shrink",), "shrink"),
        (("bench", "reduce", "--seed", "1.5"), "1.5"),
    ],
)
def test_a_command_that_cannot_be_read_is_one_line(place, arguments, named):
    message = refused(*arguments)
    assert named in message
    assert "; required: " in message
    assert message.endswith(" -h'\n")
    assert not (place / "small").exists()
