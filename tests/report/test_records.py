"""Saved records: what is missing or malformed is named, with what is required and what to do."""

import json
import re
from pathlib import Path

import pytest

from hydropress.errors import DataNotFoundError, FileFormatError
from hydropress.report import render_report, write_report

DETAILS = {"title": "Bare", "command": "hydropress bench", "versions": {}, "models": []}


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"results\.json does not exist"):
        write_report(tmp_path)
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(DataNotFoundError, match=r"details\.json does not exist"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("{}", "a list of rows is required"),
        ("[3]", "row 0: received 3"),
        ('[{"order": 2}]', "method: received nothing"),
        ('[{"method": "h2"}]', "order: received nothing"),
        ('[{"method": "h2", "order": -2}]', "order: received -2"),
        ('[{"method": "h2", "order": NaN}]', "order: received nan"),
        ('[{"method": "h2", "order": 2, "accuracy": "high"}]', "accuracy: received 'high'"),
        ('[{"method": "h2", "order": 2, "finetuned": 3}]', "finetuned: received 3"),
    ],
)
def test_malformed_results(tmp_path: Path, results: str, message: str) -> None:
    (tmp_path / "results.json").write_text(results)
    (tmp_path / "details.json").write_text(json.dumps(DETAILS))
    with pytest.raises(FileFormatError, match=re.escape(message)) as caught:
        write_report(tmp_path)
    assert "results.json" in str(caught.value)
    assert "Write it again" in str(caught.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": None}, "title: received nothing"),
        ({"versions": []}, "versions: received []"),
        ({"seconds": "long"}, "seconds: received 'long'"),
        ({"notes": "x"}, "a list of texts is required"),
        ({"models": [{"layers": []}]}, "models[0], name"),
        ({"models": [{"name": "m", "layers": [{"name": "l", "poles_before": [[1]]}]}]}, "pairs"),
        ({"models": [{"name": "m", "layers": [{"name": "l", "channels": [4]}]}]}, "received 4"),
        ({"models": [{"name": "m", "layers": [{"name": "l", "certificate": [4]}]}]}, "medians"),
    ],
)
def test_malformed_details(change: dict, message: str) -> None:
    with pytest.raises(FileFormatError, match=re.escape(message)):
        render_report([], DETAILS | change)
