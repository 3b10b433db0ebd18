"""The report page: complete, self-contained, safe."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

from hydropress.report import render_report, write_report
from hydropress.report.html import script_json

HOSTILE = "</script><script>alert('x')</script><img src=http://evil.example/a.png onerror=alert(1)>"


def fake_row(method: str, calibrated: bool, order: int, accuracy: float, **extra: Any) -> dict:
    return {
        "method": method,
        "calibrated": calibrated,
        "order": order,
        "ratio": order / 64,
        "ssm_parameters": 128 * (2 * order + 2),
        "total_parameters": 9_482 + 128 * (2 * order + 2),
        "relative_h2_error": 0.83 / order,
        "accuracy": accuracy,
        "agreement": accuracy + 0.04,
        "finetuned": False,
    } | extra


def fake_results() -> list[dict]:
    """A results table with the shape of a real one."""
    measured = {
        ("h2", True): (0.568, 0.711, 0.821, 0.852, 0.876),
        ("h2", False): (0.304, 0.279, 0.478, 0.555, 0.792),
        ("balanced", False): (0.234, 0.239, 0.340, 0.595, 0.832),
        ("modal", False): (0.226, 0.218, 0.201, 0.437, 0.703),
        ("gradient", False): (0.251, 0.262, 0.391, 0.604, 0.828),
    }
    rows = [
        fake_row("original", False, 64, 0.881, relative_h2_error=0.0, agreement=1.0),
        fake_row("h2", True, 2, 0.879, finetuned="48 steps on 4,096 images", agreement=0.953),
        fake_row("h2", True, 4, 0.8822, finetuned=True, relative_h2_error=None, agreement=0.961),
        fake_row("balanced", False, 2, 0.781, finetuned="48 steps on 4,096 images"),
    ]
    for (method, calibrated), accuracies in measured.items():
        for order, accuracy in zip((2, 4, 8, 16, 32), accuracies, strict=True):
            rows.append(fake_row(method, calibrated, order, accuracy))
    return rows


def fake_layer(generator: np.random.Generator, name: str, order: int, length: int) -> dict:
    """A layer like a trained S4D: slow poles close to the unit circle, channel by channel."""
    width, sampled = 32, 12

    def bank(num_poles: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
        step = np.exp(generator.uniform(np.log(1e-3), np.log(1e-1), (channels, 1)))
        decay = 0.5 * np.exp(0.4 * generator.standard_normal((channels, num_poles)))
        frequency = np.pi * np.arange(num_poles) + generator.standard_normal((channels, num_poles))
        spread = generator.standard_normal((2, channels, num_poles))
        residues = step * (spread[0] + 1j * spread[1])
        return step * (-decay + 1j * np.abs(frequency)), residues

    def responses(exponents: np.ndarray, residues: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        time, angles = np.arange(length), np.geomspace(1e-3, np.pi, 160)
        impulse = 2 * (residues[:, None] * np.exp(np.outer(exponents, time))).real.sum(0)
        kernel = impulse @ np.exp(-1j * np.outer(time, angles))
        return impulse, 20 * np.log10(np.abs(kernel))

    def pairs(exponents: np.ndarray) -> list[list[float]]:
        poles = np.exp(exponents.ravel())
        return np.stack([poles.real, np.abs(poles.imag)], -1).tolist()

    full, residues = bank(32, sampled)
    energy = np.abs(residues) ** 2 / -full.real
    strongest = np.argsort(-energy, axis=1)[:, : order // 2]
    reduced = np.take_along_axis(full, strongest, 1)
    if order == 2:
        reduced[0] = reduced[0].real  # a real pole
    channels = []
    for channel in range(4):
        before = responses(full[channel], residues[channel])
        modes = np.exp(np.outer(np.arange(length), reduced[channel]))
        basis = np.concatenate([2 * modes.real, -2 * modes.imag], 1)
        fit = np.linalg.lstsq(basis, before[0], rcond=None)[0]
        after = responses(reduced[channel], fit[: order // 2] + 1j * fit[order // 2 :])
        channels.append(
            {
                "channel": 7 * channel,
                "impulse_full": before[0].tolist(),
                "impulse_reduced": after[0].tolist(),
                "frequency": np.geomspace(1e-3, np.pi, 160).tolist(),
                "magnitude_full": before[1].tolist(),
                "magnitude_reduced": after[1].tolist(),
            }
        )
    errors = np.clip(generator.lognormal(np.log(1.2 / order), 0.7, width), 0, 1.0)
    return {
        "name": name,
        "order_before": 64,
        "order_after": order,
        "relative_h2_error": errors.tolist(),
        "output_error": (errors * generator.uniform(0.05, 0.6, width)).tolist(),
        "poles_before": pairs(full),
        "poles_after": pairs(reduced),
        "channels": channels,
    }


def fake_details(length: int = 784) -> dict:
    """Details with three models of four layers."""
    generator = np.random.default_rng(0)
    models = []
    for method, calibrated, order in (("h2", True, 2), ("h2", True, 8), ("balanced", False, 2)):
        layers = [fake_layer(generator, f"blocks.{i}.ssm", order, length) for i in range(4)]
        if method == "balanced":
            layers[2] |= {"output_error": None, "channels": []}
        name = f"{method}{', calibrated' if calibrated else ''}, order {order}"
        models.append(
            {"name": name, "method": method, "calibrated": calibrated}
            | {"order": order, "layers": layers}
        )
    return {
        "title": "S4D on sequential Fashion-MNIST",
        "subtitle": "Four layers, 32 channels each, 64 states per channel",
        "command": "hydropress bench fashion-mnist --orders 2,4,8,16,32 --seed 0 --out runs/0",
        "versions": {"hydropress": "0.1.0", "torch": "2.9.1", "python": "3.12.3"},
        "created": "2026-11-23T21:40:00+00:00",
        "seconds": 412.7,
        "data": "2,000 test sequences; calibrated on 256 training sequences",
        "notes": ["One seed. One standard error of an accuracy is about 0.7 points."],
        "models": models,
    }


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(fake_results(), fake_details(96))


def own(page: str) -> str:
    """Drop plotly's own source from a page."""
    return page.replace(get_plotlyjs(), "")


def payload(page: str) -> dict:
    text = re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL)
    assert text is not None
    return json.loads(text.group(1))


def figures(value: Any) -> list[dict]:
    """Find every figure of a payload."""
    if isinstance(value, dict) and {"data", "layout"} <= set(value):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [figure for entry in inside for figure in figures(entry)]


def test_whose_the_states_are_is_said() -> None:
    details = fake_details(96)
    details["models"][0]["layers"][0]["shared"] = True
    models = payload(render_report(fake_results(), details))["models"]
    summaries = [layer["summary"] for model in models for layer in model["layers"]]
    assert summaries[0].startswith("64 states → 2 shared by all channels, ")
    assert summaries[1].startswith("64 states → 2 per channel, ")


def test_table_holds_the_values_of_every_row(page: str) -> None:
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    table = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("<tr ")[1:]]
    assert len(table) == len(fake_results())
    cells = [[re.sub(r"<[^>]+>", "", cell) for cell in row] for row in table]
    for row in fake_results():
        expected = {
            2: f"{100 * row['accuracy']:.1f}\u00a0%",
            4: f"{100 * row['agreement']:.1f}\u00a0%",
            7: f"{row['ssm_parameters']:,}",
            8: f"{row['total_parameters']:,}",
        }
        matches = [
            line
            for line in cells
            if line[0] == str(row["order"]) and all(line[i] == v for i, v in expected.items())
        ]
        assert matches, row


def test_table_emphasises_the_best_row_without_retraining(page: str) -> None:
    best = re.findall(r'<tr class="[^"]*best">.*?</tr>', page, re.DOTALL)
    assert len(best) == 5
    assert all("H², calibrated" in row and "<small>" not in row for row in best)


def test_headline_is_computed_from_the_rows(page: str) -> None:
    text = page.replace("\u00a0", " ")
    assert "64 states → 2: 88.1 % → 87.9 % after recovery" in text
    assert "Without retraining, 64 states → 32: 88.1 % → 87.6 %" in text


def test_page_needs_no_network(page: str) -> None:
    text = own(page)
    assert len(text) < len(page) - 1_000_000
    assert not re.search(r"https?:|//cdn|@import|url\(", text)
    assert re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', text) == ["data:,"]
    assert page.count("<script") == own(page).count("<script") == 3
    assert "default-src 'none'" in text


def test_every_figure_is_valid_plotly(page: str) -> None:
    found = figures(payload(page))
    assert len(found) > 40
    for figure in found:
        go.Figure(figure)


def test_poles_are_mirrored_and_stay_in_the_disc(page: str) -> None:
    trace = payload(page)["models"][0]["layers"][0]["disc"]["before"]["data"][-1]
    x, y = np.array(trace["x"]), np.array(trace["y"])
    np.testing.assert_allclose(np.sort(y), np.sort(-y))
    assert np.hypot(x, y).max() < 1


def test_what_vouches_for_a_layer_is_shown() -> None:
    details = fake_details(16)
    layers = details["models"][0]["layers"]
    layers[0]["certificate"] = {
        "lower_bound": {"median": 0.25, "largest": 0.5},
        "balanced_error": {"median": 0.5, "largest": 0.75},
        "irka_error": {"median": None, "largest": None},
        "amplification": {"median": 1.0, "largest": 2.5},
        "spread": {"median": None, "largest": None},
    }
    page = own(render_report(fake_results(), details))
    shown = payload(page)["models"][0]["layers"]
    assert shown[0]["certificate"] == (
        "median H² error of lower bound 0.250, BT 0.500; largest amplification 2.500"
    )
    assert shown[1]["certificate"] == ""
    assert 'id="layer-certificate"' in page


def test_what_vouches_for_a_layer_is_explained(page: str) -> None:
    details = fake_details(16)
    names = {
        "lower_bound": "lower bound",
        "balanced_error": "BT",
        "irka_error": "IRKA",
        "amplification": "amplification",
        "stationarity": "stationarity",
        "mode_energy": "mode energy",
        "spread": "spread of the starts",
        "output_error": "output error",
    }
    details["models"][0]["layers"][0]["certificate"] = {
        key: {"median": 0.5, "largest": 0.5} for key in names
    }
    certified = render_report(fake_results(), details)
    line = payload(certified)["models"][0]["layers"][0]["certificate"]
    terms = re.findall(r"<dt>(.*?)</dt>", own(certified).split("How to read this")[1])
    explained = ", ".join(terms).lower()
    for name in names.values():
        assert name in line
        assert name.lower() in explained
    assert "stationarity" not in own(page).split("How to read this")[1].split("<script")[0].lower()


def test_hostile_text_stays_text() -> None:
    details = fake_details(16)
    details |= {"title": HOSTILE, "subtitle": HOSTILE, "command": HOSTILE, "notes": [HOSTILE]}
    details["versions"] = {HOSTILE: HOSTILE}
    details["models"][0]["name"] = HOSTILE
    details["models"][0]["layers"][0]["name"] = HOSTILE
    results = [*fake_results(), fake_row(HOSTILE, True, 2, 0.5, finetuned=HOSTILE)]
    text = own(render_report(results, details))
    assert text.count("<script") == text.count("</script>") == 3
    assert "<img" not in text
    assert payload(text)["models"][0]["name"] == HOSTILE


def test_script_json_cannot_close_its_element() -> None:
    text = script_json({"a": "</script><!--&\u2028", "b": float("nan"), "c": [float("inf"), 1.5]})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028", "b": None, "c": [None, 1.5]}


def test_no_models_and_only_required_details() -> None:
    details = {"title": "Bare", "command": "hydropress bench", "versions": {}, "models": []}
    page = own(render_report(fake_results(), details))
    assert "Inside the layers" not in page
    assert payload(page)["models"] == []


def test_no_accuracies() -> None:
    rows = [row | {"accuracy": None, "agreement": None} for row in fake_results()]
    page = own(render_report(rows, fake_details(16)))
    assert "Accuracy against size" not in page
    assert "relative H² error" in page
    rows = [row | {"accuracy": None} for row in fake_results()]
    page = own(render_report(rows, fake_details(16)))
    assert "of the decisions unchanged" in page


def test_no_results() -> None:
    assert "There are no results yet." in render_report([], fake_details(16))


def test_incomplete_models_are_drawn_as_far_as_they_go() -> None:
    details = fake_details(16)
    odd = {"name": "ssm", "poles_after": [[0.0, 0.0], [1, 0]], "relative_h2_error": [0.0, None]}
    details["models"] = [
        {"name": "empty", "layers": []},
        {"name": "bare", "layers": [{"name": "ssm"}]},
        {"name": "odd", "method": "h2", "layers": [odd]},
    ]
    page = own(render_report(fake_results(), details))
    assert [model["name"] for model in payload(page)["models"]] == ["bare", "odd"]


def test_write_report_reads_the_directory(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(fake_results()))
    (tmp_path / "details.json").write_text(json.dumps(fake_details(16)))
    path = write_report(tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8").lstrip().startswith("<!DOCTYPE html>")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "details.json",
        "report.html",
        "results.json",
    ]
