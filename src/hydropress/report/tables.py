"""What the report says in words and numbers: the headline, the key figures, the results table."""

import math
from datetime import datetime
from typing import Any

from hydropress.report.methods import ORIGINAL, Palette

Row = dict[str, Any]

MISSING = "–"
SMALL_LOSS = 0.01
"""A model within this accuracy of the original counts as equal in the headline."""


def number(row: Row, key: str) -> float | None:
    """Return a finite entry of a row, or None."""
    value = row.get(key)
    return value if value is not None and math.isfinite(value) else None


def percent(value: float | None) -> str:
    """Write a fraction in per cent, one decimal; the space before the sign does not break."""
    return MISSING if value is None else f"{100 * value:.1f}\u00a0%"


def points(value: float | None) -> str:
    """Write a difference of fractions in percentage points, with its sign."""
    if value is None:
        return MISSING
    rounded = round(100 * value, 1)
    return "0.0" if rounded == 0 else f"{rounded:+.1f}".replace("-", "−")


def count(value: float | None) -> str:
    """Write a count with separators; averages keep one decimal."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def share(value: float | None) -> str:
    """Write the fraction of states kept as 1/n where it is one, else in per cent."""
    if value is None or value <= 0:
        return MISSING
    inverse = 1 / value
    if round(inverse) >= 2 and abs(inverse - round(inverse)) < 0.005 * inverse:
        return f"1/{round(inverse)}"
    return "all" if abs(value - 1) < 1e-9 else percent(value)


def error(value: float | None) -> str:
    """Write a relative error with three significant digits."""
    if value is None:
        return MISSING
    return "0" if value == 0 else f"{value:.3f}" if 0.01 <= value < 100 else f"{value:.2e}"


def recovery(row: Row) -> str:
    """Describe the fine-tuning of a row; empty if there was none."""
    value = row.get("finetuned")
    if isinstance(value, str):
        return value.strip()
    return "fine-tuned" if value else ""


def original_row(results: list[Row]) -> Row | None:
    """Return the row of the uncompressed model, if it is there."""
    return next((row for row in results if row["method"] == ORIGINAL), None)


def table_rows(results: list[Row], palette: Palette) -> list[dict[str, Any]]:
    """Format the results table.

    Parameters
    ----------
    results
        The rows.
    palette
        The styles of the methods.

    Returns
    -------
    list of dict
        Text per cell, the original first, then from the largest order to the smallest; within an
        order by method, recovered after plain. ``best`` marks the best row of its order among
        those without retraining, ``first`` the first row of an order.
    """
    original = original_row(results)
    reference = number(original, "accuracy") if original else None
    ordered = sorted(
        results,
        key=lambda row: (
            row["method"] != ORIGINAL,
            -row["order"],
            palette.style(row).rank,
            bool(recovery(row)),
        ),
    )
    best = _best_per_order(results)
    formatted = []
    previous = None
    for row in ordered:
        accuracy = number(row, "accuracy")
        difference = None
        if accuracy is not None and reference is not None and row is not original:
            difference = accuracy - reference
        formatted.append(
            {
                "order": count(row["order"]),
                "share": share(number(row, "ratio")),
                "style": palette.style(row),
                "recovery": recovery(row),
                "ssm_parameters": count(number(row, "ssm_parameters")),
                "total_parameters": count(number(row, "total_parameters")),
                "relative_h2_error": error(number(row, "relative_h2_error")),
                "accuracy": percent(accuracy),
                "difference": points(difference),
                "agreement": percent(number(row, "agreement")),
                "best": any(row is winner for winner in best),
                "first": row["order"] != previous,
            }
        )
        previous = row["order"]
    return formatted


def headline(results: list[Row], palette: Palette) -> dict[str, Any]:
    """Say the result in one sentence, with its key figures.

    The row chosen is the smallest model within one point of the original's accuracy; if there is
    none, the most accurate compressed one.  Without accuracies, agreement decides, and without
    that the relative H² error.

    Parameters
    ----------
    results
        The rows.
    palette
        The styles of the methods.

    Returns
    -------
    dict
        ``sentence``, ``context`` (a second sentence, perhaps empty) and ``facts``, a list of
        (name, before, after).
    """
    original = original_row(results) or {}
    chosen = _choose(results, original)
    if chosen is None:
        accuracy = number(original, "accuracy")
        alone = f"Original model: {percent(accuracy)}" if accuracy is not None else "No results yet"
        return {"sentence": alone, "context": "", "facts": []}
    plain = _choose([row for row in results if not recovery(row)], original)
    context = f"{palette.style(chosen).label}"
    if recovery(chosen):
        detail = f" ({recovery(chosen)})" if isinstance(chosen["finetuned"], str) else ""
        context += f", fine-tuned{detail}."
        if plain is not None:
            context += f" Without retraining, {_sentence(plain, original)}."
    else:
        context += ", nothing retrained."
    return {
        "sentence": _sentence(chosen, original),
        "context": context,
        "facts": _facts(chosen, original),
    }


def seconds(value: float | None) -> str:
    """Write a duration."""
    if value is None or not math.isfinite(value):
        return ""
    if value < 120:
        return f"{value:.1f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def moment(text: str) -> str:
    """Write an ISO time for reading; anything else is returned as it is."""
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z").strip()
    except ValueError:
        return text


def _measure(row: Row) -> tuple[int, float]:
    """Rank a row: by accuracy, else by agreement, else by a small error."""
    for level, key in ((2, "accuracy"), (1, "agreement")):
        value = number(row, key)
        if value is not None:
            return level, value
    value = number(row, "relative_h2_error")
    return (0, -value) if value is not None else (-1, 0.0)


def _best_per_order(results: list[Row]) -> list[Row]:
    groups: dict[float, list[Row]] = {}
    for row in results:
        if row["method"] != ORIGINAL and not recovery(row) and _measure(row)[0] >= 0:
            groups.setdefault(row["order"], []).append(row)
    best: list[Row] = []
    for rows in groups.values():
        top = max(map(_measure, rows))
        best.extend(row for row in rows if len(rows) > 1 and _measure(row) == top)
    return best


def _choose(results: list[Row], original: Row) -> Row | None:
    rows = [row for row in results if row["method"] != ORIGINAL]
    if not rows:
        return None
    level = max(_measure(row)[0] for row in rows)
    rows = [row for row in rows if _measure(row)[0] == level]
    reference = _measure(original) if original else (-1, 0.0)
    if level > 0 and reference[0] == level:
        close = [row for row in rows if _measure(row)[1] >= reference[1] - SMALL_LOSS]
        if close:
            return min(close, key=lambda row: (row["order"], -_measure(row)[1]))
    return max(rows, key=lambda row: (_measure(row), -row["order"]))


def _sentence(row: Row, original: Row) -> str:
    states = f"{count(row['order'])} states"
    if original:
        states = f"{count(original['order'])} states → {count(row['order'])}"
    after, before = number(row, "accuracy"), number(original, "accuracy")
    if after is not None:
        change = percent(after) if before is None else f"{percent(before)} → {percent(after)}"
        return f"{states}: {change}{' after recovery' if recovery(row) else ''}"
    if number(row, "agreement") is not None:
        return f"{states}: {percent(number(row, 'agreement'))} of the decisions unchanged"
    if number(row, "relative_h2_error") is not None:
        return f"{states}: relative H² error {error(number(row, 'relative_h2_error'))}"
    return states


def _facts(row: Row, original: Row) -> list[tuple[str, str, str]]:
    facts = []
    for name, key, write in (
        ("States per system", "order", count),
        ("Accuracy", "accuracy", percent),
        ("SSM parameters", "ssm_parameters", count),
        ("All parameters", "total_parameters", count),
    ):
        after, before = number(row, key), number(original, key)
        if after is not None:
            facts.append((name, write(before) if before is not None else "", write(after)))
    if number(row, "agreement") is not None:
        facts.insert(2, ("Agreement with the original", "", percent(number(row, "agreement"))))
    return facts
