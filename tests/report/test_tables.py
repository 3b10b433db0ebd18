"""The words and numbers of the report."""

from typing import Any

import pytest

from hydropress.report.methods import Palette
from hydropress.report.tables import count, error, headline, points, seconds, share, table_rows


def row(method: str, order: int, accuracy: float | None, **extra: Any) -> dict[str, Any]:
    return {"method": method, "order": order, "accuracy": accuracy, "finetuned": False} | extra


def sentence(rows: list[dict[str, Any]]) -> str:
    return headline(rows, Palette(rows))["sentence"].replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (points(-0.0213), "−2.1"),
        (points(0.0213), "+2.1"),
        (points(-0.0001), "0.0"),
        (share(1 / 32), "1/32"),
        (share(0.4), "40.0\u00a0%"),
        (share(1.0), "all"),
        (count(4352), "4,352"),
        (count(2.5), "2.5"),
        (error(0.41517), "0.415"),
        (error(3.2e-9), "3.20e-09"),
        (seconds(412.7), "7 min"),
        (seconds(9000.0), "2 h 30 min"),
    ],
)
def test_numbers(written: str, expected: str) -> None:
    assert written == expected


def test_headline_takes_the_smallest_model_within_one_point() -> None:
    rows = [row("original", 64, 0.88), row("h2", 8, 0.8712), row("h2", 4, 0.86), row("h2", 16, 0.9)]
    assert sentence(rows) == "64 states → 8: 88.0 % → 87.1 %"


def test_headline_admits_a_loss() -> None:
    rows = [row("original", 64, 0.88), row("h2", 8, 0.6), row("h2", 4, 0.7, finetuned="9 steps")]
    assert sentence(rows) == "64 states → 4: 88.0 % → 70.0 % after recovery"


def test_headline_without_an_original() -> None:
    assert sentence([row("h2", 2, 0.5)]) == "2 states: 50.0 %"
    assert sentence([row("h2", 2, None)]) == "2 states"
    assert sentence([]) == "No results yet"
    assert sentence([row("original", 64, 0.88)]) == "Original model: 88.0 %"


def test_rows_are_sorted_by_order_then_method() -> None:
    rows = [
        row("modal", 2, 0.3),
        row("h2", 2, 0.9, calibrated=True, finetuned=True),
        row("something new", 4, 0.4),
        row("h2", 2, 0.5, calibrated=False),
        row("h2", 2, 0.7, calibrated=True),
        row("original", 64, 0.88),
    ]
    table = table_rows(rows, Palette(rows))
    assert [(line["order"], line["style"].label, line["recovery"]) for line in table] == [
        ("64", "Original", ""),
        ("4", "something new", ""),
        ("2", "H², calibrated", ""),
        ("2", "H², calibrated", "fine-tuned"),
        ("2", "H²", ""),
        ("2", "Modal truncation", ""),
    ]
    assert [line["best"] for line in table] == [False, False, True, False, False, False]


def test_each_known_method_has_a_look_of_its_own() -> None:
    names = ("h2", "balanced", "modal", "gradient", "last", "aire", "irka")
    palette = Palette([{"method": name} for name in names])
    styles = [palette.style({"method": name}) for name in names]
    assert len({style.color for style in styles}) == len({style.symbol for style in styles}) == 7
