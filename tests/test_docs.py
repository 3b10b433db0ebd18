"""What the documentation tells to type does run, and what it lists is what there is."""

import json
import re
from pathlib import Path

import torch

from hydropress.data.tasks import TASKS
from hydropress.models.adapters import registry

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_the_worked_example_of_an_adapter(capsys, monkeypatch):
    monkeypatch.setattr(registry, "_ADAPTERS", dict(registry._ADAPTERS))
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "adapters.md").read_text(), re.DOTALL)
    torch.manual_seed(0)
    exec(compile(code, "adapters.md", "exec"), {"__name__": "example"})
    assert float(capsys.readouterr().out) == 0.25


def test_every_adapter_is_in_the_table():
    text = (DOCS / "adapters.md").read_text()
    names = {name.removesuffix("-channels-last") for name in registry.adapter_names()}
    listed = set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE))
    assert names - listed <= {"resonator"}
    assert listed <= names


def test_every_task_is_in_the_table_of_data():
    text = (DOCS / "data.md").read_text(encoding="utf-8")
    rows = "".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))
    assert re.findall(r"`([^`]+)`", rows) == list(TASKS)
    # What a task without its folder names is what the page names.
    for task in TASKS.values():
        assert all(address.rstrip(",") in text for address in re.findall(r"https\S+", task.needs))


def test_links_between_pages_lead_somewhere():
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([\w./-]+)\)", page.read_text(encoding="utf-8")):
            assert (DOCS / target).exists(), (page, target)


def test_the_demo_table_of_the_readme_is_that_of_the_recorded_run():
    record = json.loads((ROOT / "benchmarks" / "results" / "demo.json").read_text())
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| method \| order \|.*\n.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert len(lines) == len(record)
    for (method, order, *sizes, error, accuracy, agreement), row in zip(lines, record, strict=True):
        assert method.split(",")[0] == row["method"]
        assert ("calibrated" in method) == row["calibrated"], method
        assert (int(order), *(int(size.replace(",", "")) for size in sizes)) == (
            row["order"],
            row["ssm_parameters"],
            row["total_parameters"],
        )
        shares = row["relative_h2_error"], row["accuracy"], row["agreement"]
        printed = ["–" if share is None else f"{100 * share:.1f} %" for share in shares]
        assert [error, accuracy, agreement] == printed, method
