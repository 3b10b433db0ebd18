"""Output folders and records."""

import json
import signal

import pytest

from hydropress.errors import FileFormatError, InvalidArgumentError
from hydropress.evaluation.compare import Comparison
from hydropress.evaluation.outputs import check_folder, uninterrupted, write_run
from hydropress.evaluation.records import read_json, write_json, write_records
from hydropress.report.records import check_details, check_results
from tiny import tiny_images, tiny_model


def test_new_empty_and_own_folders_are_accepted(tmp_path):
    check_folder(tmp_path / "new", "compress")
    assert not (tmp_path / "new").exists()
    check_folder(tmp_path, "compress")
    write_run(tmp_path / "own", {"command": "compress"})
    check_folder(tmp_path / "own", "compress")


def test_foreign_folders_are_refused(tmp_path):
    write_run(tmp_path / "own", {"command": "train"})
    with pytest.raises(InvalidArgumentError, match="output of `hydropress train`"):
        check_folder(tmp_path / "own", "compress")
    with pytest.raises(InvalidArgumentError, match="not empty"):
        check_folder(tmp_path, "compress")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgumentError, match="is a file"):
        check_folder(tmp_path / "file", "compress")


@pytest.mark.parametrize("left", ["run.json.tmp", "run.json.4711.0a1b2c3d.tmp", ".lock"])
def test_what_a_kill_leaves_of_the_first_write_is_no_output(tmp_path, left):
    (tmp_path / left).touch()
    check_folder(tmp_path, "finetune")
    (tmp_path / "mine.tmp").touch()
    with pytest.raises(InvalidArgumentError, match="not empty"):
        check_folder(tmp_path, "finetune")


def test_training_continues_a_folder_from_before_descriptions(tmp_path):
    (tmp_path / "checkpoint.safetensors").touch()
    check_folder(tmp_path, "train")
    with pytest.raises(InvalidArgumentError, match="not empty"):
        check_folder(tmp_path, "finetune")


def test_an_interrupt_waits_for_the_end_of_the_block():
    done = []

    def write():
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            done.append("written")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert done == ["written"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_inside_the_block_comes_through():
    with pytest.raises(ValueError, match="broken"), uninterrupted():
        raise ValueError("broken")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_infinity_becomes_null(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1.5, float("inf"), float("nan")]})
    assert read_json(tmp_path / "a.json") == {"x": [1.5, None, None]}


@pytest.mark.parametrize("text", ["{", "[1]", None])
def test_unreadable_json_is_reported(tmp_path, text):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FileFormatError, match=r"a\.json"):
        read_json(path)


def test_records_are_what_the_report_accepts(tmp_path):
    original = tiny_model()
    comparison = Comparison(original, tiny_images(20))
    comparison.add(tiny_model(state_size=2), method="h2", calibrated=True, finetuned="3 steps")
    write_records(
        tmp_path, comparison.rows, title="t", command="c", seconds=1.0, models=[], notes=["n"]
    )
    rows = check_results(json.loads((tmp_path / "results.json").read_text()))
    details = check_details(json.loads((tmp_path / "details.json").read_text()))
    assert set(rows[0]) == {
        "method",
        "calibrated",
        "order",
        "ratio",
        "ssm_parameters",
        "total_parameters",
        "relative_h2_error",
        "accuracy",
        "agreement",
        "finetuned",
    }
    assert (rows[0]["method"], rows[0]["ratio"], rows[0]["agreement"]) == ("original", 1.0, 1.0)
    assert (rows[1]["order"], rows[1]["ratio"], rows[1]["finetuned"]) == (2, 0.25, "3 steps")
    assert set(details["versions"]) == {"hydropress", "torch", "python"}


def test_without_test_images_nothing_is_measured():
    (row,) = Comparison(tiny_model(), None).rows
    assert row["accuracy"] is None
    assert row["agreement"] is None
