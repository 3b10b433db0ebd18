"""The tables of ``hydropress bench lra``, for the page and for Markdown alike."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hydropress.report.lra_sweep import Measure, Statistic, Sweep, Variant
from hydropress.report.methods import ORIGINAL, MethodStyle, Palette
from hydropress.report.tables import MISSING, count, share

Column = Mapping[Variant, Statistic]


@dataclass(frozen=True)
class Cell:
    """A mean in per cent over the seeds.

    Attributes
    ----------
    mean
        The number, or a dash.
    deviation
        The sample standard deviation with its sign, empty of a single seed.
    seeds
        The number of seeds where it is not that of the column's head, else empty.
    best
        Whether no other method of the column has a larger mean over the seeds that all have.
    """

    mean: str = MISSING
    deviation: str = ""
    seeds: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Methods by columns.

    Attributes
    ----------
    title
        What the numbers are.
    heads
        Of each column, its name and what stands below it.
    lines
        A method and its cells.
    """

    title: str
    heads: tuple[tuple[str, ...], ...]
    lines: tuple[tuple[MethodStyle, tuple[Cell, ...]], ...]


def columns(
    sweep: Sweep, recovered: bool, measure: Measure = "accuracy"
) -> dict[int, dict[Variant, Statistic]]:
    """Return what each variant reaches at each order, before or after recovery.

    Parameters
    ----------
    sweep
        The runs.
    recovered
        After recovery, by the main budget.
    measure
        Accuracy or agreement.

    Returns
    -------
    dict
        By order, from the largest to the smallest; variants without a number are left out.
    """
    reach = sweep.after if recovered else sweep.before
    found: dict[int, dict[Variant, Statistic]] = {}
    for order in sweep.orders:
        reached = {variant: reach(variant, order, measure) for variant in sweep.styles}
        found[order] = {name: value for name, value in reached.items() if value is not None}
    return found


def comparable(column: Column) -> Column:
    """Return what the variants of a column reach over the seeds that all of them have.

    Each seed has an original of its own, better or worse: means over different seeds tell nothing
    of the methods.  Nothing is left if no seed is common.
    """
    common = set.intersection(*({*each.by_seed} for each in column.values())) if column else set()
    return {variant: each.of(common) for variant, each in column.items()} if common else {}


def best(column: Column) -> list[Variant]:
    """Return the variants with the largest mean of a column over the seeds that all have.

    None if there is no choice.
    """
    compared = comparable(column)
    if len(compared) < 2:
        return []
    top = max(statistic.mean for statistic in compared.values())
    return [
        variant
        for variant, statistic in compared.items()
        if math.isclose(statistic.mean, top, rel_tol=0.0, abs_tol=1e-12)
    ]


def main_tables(sweep: Sweep, measure: Measure = "accuracy") -> list[Table]:
    """Return methods by orders, before and after recovery.

    Parameters
    ----------
    sweep
        The runs.
    measure
        Accuracy, with the originals' in the first line, or agreement.

    Returns
    -------
    list of Table
        The second is missing as long as nothing has been recovered.
    """
    name = {"accuracy": "Accuracy", "agreement": "Agreement with the original"}[measure]
    tables: list[Table] = []
    for recovered in (False, True):
        if recovered and sweep.budget is None:
            continue
        found = columns(sweep, recovered, measure)
        heads = [(place(sweep, order), f"order {order}") for order in found]
        title = f"{name} {'after' if recovered else 'before'} recovery"
        if recovered:
            title += f" by {budget_text(sweep.budget)} of the training steps"
        beside = None
        if measure == "accuracy":
            budget = sweep.budget if recovered else None
            beside = [sweep.original_beside(order, budget) for order in found]
        tables.append(_table(f"{title}, %", heads, list(found.values()), sweep, beside))
    return tables


def budget_tables(sweep: Sweep) -> dict[int, Table]:
    """Return methods by budgets of every order that has several."""
    tables: dict[int, Table] = {}
    for order in sweep.orders:
        budgets = sweep.budgets(order)
        if len(budgets) < 2:
            continue
        heads: list[tuple[str, ...]] = []
        found: list[dict[Variant, Statistic]] = []
        for budget in budgets:
            reached = {
                variant: sweep.after(variant, order, budget=budget) for variant in sweep.styles
            }
            found.append({name: value for name, value in reached.items() if value is not None})
            steps = (
                row["recovery_steps"]
                for row in sweep.rows
                if (row["order"], row["budget"]) == (order, budget)
            )
            heads.append((budget_text(budget), f"{span(steps)} steps"))
        title = f"Accuracy at {place(sweep, order)} (order {order}) by budget of recovery, %"
        beside = [sweep.original_beside(order, budget) for budget in budgets]
        tables[order] = _table(title, heads, found, sweep, beside)
    return tables


@dataclass(frozen=True)
class Size:
    """What methods of one order weigh.

    Attributes
    ----------
    states, order
        The share of the states kept, and the order.
    methods
        Labels of those that it is the size of; empty if it is that of all.
    ssm_parameters, total_parameters
        A count, or from which to which counts go.
    """

    states: str
    order: str
    methods: tuple[str, ...]
    ssm_parameters: str
    total_parameters: str


def sizes(sweep: Sweep) -> list[Size]:
    """Return what the models of each order weigh: one entry if that is the same of all methods.

    Layers that share poles between their directions, or stand in another form, have other numbers
    of parameters at the same order.
    """
    found: list[Size] = []
    for order in sweep.orders:
        rows = [row for row in sweep.rows if row["order"] == order]
        by_size: dict[tuple[str, str], list[str]] = {}
        for variant, style in sweep.styles.items():
            own = [row for row in rows if sweep.variant(row) == variant]
            if own:
                parameters = (
                    span(row["ssm_parameters"] for row in own),
                    span(row["total_parameters"] for row in own),
                )
                by_size.setdefault(parameters, []).append(style.label)
        for parameters, labels in by_size.items():
            methods = tuple(labels) if len(by_size) > 1 else ()
            found.append(Size(place(sweep, order), count(order), methods, *parameters))
    return found


def place(sweep: Sweep, order: int) -> str:
    """Write the share of the states kept at an order."""
    return share(sweep.ratio(order))


def budget_text(budget: float | None) -> str:
    """Write a share of the training steps."""
    return MISSING if budget is None else f"{100 * budget:.4g}\u00a0%"


def seeds_text(seeds: int) -> str:
    """Write a number of seeds."""
    return "1\u00a0seed" if seeds == 1 else f"{seeds}\u00a0seeds"


def span(values: Iterable[int]) -> str:
    """Write a count, or from which to which counts go."""
    distinct = sorted(set(values))
    if not distinct:
        return MISSING
    ends = distinct[:1] if len(distinct) == 1 else [distinct[0], distinct[-1]]
    return "–".join(map(count, ends))


def _table(
    title: str,
    heads: list[tuple[str, ...]],
    found: list[dict[Variant, Statistic]],
    sweep: Sweep,
    originals: list[Statistic | None] | None,
) -> Table:
    seeds = [max((each.seeds for each in column.values()), default=0) for column in found]
    lines: list[tuple[MethodStyle, tuple[Cell, ...]]] = []
    if originals is not None:
        pairs = zip(originals, seeds, strict=True)
        cells = tuple(_cell(one, number or (one.seeds if one else 0)) for one, number in pairs)
        lines.append((Palette(()).style({"method": ORIGINAL}), cells))
    first = [best(column) for column in found]
    for variant, style in sweep.styles.items():
        cells = tuple(
            replace(_cell(column.get(variant), number), best=variant in winners)
            for column, number, winners in zip(found, seeds, first, strict=True)
        )
        lines.append((style, cells))
    named = (
        (*head, seeds_text(number) if number else "no runs")
        for head, number in zip(heads, seeds, strict=True)
    )
    return Table(title, tuple(named), tuple(lines))


def _cell(statistic: Statistic | None, seeds: int) -> Cell:
    if statistic is None:
        return Cell()
    deviation = statistic.deviation
    return Cell(
        mean=f"{100 * statistic.mean:.2f}",
        deviation="" if deviation is None else f"±\u00a0{100 * deviation:.2f}",
        seeds="" if statistic.seeds == seeds else seeds_text(statistic.seeds),
    )
