"""The demo, on models and data that take seconds."""

import json
from typing import Any

import pytest

from hydropress.demo import run_demo
from hydropress.errors import InvalidArgumentError
from hydropress.models.checkpoint import load, save
from tiny import tiny_images, tiny_model

ORDERS = (4, 2)


@pytest.fixture
def models(tmp_path):
    save(tiny_model(), tmp_path / "original")
    save(tiny_model(state_size=2), tmp_path / "recovered")
    return {"model": tmp_path / "original", "recovered": tmp_path / "recovered"}


def data(split):
    return tiny_images(48 if split == "train" else 20, seed=int(split == "test"))


def test_the_demo_writes_everything(tmp_path, models):
    seen = []
    out = tmp_path / "out"
    options: dict[str, Any] = {
        "orders": ORDERS,
        "samples": 16,
        "data": data,
        "recovery_steps": 3,
        **models,
    }
    rows = run_demo(out, progress=lambda *step: seen.append(step), **options)
    kinds = [
        (row["method"], row["calibrated"], row["order"], bool(row["finetuned"])) for row in rows
    ]
    expected = [("original", False, 8, False)]
    for order in ORDERS:
        expected += [
            ("h2", True, order, False),
            ("h2", False, order, False),
            ("balanced", False, order, False),
            ("modal", False, order, False),
        ]
    expected += [("h2", True, 2, True), ("h2", True, 2, True)]
    assert kinds == expected
    assert all(0 <= row["accuracy"] <= 1 and 0 <= row["agreement"] <= 1 for row in rows)
    assert rows[-2]["finetuned"] == "3 steps on 48 images"
    assert json.loads((out / "results.json").read_text()) == rows
    details = json.loads((out / "details.json").read_text())
    assert len(details["models"]) == 8
    assert (out / "report.html").read_text().rstrip().endswith("</html>")
    assert load(out / "model").config.state_size == 2
    assert not list(out.rglob("*.tmp"))
    done = [step[0] for step in seen]
    assert done == sorted(done)
    assert seen[-1][0] == pytest.approx(seen[-1][1])
    # Again: its own output is replaced, and the numbers are the same.
    assert run_demo(out, **options) == rows


def test_the_shipped_recovery_is_described(tmp_path, models):
    record = {"steps": 2811, "sequences": 60000}
    (models["recovered"] / "training.json").write_text(json.dumps(record))
    rows = run_demo(
        tmp_path / "out", orders=(2,), samples=16, data=data, recovery_steps=1, **models
    )
    assert rows[-1]["finetuned"] == "2,811 steps on 60,000 images, shipped"


def test_a_folder_of_something_else_is_refused_before_any_work(tmp_path, models):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(InvalidArgumentError, match="not empty"):
        run_demo(tmp_path / "out", data=data, **models)
