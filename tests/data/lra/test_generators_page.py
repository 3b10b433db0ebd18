"""The page on the generators: it is that of the committed record."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
RECORD = ROOT / "benchmarks" / "results" / "lra_generators.json"
PAGE = ROOT / "docs" / "lra_generators.md"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = ROOT / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks are not here")
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module("render_lra_generators")


def test_the_committed_page_is_what_the_script_writes(script: Any):
    script.main(["--check"])


def test_a_page_that_is_not_up_to_date_is_reported(script: Any, tmp_path: Path, capsys: Any):
    page, record = tmp_path / "page.md", tmp_path / "record.json"
    content = json.loads(RECORD.read_text(encoding="utf-8"))
    record.write_text(json.dumps(content), encoding="utf-8")
    options = ["--source", str(record), "--out", str(page)]
    script.main(options)
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    content["listops"]["val"]["length"]["max"] = 1990
    record.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        script.main([*options, "--check"])
    assert caught.value.code == 1
    assert (
        "not up to date; run python benchmarks/render_lra_generators.py" in capsys.readouterr().err
    )


def test_a_record_that_is_not_there_is_one_clear_error(script: Any, tmp_path: Path, capsys: Any):
    page, record = tmp_path / "page.md", tmp_path / "record.json"
    with pytest.raises(SystemExit) as caught:
        script.main(["--source", str(record), "--out", str(page)])
    assert caught.value.code == 2
    assert f"{record}: cannot be read" in capsys.readouterr().err
    assert not page.exists()


def test_every_sequence_is_in_one_bin_and_has_one_value(script: Any):
    text = PAGE.read_text(encoding="utf-8")
    bins = re.findall(r"^\| \d+ to \d+ \| (.*) \|$", text, re.MULTILINE)
    counts = [[int(n.replace(",", "")) for n in re.findall(r"([\d,]+) \(", row)] for row in bins]
    assert [sum(column) for column in zip(*counts, strict=True)] == [96_000, 2_000, 2_000]
    values = re.findall(r"^\| \d \| (.*) \|$", text, re.MULTILINE)
    shares = [[float(share) for share in row.split(" | ")] for row in values]
    assert len(shares) == 10
    for column in zip(*shares, strict=True):
        assert sum(column) == pytest.approx(100, abs=0.5)
