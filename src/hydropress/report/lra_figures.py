"""The figures of ``hydropress bench lra``, as plotly figures in plain dictionaries."""

from html import escape
from typing import Any

from hydropress.report.figures import Figure, log_axis, reference_label, reference_line
from hydropress.report.lra_sweep import Statistic, Sweep, Variant
from hydropress.report.lra_tables import budget_text, columns, place, seeds_text
from hydropress.report.methods import MethodStyle
from hydropress.report.tables import share

LEAST_SPAN = 1.0
"""Points that the axis of accuracies covers at least, so that noise looks small."""

Places = list[tuple[float, Statistic, str]]
"""Place on the axis, what was measured there, and the words for it."""


def share_figure(sweep: Sweep, recovered: bool) -> Figure:
    """Draw accuracy against the share of states kept, a line a method.

    Parameters
    ----------
    sweep
        The runs.
    recovered
        After recovery by the main budget, or before.

    Returns
    -------
    dict
        Data and layout; no data if there are none.
    """
    lines: dict[Variant, Places] = {}
    for order, column in columns(sweep, recovered).items():
        ratio = sweep.ratio(order)
        words = f"{place(sweep, order)}, order {order}"
        for variant, statistic in column.items():
            if ratio > 0:
                lines.setdefault(variant, []).append((ratio, statistic, words))
    ratios = [ratio for places in lines.values() for ratio, _, _ in places]
    if not ratios:
        return {"data": [], "layout": {}}
    axis = log_axis(ratios, 0.06, exact=True)
    axis["ticktext"] = [share(tick) for tick in axis["tickvals"]]
    return _figure(sweep, lines, axis | {"title": {"text": "Share of states (log scale)"}})


def budget_figure(sweep: Sweep, order: int) -> Figure:
    """Draw accuracy after recovery at one order against the budget, a line a method.

    Of seeds that have every budget, if there are some: others would bend the lines.
    """
    sweep = sweep.of_seeds_with_every_budget(order)
    lines: dict[Variant, Places] = {}
    for budget in sweep.budgets(order):
        words = f"{budget_text(budget)} of the training steps"
        for variant in sweep.styles:
            statistic = sweep.after(variant, order, budget=budget)
            if statistic is not None and budget > 0:
                lines.setdefault(variant, []).append((budget, statistic, words))
    budgets = [budget for places in lines.values() for budget, _, _ in places]
    if not budgets:
        return {"data": [], "layout": {}}
    axis = log_axis(budgets, 0.06, exact=True)
    axis["ticktext"] = [budget_text(tick) for tick in axis["tickvals"]]
    return _figure(sweep, lines, axis | {"title": {"text": "Share of training steps (log scale)"}})


def _figure(sweep: Sweep, lines: dict[Variant, Places], axis: dict[str, Any]) -> Figure:
    original = 100 * sweep.original.mean
    data = [reference_line(original, axis["range"])]
    # What is drawn last lies on top.
    last_first = sorted(lines, key=lambda variant: sweep.styles[variant].rank, reverse=True)
    data += [
        _line(sorted(lines[variant], key=lambda at: at[0]), sweep.styles[variant])
        for variant in last_first
    ]
    ends = [original]
    for places in lines.values():
        for _, statistic, _ in places:
            spread = statistic.deviation or 0.0
            ends += [100 * (statistic.mean - spread), 100 * (statistic.mean + spread)]
    low, high = min(ends), max(ends)
    span = max(high - low, LEAST_SPAN)
    middle = (low + high) / 2
    low, high = min(low, middle - span / 2), max(high, middle + span / 2)
    vertical = {
        "title": {"text": "Accuracy"},
        "range": [max(low - 0.06 * span, -2.0), min(high + 0.12 * span, 107.0)],
        "ticksuffix": "\u00a0%",
    }
    layout = {"xaxis": axis, "yaxis": vertical, "annotations": [reference_label(original, "left")]}
    return {"data": data, "layout": layout}


def _line(places: Places, style: MethodStyle) -> dict[str, Any]:
    label = escape(style.label)
    line: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label,
        "legendgroup": style.key,
        "x": [at for at, _, _ in places],
        "y": [100 * statistic.mean for _, statistic, _ in places],
        "line": {"color": style.color, "width": 1.8, "dash": "solid" if style.solid else "dash"},
        "marker": {"color": style.color, "size": 8, "symbol": style.marker},
        "text": [_describe(label, statistic, words) for _, statistic, words in places],
        "hovertemplate": "%{text}<extra></extra>",
    }
    spreads = [100 * (statistic.deviation or 0.0) for _, statistic, _ in places]
    if any(spreads):
        line["error_y"] = {
            "type": "data",
            "array": spreads,
            "color": style.color,
            "thickness": 1.2,
            "width": 3,
        }
    return line


def _describe(label: str, statistic: Statistic, words: str) -> str:
    deviation = statistic.deviation
    spread = "" if deviation is None else f" ± {100 * deviation:.2f}"
    reached = f"{100 * statistic.mean:.2f}{spread}\u00a0%, {seeds_text(statistic.seeds)}"
    return f"<b>{label}</b><br>{escape(words)}<br>{reached}"
