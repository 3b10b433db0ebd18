"""Where the report of the Long Range Arena experiment reads its runs and writes its pages."""

import hashlib
import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from hydropress.errors import DataNotFoundError, FileFormatError
from hydropress.report.lra import render_lra, write_lra_report
from report.lra_runs import measured, run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"task": ', "line 3: received no JSON"),
        ("[1]", "line 3: received [1]; an object is required"),
        (
            json.dumps({k: v for k, v in run().items() if k != "budget"}),
            "line 3: received a run without budget",
        ),
        (json.dumps(run() | {"order": "2"}), "line 3, order: received '2'; a whole number"),
        (json.dumps(run(order=True)), "line 3, order: received True"),
        (json.dumps(run(accuracy_recovered=91.2)), "line 3, accuracy_recovered: received 91.2"),
        (json.dumps(run(accuracy_original=None)), "line 3, accuracy_original: received null"),
        (json.dumps(run(ratio=float("nan"))), "line 3, ratio: received nan"),
        (json.dumps(run(versions=[])), "line 3, versions: received []"),
        (json.dumps(run(note=7)), "line 3, note: received 7; text"),
        (json.dumps(run(task="")), "line 3, task: received ''"),
        (json.dumps(run(accuracy_recovered=0.1)), "line 3: received the run of"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str):
    (tmp_path / "results.jsonl").write_text(f"{json.dumps(run())}\n\n{line}\n")
    with pytest.raises(FileFormatError, match=re.escape(message)) as caught:
        write_lra_report(tmp_path)
    assert str(tmp_path / "results.jsonl") in str(caught.value)
    assert "hydropress bench lra" in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_missing_empty_and_binary_files(tmp_path: Path):
    with pytest.raises(DataNotFoundError, match="run hydropress bench lra"):
        write_lra_report(tmp_path)
    (tmp_path / "results.jsonl").write_text("\n")
    with pytest.raises(FileFormatError, match="received no runs"):
        write_lra_report(tmp_path)
    (tmp_path / "results.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match="UTF-8"):
        write_lra_report(tmp_path)
    with pytest.raises(FileFormatError, match="at least one"):
        render_lra([])


def test_the_report_stands_beside_the_runs(tmp_path: Path):
    lines = [json.dumps(row) for row in measured()]
    (tmp_path / "results.jsonl").write_text("\n".join(lines))
    page = write_lra_report(tmp_path)
    assert page == tmp_path / "report.html"
    assert page.read_text(encoding="utf-8") == render_lra(measured())
    assert {path.name for path in tmp_path.iterdir()} == {"results.jsonl", "report.html"}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = ROOT / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks are not here")
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module("render_lra")


def test_the_script_writes_the_page_and_checks_it(script: Any, tmp_path: Path, capsys: Any):
    results, page = tmp_path / "lra", tmp_path / "lra.md"
    results.mkdir()
    options = ["--source", str(results), "--out", str(page)]
    with pytest.raises(SystemExit) as caught:
        script.main(options)
    assert caught.value.code == 2
    model = {"num_layers": 3, "channels": 16, "state_size": 64}
    recipe = {"data": "text", "length": 2048, "model": model, "training": {"batch_size": 32}}
    config = {"recovery": "finetune", "calibration": 256, "recipe": recipe}
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]
    for task in ("listops", "images"):
        rows = [json.dumps(row | {"task": task, "config": digest}) for row in measured()]
        (results / f"{task}.jsonl").write_text("\n".join(rows))
    # What a digest stands for has to be there, and to be that.
    path = results / "configs" / f"{digest}.json"
    path.parent.mkdir()
    for wrong in (None, config | {"calibration": 128}):
        if wrong:
            path.write_text(json.dumps(wrong))
        with pytest.raises(SystemExit) as caught:
            script.main(options)
        assert caught.value.code == 2
    path.write_text(json.dumps(config))
    with pytest.raises(SystemExit) as caught:
        script.main([*options, "--check"])
    assert caught.value.code == 1
    assert not page.exists()
    script.main(options)
    script.main([*options, "--check"])
    written = page.read_text(encoding="utf-8")
    assert "python benchmarks/render_lra.py" in written[: written.index("## ")]
    assert "## images" in written
    assert "## listops" in written
    # One line for the original of the config, with the accuracies of its seeds in their order.
    originals = {row["seed"]: f"{100 * row['accuracy_original']:.2f}" for row in measured()}
    accuracies = ", ".join(accuracy for _, accuracy in sorted(originals.items()))
    line = f"| images-s4d | 3 × 16 | 64 | 2,048 | 32 | 7,496 | {accuracies} |"
    assert written.splitlines().count(line) == 1
    page.write_text(written.replace("±", "+"), encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        script.main([*options, "--check"])
    assert caught.value.code == 1
    assert "not up to date" in capsys.readouterr().err


def test_the_committed_page_is_what_the_script_writes(script: Any):
    results, page = ROOT / "benchmarks" / "results" / "lra", ROOT / "docs" / "lra.md"
    runs = list(results.glob("*.jsonl"))
    # Neither, or both and the same.
    written = page.read_text(encoding="utf-8") if page.exists() else None
    assert written == (script.render_page(results) if runs else None)
