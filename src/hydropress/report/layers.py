"""Inside the layers: poles, responses and errors, as plotly figures in plain dictionaries."""

import cmath
import math
from html import escape
from typing import Any

from hydropress.report.figures import Figure, log_axis
from hydropress.report.methods import Palette
from hydropress.report.tables import count, error

LONGEST_HALF_LIFE = 1e9
"""Half-lives, in samples, are drawn up to here: a pole on the unit circle has none."""

ERRORS = {
    "relative_h2_error": "relative H² error",
    "output_error": "relative output error",
}


def model_figures(model: dict[str, Any], palette: Palette) -> dict[str, Any]:
    """Draw everything the report shows of one model.

    Parameters
    ----------
    model
        An entry of ``details["models"]``.
    palette
        The styles of the methods.

    Returns
    -------
    dict
        The model's name, its error figures and a record per layer, ready for JSON.
    """
    color = palette.style(model).color if model.get("method") else "var(--method-h2)"
    layers = model.get("layers") or []
    return {
        "name": model["name"],
        "color": color,
        "errors": {key: _error_figure(layers, key, color) for key in ERRORS},
        "layers": [
            {
                "name": layer["name"],
                "summary": _summary(layer),
                "certificate": _certificate(layer),
                "disc": _disc_figures(layer, color),
                "rates": _rate_figures(layer, color),
                "channels": [_channel(entry, color) for entry in layer.get("channels") or []],
            }
            for layer in layers
        ],
    }


def _summary(layer: dict[str, Any]) -> str:
    before, after = layer.get("order_before"), layer.get("order_after")
    parts = []
    if before is not None and after is not None:
        owner = "shared by all channels" if layer.get("shared") else "per channel"
        parts.append(f"{count(before)} states → {count(after)} {owner}")
    for key, name in (("relative_h2_error", "H² error"), ("output_error", "output error")):
        values = sorted(_finite(layer.get(key)))
        if values:
            parts.append(f"median {name} {error(values[len(values) // 2])}")
    return ", ".join(parts)


def _certificate(layer: dict[str, Any]) -> str:
    """Return what vouches for a layer, in a line; nothing if the record has no certificate."""
    figures = layer.get("certificate") or {}

    def entry(key: str, which: str) -> str | None:
        value = (figures.get(key) or {}).get(which)
        return error(value) if value is not None and math.isfinite(value) else None

    compared = (("lower bound", "lower_bound"), ("BT", "balanced_error"), ("IRKA", "irka_error"))
    largest = (
        ("amplification", "amplification"),
        ("stationarity", "stationarity"),
        ("mode energy", "mode_energy"),
        ("spread of the starts", "spread"),
        ("output error", "output_error"),
    )
    lines: list[str] = []
    for words, names, which in (
        ("median H² error of", compared, "median"),
        ("largest", largest, "largest"),
    ):
        parts = [
            f"{name} {value}" for name, key in names if (value := entry(key, which)) is not None
        ]
        if parts:
            lines.append(f"{words} {', '.join(parts)}")
    return "; ".join(lines)


def _finite(values: list[float | None] | None) -> list[float]:
    return [value for value in values or [] if value is not None and math.isfinite(value)]


def _rounded(values: list[float | None] | None) -> list[float | None]:
    """Keep six digits, enough for any screen, and drop what is not a number."""
    return [
        float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
        for value in values or []
    ]


def _poles(pairs: list[list[float]] | None) -> list[complex]:
    poles = [complex(real, imaginary) for real, imaginary in pairs or []]
    return [pole for pole in poles if cmath.isfinite(pole)]


def _pole_marker(color: str, number: int) -> dict[str, Any]:
    """Mark poles by crosses, as control engineers do; many poles get small, faint ones."""
    size, opacity = (7, 0.85) if number <= 150 else (5, 0.55)
    return {"color": color, "symbol": "x-thin", "size": size, "opacity": opacity} | {
        "line": {"color": color, "width": 1.5}
    }


def _pole_trace(
    points: list[tuple[float, float]], hover: str, color: str, stored: int
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": _rounded([point[0] for point in points]),
        "y": _rounded([point[1] for point in points]),
        "hovertemplate": f"{hover}<extra></extra>",
        "marker": _pole_marker(color, stored),
    }


def _disc_figures(layer: dict[str, Any], color: str) -> dict[str, Figure | None]:
    """Draw the poles in the unit disc, each pair by both its members."""
    poles = {"before": _poles(layer.get("poles_before")), "after": _poles(layer.get("poles_after"))}
    reach = max([1.0, *(abs(pole) for pair in poles.values() for pole in pair)]) * 1.12
    axis = {"range": [-reach, reach], "tickvals": [-1, 0, 1], "zeroline": True}
    layout = {
        "xaxis": axis | {"title": {"text": "real part"}, "constrain": "domain"},
        "yaxis": axis
        | {"title": {"text": "imaginary part"}, "scaleanchor": "x", "constrain": "domain"},
    }
    return {
        side: {
            "data": [
                _unit_circle(),
                _disc_trace(poles[side], "var(--ink-soft)" if side == "before" else color),
            ],
            "layout": layout,
        }
        if poles[side]
        else None
        for side in poles
    }


def _unit_circle() -> dict[str, Any]:
    """Draw the unit circle as a trace: plotly keeps stale shapes when a figure is replaced."""
    angles = [math.tau * step / 180 for step in range(181)]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": _rounded([math.cos(angle) for angle in angles]),
        "y": _rounded([math.sin(angle) for angle in angles]),
        "line": {"color": "var(--muted)", "width": 1.2},
        "hoverinfo": "skip",
    }


def _disc_trace(poles: list[complex], color: str) -> dict[str, Any]:
    mirrored = poles + [pole.conjugate() for pole in poles if pole.imag != 0]
    places = [(pole.real, pole.imag) for pole in mirrored]
    return _pole_trace(places, "%{x:.5f} %{y:+.5f} i", color, len(poles))


def _rate(pole: complex) -> tuple[float, float]:
    """Return frequency in radians per sample and half-life in samples."""
    modulus = abs(pole)
    decay = -math.log(modulus) if modulus > 0 else math.inf
    half_life = math.log(2) / decay if decay > 0 else LONGEST_HALF_LIFE
    return abs(cmath.phase(pole)), min(max(half_life, 0.05), LONGEST_HALF_LIFE)


def _rate_figures(layer: dict[str, Any], color: str) -> dict[str, Figure | None]:
    """Draw half-life against frequency, real poles in a column of their own at the left."""
    rates = {
        side: [_rate(pole) for pole in _poles(layer.get(f"poles_{side}"))]
        for side in ("before", "after")
    }
    everything = [rate for side in rates.values() for rate in side]
    if not everything:
        return {"before": None, "after": None}
    floor = min([frequency for frequency, _ in everything if frequency > 1e-4], default=0.1)
    column = floor / 2.5
    has_real = any(frequency < floor for frequency, _ in everything)
    frequencies = [max(frequency, floor) for frequency, _ in everything] + [math.pi]
    horizontal = log_axis([*frequencies, *([column] if has_real else [])], 0.05)
    if has_real:
        kept = [
            pair
            for pair in zip(horizontal["tickvals"], horizontal["ticktext"], strict=True)
            if pair[0] > 1.5 * column
        ]
        horizontal["tickvals"] = [column, *(value for value, _ in kept)]
        horizontal["ticktext"] = ["real", *(text for _, text in kept)]
    layout = {
        "xaxis": horizontal | {"title": {"text": "frequency, rad per sample"}},
        "yaxis": log_axis([half_life for _, half_life in everything], 0.06)
        | {"title": {"text": "half-life, samples"}},
    }
    figures: dict[str, Figure | None] = {}
    for side, values in rates.items():
        shade = "var(--ink-soft)" if side == "before" else color
        pairs = [rate for rate in values if rate[0] >= floor]
        real = [(column, half_life) for frequency, half_life in values if frequency < floor]
        half_life = "half-life %{y:.4g} samples"
        data = [
            _pole_trace(places, f"{first}<br>{half_life}", shade, len(values))
            for places, first in ((pairs, "%{x:.4g} rad per sample"), (real, "real pole"))
            if places
        ]
        figures[side] = {"data": data, "layout": layout} if data else None
    return figures


def _channel(entry: dict[str, Any], color: str) -> dict[str, Any]:
    label = entry.get("channel")
    frequency = _rounded(entry.get("frequency"))
    # A logarithmic axis has no place for frequency zero.
    shown = [index for index, value in enumerate(frequency) if value is not None and value > 0]

    def pick(key: str) -> list[float | None]:
        values = _rounded(entry.get(key))
        return [values[index] for index in shown if index < len(values)]

    return {
        "label": MISSING_CHANNEL if label is None else str(label),
        "impulse": _pair_figure(
            None, (_rounded(entry.get("impulse_full")), _rounded(entry.get("impulse_reduced"))),
            color, {"xaxis": {"title": {"text": "time, samples"}},
                    "yaxis": {"title": {"text": "impulse response"}}},
        ),
        "frequency": _pair_figure(
            [frequency[index] for index in shown],
            (pick("magnitude_full"), pick("magnitude_reduced")),
            color,
            {"xaxis": {"title": {"text": "frequency, rad per sample"}}
             | log_axis([frequency[index] or 1.0 for index in shown] or [1.0], 0.0),
             "yaxis": {"title": {"text": "magnitude, dB"}}},
        ),
    }  # fmt: skip


MISSING_CHANNEL = "?"


def _pair_figure(
    x: list[float | None] | None,
    curves: tuple[list[float | None], list[float | None]],
    color: str,
    layout: dict[str, Any],
) -> Figure | None:
    """Draw a full response as a broad pale line and the reduced one as a thin line on it."""
    if not any(curves):
        return None
    data = []
    for name, curve, line in (
        ("full", curves[0], {"color": "var(--full)", "width": 4.5}),
        ("reduced", curves[1], {"color": color, "width": 1.8}),
    ):
        data.append(
            {"type": "scatter", "mode": "lines", "name": name, "y": curve}
            | ({"x0": 0, "dx": 1} if x is None else {"x": x})
            | {"line": line, "hovertemplate": "%{y:.4g}<extra>" + name + "</extra>"}
        )
    return {"data": data, "layout": layout | {"hovermode": "x unified"}}


def _error_figure(layers: list[dict[str, Any]], key: str, color: str) -> Figure | None:
    """Draw the errors of every layer's channels, sorted from small to large, and the medians."""
    x: list[float] = []
    y: list[float] = []
    texts: list[str] = []
    medians: list[tuple[int, float]] = []
    for position, layer in enumerate(layers):
        indexed = [
            (value, index)
            for index, value in enumerate(layer.get(key) or [])
            if value is not None and math.isfinite(value)
        ]
        indexed.sort()
        for rank, (value, index) in enumerate(indexed):
            x.append(position + 0.76 * ((rank + 0.5) / len(indexed) - 0.5))
            y.append(value)
            texts.append(
                f"{escape(layer['name'])}, channel {index}<br>{ERRORS[key]} {error(value)}"
            )
        if indexed:
            medians.append((position, indexed[len(indexed) // 2][0]))
    if not y:
        return None
    bars_x = [p for position, _ in medians for p in (position - 0.38, position + 0.38, None)]
    bars_y = [p for _, median in medians for p in (median, median, None)]
    wide = min(y) > 0 and max(y) / min(y) > 30
    vertical = log_axis(y, 0.06) if wide else {"range": [0, 1.08 * max(y) or 1.0]}
    names = [escape(layer["name"]) for layer in layers]
    short = [name.removesuffix(".ssm").replace("blocks.", "block ") for name in names]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": _rounded(list(x)),
            "y": _rounded(list(y)),
            "text": texts,
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"color": color, "size": 5, "opacity": 0.75},
        },
        {"type": "scatter", "mode": "lines", "x": bars_x, "y": bars_y, "hoverinfo": "skip"}
        | {"line": {"color": "var(--ink)", "width": 2}},
    ]
    horizontal = {"range": [-0.6, len(layers) - 0.4], "showgrid": False}
    if len(short) <= 12:
        horizontal |= {"tickvals": list(range(len(short))), "ticktext": short}
    layout = {"xaxis": horizontal, "yaxis": vertical | {"title": {"text": ERRORS[key]}}}
    return {"data": data, "layout": layout}
