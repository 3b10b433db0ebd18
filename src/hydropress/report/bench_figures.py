"""The figures of a benchmark's report, as plotly figures in plain dictionaries."""

import math
import statistics
from html import escape
from typing import Any

from hydropress.report.figures import Figure, log_axis
from hydropress.report.methods import MethodStyle
from hydropress.report.tables import error

BARS = {
    "discrete": ("H², discrete", "var(--method-h2)"),
    "continuous": ("H², continuous", "var(--method-other-1)"),
    "irka": ("IRKA, pyMOR", "var(--method-irka)"),
}


def error_figure(case: dict[str, Any], styles: dict[str, MethodStyle]) -> Figure:
    """Draw a case's median error against the order, a line a method.

    Parameters
    ----------
    case
        An entry of the record's ``comparison``.
    styles
        By method.
    """
    series: dict[str, list[tuple[int, float]]] = {}
    for row in case["rows"]:
        finite = [value for value in row["errors"] if value is not None and value > 0]
        # What reduced some of the systems only has another median.
        if finite and len(row["errors"]) == case["channels"]:
            place = (row["order"], statistics.median(finite))
            series.setdefault(row["method"], []).append(place)
    names = sorted(series, key=lambda name: styles[name].rank, reverse=True)
    data = [_line(series[name], styles[name]) for name in names]
    places = [place for points in series.values() for place in points]
    if not places:
        return {"data": [], "layout": {}}
    return {
        "data": data,
        "layout": {
            "xaxis": {"title": {"text": "Order"}} | _order_axis([order for order, _ in places]),
            "yaxis": {"title": {"text": "Relative H² error"}}
            | _scale([height for _, height in places]),
        },
    }


def _order_axis(orders: list[int]) -> dict[str, Any]:
    """Lay out a logarithmic axis, or a linear one if there is an order zero."""
    if min(orders) > 0:
        return log_axis(orders, 0.06, exact=True)
    ticks = sorted(set(orders))
    margin = 0.06 * max(1, ticks[-1])
    return {
        "type": "linear",
        "range": [-margin, ticks[-1] + margin],
        "tickvals": ticks,
        "ticktext": [f"{tick}" for tick in ticks],
    }


def _scale(heights: list[float]) -> dict[str, Any]:
    """Lay out the axis: decades where there are several, else at least a few round numbers."""
    axis = log_axis(heights, 0.08)
    low, high = axis["range"]
    if high - low > 3:
        ends = math.floor(low), math.ceil(high)
        decades = range(ends[0], ends[1] + 1, max(1, (ends[1] - ends[0]) // 5))
        axis["tickvals"] = [10.0**decade for decade in decades]
        axis["ticktext"] = [f"10<sup>{decade}</sup>".replace("-", "−") for decade in decades]
    elif len(axis["tickvals"]) < 3:
        digits = max(1, 1 - math.floor(math.log10(10**high - 10**low)))
        places = [10 ** (low + (high - low) * share) for share in (0.1, 0.5, 0.9)]
        axis["tickvals"] = sorted({round(place, digits) for place in places})
        axis["ticktext"] = [f"{tick:g}" for tick in axis["tickvals"]]
    return axis


def _line(points: list[tuple[int, float]], style: MethodStyle) -> dict[str, Any]:
    label = escape(style.label)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label,
        "legendgroup": style.key,
        "x": [order for order, _ in points],
        "y": [height for _, height in points],
        "line": {"color": style.color, "width": 1.8, "dash": "solid" if style.solid else "dash"},
        "marker": {"color": style.color, "size": 7, "symbol": style.marker},
        "text": [f"<b>{label}</b><br>order {order}: {error(height)}" for order, height in points],
        "hovertemplate": "%{text}<extra></extra>",
    }


def speed_figure(parts: list[dict[str, Any]]) -> Figure:
    """Draw the seconds that all channels take as bars, one group an order."""
    data: list[dict[str, Any]] = []
    heights: list[float] = []
    for key, (label, color) in BARS.items():
        present = [part for part in parts if key in part]
        values = [
            part[key]["seconds_for_all"] if key == "irka" else min(part[key]["seconds"])
            for part in present
        ]
        heights += values
        if present:
            data.append(
                {
                    "type": "bar",
                    "name": label,
                    "x": [f"to order {part['order']}" for part in present],
                    "y": values,
                    "marker": {"color": color},
                    "text": [f"{value:,.1f}" for value in values],
                    "textposition": "outside",
                    "cliponaxis": False,
                    "hovertemplate": f"{label}: %{{y:.2f}} s<extra></extra>",
                }
            )
    axis = log_axis(heights, 0.15)
    axis["range"][0] = min(axis["range"][0], math.log10(min(heights)) - 0.5)
    layout = {
        "barmode": "group",
        "xaxis": {},
        "yaxis": {"title": {"text": "Seconds (log scale)"}} | axis,
    }
    return {"data": data, "layout": layout}


def growth_figure(part: dict[str, Any], name: str) -> Figure:
    """Draw seconds against size, with the fitted power."""
    sizes, seconds, exponent = part["sizes"], part["seconds"], part["exponent"]
    centre = [sum(math.log(value) for value in values) / len(values) for values in (sizes, seconds)]
    fitted = [math.exp(centre[1] + exponent * (math.log(size) - centre[0])) for size in sizes]
    line = {"color": "var(--muted)", "width": 1.5, "dash": "dash"}
    marker = {"color": "var(--method-h2)", "size": 9}
    data = [
        {"type": "scatter", "mode": "lines", "x": sizes, "y": fitted, "line": line}
        | {"hoverinfo": "skip"},
        {"type": "scatter", "mode": "markers", "x": sizes, "y": seconds, "marker": marker}
        | {"hovertemplate": f"%{{x}} {name}: %{{y:.2f}} s<extra></extra>"},
    ]
    title = {"channels": "Channels", "states": "States N of a channel"}[name]
    return {
        "data": data,
        "layout": {
            "xaxis": {"title": {"text": title}} | log_axis(sizes, 0.08, exact=True),
            "yaxis": {"title": {"text": "Seconds"}} | _scale([*seconds, *fitted]),
        },
    }
