"""The runs of one task, and what they come to over the seeds."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from hydropress.report.lra_rows import Row
from hydropress.report.methods import MethodStyle, Palette

Measure = Literal["accuracy", "agreement"]

BASELINES = ("hippo", "scratch")
"""What keeps nothing of the trained SSMs: drawn dashed, with open markers."""

NEVER_BEFORE = ("scratch",)
"""Methods that have nothing to show before they are trained."""


OUTCOME = "allocation_found"
"""Key of a row's allocation where it was an outcome, and makes no line of its own."""


class Variant(NamedTuple):
    """A method with the settings that make it a line of its own."""

    method: str
    calibrated: bool
    allocation: str
    recovery: str


@dataclass(frozen=True)
class Statistic:
    """A quantity over the seeds.

    Attributes
    ----------
    by_seed
        One number a seed; at least one.
    """

    by_seed: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Return the mean."""
        return statistics.fmean(self.by_seed.values())

    @property
    def deviation(self) -> float | None:
        """Return the sample standard deviation; None of a single seed."""
        return statistics.stdev(self.by_seed.values()) if self.seeds > 1 else None

    @property
    def seeds(self) -> int:
        """Return the number of seeds."""
        return len(self.by_seed)

    def of(self, seeds: Iterable[int]) -> "Statistic":
        """Return the same over some of the seeds."""
        return Statistic({seed: self.by_seed[seed] for seed in sorted(seeds)})

    def __sub__(self, other: "Statistic") -> "Statistic":
        """Return the difference seed by seed, of the same seeds."""
        return Statistic({seed: self.by_seed[seed] - other.by_seed[seed] for seed in self.by_seed})


@dataclass(frozen=True)
class Sweep:
    """All runs of one task and recipe.

    Attributes
    ----------
    task, recipe
        What was trained.
    rows
        The runs.
    styles
        How each variant looks, in the order of tables and legends.
    orders
        From the largest to the smallest.
    budget
        Share of the training steps that the main tables are about: the smallest that all variants
        were recovered by, or if there is none, the smallest of those that most of them were.
    shared
        Whether it is one of all variants.
    """

    task: str
    recipe: str
    rows: tuple[Row, ...]
    styles: dict[Variant, MethodStyle]
    orders: tuple[int, ...]
    budget: float | None
    shared: bool

    @property
    def original(self) -> Statistic:
        """Return the accuracy of the original models."""
        by_seed: dict[int, list[float]] = {}
        for row in self.rows:
            by_seed.setdefault(row["seed"], []).append(row["accuracy_original"])
        return Statistic({seed: statistics.fmean(by_seed[seed]) for seed in sorted(by_seed)})

    def original_beside(self, order: int, budget: float | None = None) -> Statistic | None:
        """Return the accuracy of the originals whose seeds have a run at an order (and budget)."""
        return _over_seeds(
            (row["seed"], row["accuracy_original"])
            for row in self.rows
            if row["order"] == order and budget in (None, row["budget"])
        )

    def ratio(self, order: int) -> float:
        """Return the share of the states kept at an order; of several, the median."""
        return statistics.median(row["ratio"] for row in self.rows if row["order"] == order)

    def budgets(self, order: int) -> list[float]:
        """Return the budgets by which something was recovered at an order, ascending."""
        return sorted(
            {row["budget"] for row in self.rows if row["order"] == order and _is_recovered(row)}
        )

    def of_seeds_with_every_budget(self, order: int) -> "Sweep":
        """Return the runs of seeds that have all budgets of an order; all runs if none has."""
        by_seed: dict[int, set[float]] = {}
        for row in self.rows:
            if row["order"] == order and _is_recovered(row):
                by_seed.setdefault(row["seed"], set()).add(row["budget"])
        whole = [seed for seed, budgets in by_seed.items() if budgets == {*self.budgets(order)}]
        rows = tuple(row for row in self.rows if row["seed"] in whole)
        return replace(self, rows=rows) if whole else self

    def before(
        self, variant: Variant, order: int, measure: Measure = "accuracy"
    ) -> Statistic | None:
        """Return what a variant reaches before recovery, whatever the budget of that is."""
        if variant.method in NEVER_BEFORE:
            return None
        runs = self._runs(variant, order)
        runs.sort(key=lambda row: (row["budget"] != self.budget, row["budget"]))
        return _over_seeds((row["seed"], row[f"{measure}_compressed"]) for row in runs)

    def after(
        self,
        variant: Variant,
        order: int,
        measure: Measure = "accuracy",
        budget: float | None = None,
    ) -> Statistic | None:
        """Return what a variant reaches after recovery by a budget, by default the main one."""
        asked = self.budget if budget is None else budget
        return _over_seeds(
            (row["seed"], row[f"{measure}_recovered"])
            for row in self._runs(variant, order)
            if row["budget"] == asked
        )

    def gain(
        self, variant: Variant, order: int, recovered: bool, budget: float | None = None
    ) -> Statistic | None:
        """Return accuracy minus that of the same seed's original, by default by the main budget."""
        key = "accuracy_recovered" if recovered else "accuracy_compressed"
        asked = self.budget if budget is None else budget
        return _over_seeds(
            (row["seed"], None if row[key] is None else row[key] - row["accuracy_original"])
            for row in self._runs(variant, order)
            if row["budget"] == asked or not recovered
        )

    def _runs(self, variant: Variant, order: int) -> list[Row]:
        return [row for row in self.rows if row["order"] == order and self.variant(row) == variant]

    def variant(self, row: Row) -> Variant:
        """Return the variant that a run belongs to."""
        found = _variant(row)
        if found.recovery:
            return found
        # A run that was not recovered belongs to whatever its method is recovered by elsewhere.
        return next((known for known in self.styles if known[:3] == found[:3]), found)


def sweeps(rows: Iterable[Row]) -> list[Sweep]:
    """Sort runs into sweeps, by task and recipe."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["recipe"]), []).append(row)
    return [_sweep(*key, groups[key]) for key in sorted(groups)]


def _sweep(task: str, recipe: str, rows: list[Row]) -> Sweep:
    rows = _with_settings_alone(rows)
    found = {_variant(row) for row in rows}
    recovered = {variant[:3] for variant in found if variant.recovery}
    variants = [each for each in found if each.recovery or each[:3] not in recovered]
    orders = tuple(sorted({row["order"] for row in rows}, reverse=True))
    styles = _styles(variants)
    sweep = Sweep(task, recipe, tuple(rows), styles, orders, None, shared=True)
    budgets: dict[Variant, set[float]] = {}
    for row in rows:
        if _is_recovered(row):
            budgets.setdefault(sweep.variant(row), set()).add(row["budget"])
    if not budgets:
        return sweep
    counts = Counter(budget for each in budgets.values() for budget in each)
    main = min(counts, key=lambda budget: (-counts[budget], budget))
    return replace(sweep, budget=main, shared=counts[main] == len(budgets))


def _with_settings_alone(rows: list[Row]) -> list[Row]:
    """Leave out allocations that were an outcome: of a run that was made with one alone."""
    made: dict[tuple[object, ...], set[str | None]] = {}
    for row in rows:
        made.setdefault(_run(row), set()).add(row["allocation"])
    several = {run[:2] for run, allocations in made.items() if len(allocations) > 1}
    return [row if _run(row)[:2] in several else _unallocated(row) for row in rows]


def _run(row: Row) -> tuple[object, ...]:
    keys = ("method", "calibrated", "order", "seed", "budget", "recovery")
    return tuple(row[key] for key in keys)


def _unallocated(row: Row) -> Row:
    return {**row, "allocation": "", OUTCOME: row["allocation"]}


def _variant(row: Row) -> Variant:
    return Variant(
        row["method"], bool(row["calibrated"]), row["allocation"] or "", row["recovery"] or ""
    )


def _styles(variants: list[Variant]) -> dict[Variant, MethodStyle]:
    """Return a style for every variant; what tells variants apart stands in the label."""
    palette = Palette([variant._asdict() for variant in variants])
    styles: dict[Variant, MethodStyle] = {}
    for variant in sorted(variants):
        style = palette.style(variant._asdict())
        if variant.method in BASELINES:
            style = replace(style, solid=False)
        twins = [other for other in variants if other[:2] == variant[:2]]
        label = style.label
        if len({twin.allocation for twin in twins}) > 1:
            label += f", {variant.allocation or 'no'} allocation"
        if len({twin.recovery for twin in twins}) > 1:
            label += f", {variant.recovery or 'no recovery'}"
        if variant != min(twins):
            # The key and the rank are made of it.
            name = "/".join((variant.method, variant.allocation, variant.recovery))
            position, _, last = style.rank
            style = replace(style, method=name, solid=False, rank=(position, name, last))
        styles[variant] = replace(style, label=label)
    return dict(sorted(styles.items(), key=lambda item: item[1].rank))


def allocations(sweep: Sweep) -> dict[str, list[str]]:
    """Return by allocation the labels of the methods that spread the states so."""
    found: dict[str, set[Variant]] = {}
    for row in sweep.rows:
        found.setdefault(row.get(OUTCOME) or row["allocation"] or "none", set()).add(
            sweep.variant(row)
        )
    return {
        name: [style.label for variant, style in sweep.styles.items() if variant in found[name]]
        for name in sorted(found)
    }


def _is_recovered(row: Row) -> bool:
    return row["accuracy_recovered"] is not None


def _over_seeds(values: Iterable[tuple[int, float | None]]) -> Statistic | None:
    """Collect the first number of each seed."""
    by_seed: dict[int, float] = {}
    for seed, value in values:
        if value is not None:
            by_seed.setdefault(seed, value)
    return Statistic({seed: by_seed[seed] for seed in sorted(by_seed)}) if by_seed else None
