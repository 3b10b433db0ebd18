"""Accuracy against size, as plotly figures in plain dictionaries.

Colours are CSS variables; the page resolves them, so one figure serves light and dark.
"""

import math
from collections.abc import Iterable
from html import escape
from typing import Any

from hydropress.report.methods import ORIGINAL, MethodStyle, Palette
from hydropress.report.tables import (
    Row,
    count,
    error,
    number,
    original_row,
    percent,
    points,
    recovery,
)

Figure = dict[str, Any]

METRICS = {"accuracy": "Accuracy", "agreement": "Agreement"}
SIZES = {"order": "States per system", "ssm_parameters": "SSM parameters"}


def size_figures(results: list[Row], palette: Palette) -> dict[str, Figure]:
    """Draw each metric against each size that the results hold.

    Parameters
    ----------
    results
        The rows.
    palette
        The styles of the methods.

    Returns
    -------
    dict
        Figures by ``"metric:size"``; combinations without a single point are left out.
    """
    figures = {}
    for metric in METRICS:
        for size in SIZES:
            usable = [row for row in results if _place(row, metric, size) is not None]
            if any(row["method"] != ORIGINAL for row in usable):
                figures[f"{metric}:{size}"] = _size_figure(usable, palette, metric, size)
    return figures


def legend(results: list[Row], palette: Palette) -> list[MethodStyle]:
    """Return the style of each series in the results, the original left out."""
    styles = {palette.style(row) for row in results if row["method"] != ORIGINAL}
    return sorted(styles, key=lambda style: style.rank)


def log_axis(values: Iterable[float], padding: float, exact: bool = False) -> dict[str, Any]:
    """Lay out a logarithmic axis over positive values.

    Parameters
    ----------
    values
        Positive numbers.
    padding
        Free space on either side, as a share of the axis.
    exact
        Put the ticks on the values themselves if there are few, instead of on round numbers.

    Returns
    -------
    dict
        A plotly axis with range and ticks.
    """
    distinct = sorted(set(values))
    low, high = math.log10(distinct[0]), math.log10(distinct[-1])
    margin = max(padding * (high - low), 0.08)
    low, high = low - margin, high + margin
    if exact and len(distinct) <= 9:
        ticks = distinct
    else:
        digits = (1, 2, 5) if high - low < 2.6 else (1,)
        decades = range(math.floor(low), math.ceil(high) + 1)
        ticks = [digit * 10.0**decade for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
    return {
        "type": "log",
        "range": [low, high],
        "tickvals": ticks,
        "ticktext": [_short(tick) for tick in ticks],
    }


def _short(value: float) -> str:
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.4g}{suffix}"
    return f"{value:g}"


def _place(row: Row, metric: str, size: str) -> tuple[float, float] | None:
    width, height = number(row, size), number(row, metric)
    if width is None or width <= 0 or height is None:
        return None  # nothing to place, or no place on a logarithmic axis
    return width, 100 * height


def _size_figure(rows: list[Row], palette: Palette, metric: str, size: str) -> Figure:
    original = original_row(rows)
    place = {id(row): _place(row, metric, size) or (0.0, 0.0) for row in rows}
    series: dict[MethodStyle, list[Row]] = {}
    for row in sorted(rows, key=lambda row: place[id(row)]):
        if row is not original and row["method"] != ORIGINAL:
            series.setdefault(palette.style(row), []).append(row)
    data: list[dict[str, Any]] = []
    for style in sorted(series, key=lambda style: style.rank, reverse=True):
        plain = [row for row in series[style] if not recovery(row)]
        recovered = [row for row in series[style] if recovery(row)]
        common = {"type": "scatter", "name": escape(style.label), "legendgroup": style.key}
        if plain:
            data.append(
                common
                | _coordinates(plain, place)
                | {
                    "mode": "lines+markers",
                    "line": {
                        "color": style.color,
                        "width": 2,
                        "dash": "solid" if style.solid else "dash",
                    },
                    "marker": {"color": style.color, "size": 9, "symbol": style.marker},
                    "text": [_describe(row, style, original) for row in plain],
                    "hovertemplate": "%{text}<extra></extra>",
                }
            )
        if recovered:
            data.insert(0, common | _arrows(recovered, plain, place, style))
            data.append(
                common
                | _coordinates(recovered, place)
                | {
                    "mode": "markers",
                    "marker": {
                        "color": style.color,
                        "size": 13,
                        "symbol": style.marker,
                        "line": {"color": "var(--ink)", "width": 2},
                    },
                    "text": [_describe(row, style, original) for row in recovered],
                    "hovertemplate": "%{text}<extra></extra>",
                }
            )
    layout = _layout(rows, place, metric, size)
    if original is not None:
        style = palette.style(original)
        data.append(
            {"type": "scatter", "mode": "markers", "name": style.label}
            | _coordinates([original], place)
            | {
                "marker": {"color": style.color, "size": 9},
                "text": [_describe(original, style, None)],
                "hovertemplate": "%{text}<extra></extra>",
            }
        )
        height = place[id(original)][1]
        data.insert(0, reference_line(height, layout["xaxis"]["range"]))
        layout["annotations"] = [reference_label(height)]
    return {"data": data, "layout": layout}


def _coordinates(rows: list[Row], place: dict[int, tuple[float, float]]) -> dict[str, Any]:
    return {"x": [place[id(row)][0] for row in rows], "y": [place[id(row)][1] for row in rows]}


def _arrows(
    recovered: list[Row],
    plain: list[Row],
    place: dict[int, tuple[float, float]],
    style: MethodStyle,
) -> dict[str, Any]:
    """Join each recovered model to the same model before fine-tuning."""
    x: list[float | None] = []
    y: list[float | None] = []
    for after in recovered:
        for before in plain:
            if before["order"] == after["order"]:
                (x0, y0), (x1, y1) = place[id(before)], place[id(after)]
                x += [x0, x1, None]
                y += [y0, y1, None]
    line = {"color": style.color, "width": 1.5, "dash": "dot"}
    return {"mode": "lines", "x": x, "y": y, "line": line, "hoverinfo": "skip"}


def _describe(row: Row, style: MethodStyle, original: Row | None) -> str:
    lines = [f"<b>{escape(style.label)}</b>"]
    if recovery(row):
        lines.append(f"after recovery: {escape(recovery(row))}")
    lines.append(
        f"{count(row['order'])} states, {count(number(row, 'ssm_parameters'))} SSM parameters"
    )
    accuracy = number(row, "accuracy")
    reference = number(original, "accuracy") if original else None
    if accuracy is not None:
        change = "" if reference is None else f" ({points(accuracy - reference)} points)"
        lines.append(f"accuracy {percent(accuracy)}{change}")
    if number(row, "agreement") is not None:
        lines.append(f"agreement {percent(number(row, 'agreement'))}")
    if number(row, "relative_h2_error") is not None:
        lines.append(f"relative H² error {error(number(row, 'relative_h2_error'))}")
    return "<br>".join(lines)


def _layout(
    rows: list[Row], place: dict[int, tuple[float, float]], metric: str, size: str
) -> dict[str, Any]:
    heights = [place[id(row)][1] for row in rows]
    low, high = min(heights), max(heights)
    span = max(high - low, 4.0)
    widths = [place[id(row)][0] for row in rows]
    return {
        "xaxis": {"title": {"text": f"{SIZES[size]} (log scale)"}}
        | log_axis(widths, 0.06, exact=size == "order"),
        "yaxis": {
            "title": {"text": METRICS[metric]},
            "range": [max(low - 0.1 * span, -2.0), min(high + 0.14 * span, 107.0)],
            "ticksuffix": "\u00a0%",
        },
    }


def reference_line(height: float, ends: list[float]) -> dict[str, Any]:
    """Draw the original as a dashed line across the plot."""
    line = {"color": "var(--ink)", "width": 1.3, "dash": "dash"}
    coordinates = {"x": [10**end for end in ends], "y": [height, height]}
    return {"type": "scatter", "mode": "lines", "line": line, "hoverinfo": "skip"} | coordinates


def reference_label(height: float, side: str = "right") -> dict[str, Any]:
    """Write the original's accuracy above its line, at one end of it."""
    return {
        "text": f"original {percent(height / 100)}",
        "xref": "paper",
        "x": 1 if side == "right" else 0,
        "xanchor": side,
        "y": height,
        "yanchor": "bottom",
        "yshift": 4,
        "showarrow": False,
        "font": {"color": "var(--ink)"},
    }
