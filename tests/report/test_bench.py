"""The benchmark's page: complete, self-contained, safe."""

import copy
import json
import re
from html.parser import HTMLParser
from typing import Any

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from hydropress.errors import DataNotFoundError, FileFormatError
from hydropress.report.bench import headline, render_bench, write_bench_report
from tiny import quick_allocation

HOSTILE = "</script><script>alert('x')</script><img src=http://evil.example/a.png>"


def row(method: str, order: int, errors: list[float | None], **extra: Any) -> dict[str, Any]:
    return {
        "method": method,
        "order": order,
        "errors": errors,
        "seconds": 0.1234,
        "memory_bytes": 5_000_000,
        "stationarity": None,
        "certificate": None,
    } | extra


def check(number: int | None, name: str, claim: str, figure: str, passed: bool | None):
    return {"number": number, "name": name, "claim": claim, "figure": figure, "passed": passed} | {
        "offenders": []
    }


def record(title: str = "A bank") -> dict[str, Any]:
    certificate = {"stationarity": 1e-11, "lower_bound": 0.31, "amplification": 7.5, "spread": 0.02}
    rows = [
        row("h2", 2, [0.8, 0.6], certificate=certificate),
        row("balanced", 2, [0.9, 0.6]),
        row("h2", 4, [0.5, 0.4], stationarity={"converged": 2}),
        row("balanced", 4, [0.7, None]),
        row("pymor-irka", 4, [0.55], memory_bytes=None, converged=1),
    ]
    growth = {"sizes": [64, 128, 256], "seconds": [0.5, 1.0, 2.0], "exponent": 1.0}
    return {
        "benchmark": "reduce",
        "title": "Reduction engine",
        "command": "hydropress bench reduce --out here",
        "claims": [
            {"number": 1, "claim": "First", "passed": False, "measured": 2, "checks": 2}
            | {"figures": ["a: 1", "b: 2"]},
            {"number": 2, "claim": "Second", "passed": None, "measured": 1, "checks": 2}
            | {"figures": ["c: -", "d: 3"]},
        ],
        "checks": [
            check(1, "a", "It holds", "1", True),
            check(1, "b", title, "2", False) | {"offenders": [title]},
            check(2, "c", "Unknown", "-", None),
            check(2, "d", "Known", "3", True),
            check(None, "e", "A guard", "4", True),
        ],
        "comparison": [
            {
                "case": "bank",
                "title": title,
                "time": "continuous",
                "metric": "horizon",
                "channels": 2,
                "order": 64,
                "rows": rows,
            }
        ],
        "speed": [
            {
                "order": 2,
                "channels": 3072,
                "discrete": {"seconds": [2.0, 1.5], "median_error": 0.9},
                "continuous": {"seconds": [0.7], "median_error": 0.9},
                "irka": {
                    "channels": 64,
                    "seconds_for_all": 300.0,
                    "scaled": True,
                    "median_error": 0.95,
                },
            }
        ],
        "path": {
            "orders": [2, 4],
            "channels": 8,
            "all": 3072,
            "discrete": {"seconds_for_all": 77.0},
            "continuous": {"seconds_for_all": 55.0},
            "scaled": True,
        },
        "allocation": quick_allocation(16, (8, 2), 500, 0, lambda _: None),
        "growth": {"channels": growth, "states": growth},
        "versions": {"hydropress": "0.1.0", "torch": "2.9"},
        "notes": ["A note"],
        "left_out": ["Something was scaled"],
        "config": {"seed": 3},
        "machine": {"system": "Linux", "processor": "", "cores": 2},
        "threads": {"torch": 1},
        "seconds": 77.0,
        "created": "2026-01-02T03:04:05+00:00",
    }


def payload(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


class Links(HTMLParser):
    """What a page asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str | None] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value for name, value in attrs if name in ("src", "href")}


def cells(page: str) -> list[list[str]]:
    """Return the texts of the cells of every table row."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page.replace(get_plotlyjs(), ""), re.S)
    return [
        [
            re.sub(r"<[^>]+>", "", cell).strip()
            for cell in re.findall(r"<td[^>]*>(.*?)</td>", one, re.S)
        ]
        for one in rows
    ]


def test_tables_hold_the_measured_values():
    rows = cells(render_bench(record()))
    # Order, method, systems, median, largest, against H² (median, least), converged, seconds, MB.
    assert ["4", "IRKA, pyMOR", "1", "0.550", "0.550", "1.100", "1.100000", "1", "0.123", "–"] in [
        one[:10] for one in rows
    ]
    h2 = next(one for one in rows if one[:2] == ["4", "H²"])
    assert h2[7] == "2"
    two = next(one for one in rows if one[:2] == ["2", "H²"])
    assert two[10:] == ["1.00e-11", "–", "–", "0.310", "7.500", "0.020", "–"]
    assert ["3,072 channels to order 2", "H², discrete", "1.5", "0.900"] in rows
    path = "3,072 channels to every order 2 to 4"
    assert [path, "H², continuous, scaled from 8", "55.0", "–"] in rows
    assert ["512", "1/32", "global", "75.00\u00a0%", "+25.00", "75.00\u00a0%"] in [
        one[:6] for one in rows
    ]


def test_the_claims_come_first_each_with_its_checks():
    page = render_bench(record())
    places = [page.index(f"Claim {number}: </span>") for number in (1, 2)]
    for name, place in {"a": 0, "b": 0, "c": 1, "d": 1}.items():
        found = page.index(f"<code>{name}</code>")
        assert places[place] < found < [*places, page.index("Checks of the benchmark")][place + 1]
    assert page.index("Checks of the benchmark") < page.index("<code>e</code>")
    verdicts = re.findall(r'class="verdict (\w+)">([^<]+)<', page)
    assert verdicts[:3] == [("fail", "fail"), ("pass", "pass"), ("fail", "fail")]
    assert verdicts[3] == ("unknown", "in part")


def test_another_metric_stands_beside_the_size():
    assert "2 systems of order 64; finite horizon" in render_bench(record())


def test_the_headline_counts_the_checks():
    assert headline(record()["checks"]) == "3 of 4 checks passed, 1 not measured"


def test_figures_are_valid_and_leave_out_what_saw_other_systems():
    drawn = payload(render_bench(record()))
    figures = [*drawn["cases"], drawn["speed"], *drawn["growth"].values()]
    for figure in figures:
        text = json.dumps(figure)
        go.Figure(json.loads(re.sub(r"var\(--[a-z0-9-]+\)", "#000", text)))
    names = {trace["name"] for trace in drawn["cases"][0]["data"]}
    assert names == {"H²", "Balanced truncation"}
    h2 = next(trace for trace in drawn["cases"][0]["data"] if trace["name"] == "H²")
    assert (h2["x"], h2["y"]) == ([2, 4], [0.7, 0.45])


def test_an_order_zero_has_its_place():
    held = record()
    held["comparison"][0]["rows"] += [row("h2", 0, [1.0, 1.0]), row("balanced", 0, [1.0, 1.0])]
    figure = payload(render_bench(held))["cases"][0]
    axis = figure["layout"]["xaxis"]
    assert axis["type"] == "linear"
    assert axis["range"][0] < 0 < axis["range"][1]
    assert axis["tickvals"] == [0, 2, 4]


def test_the_page_needs_no_network_and_hostile_text_stays_text():
    page = render_bench(record(HOSTILE)).replace(get_plotlyjs(), "")
    assert "<script>alert" not in page
    assert "<img" not in page
    links = Links()
    links.feed(page)
    assert links.found == {"data:,"}  # the icon
    assert "default-src 'none'" in page


def test_a_record_with_missing_parts_is_refused(tmp_path):
    with pytest.raises(DataNotFoundError, match="hydropress bench reduce"):
        write_bench_report(tmp_path)
    damaged = copy.deepcopy(record())
    del damaged["growth"]
    (tmp_path / "bench.json").write_text(json.dumps(damaged))
    with pytest.raises(FileFormatError, match="growth"):
        write_bench_report(tmp_path)
    (tmp_path / "bench.json").write_text(json.dumps(record()))
    assert write_bench_report(tmp_path).read_text().startswith("<!DOCTYPE html>")
