"""What the runs of a task say in words: how far from the original, and which method is first.

The words follow from the numbers alone: where another method is ahead, they name it.
"""

from collections.abc import Iterable

from hydropress.report.lra_sweep import Statistic, Sweep, Variant
from hydropress.report.lra_tables import (
    Column,
    best,
    budget_text,
    columns,
    comparable,
    place,
    seeds_text,
)
from hydropress.report.tables import MISSING, percent

OURS = "h2"


def headline(sweep: Sweep) -> tuple[str, str]:
    """Say how far a sweep's smallest model is from the original, and who is first where.

    Parameters
    ----------
    sweep
        The runs.

    Returns
    -------
    tuple of str
        One sentence on H² (if it is among the methods, else on the best one) at the smallest order
        that it was recovered at, by the main budget and by up to half the training; and which
        method has the largest mean at every order, before and after recovery.
    """
    lead = leader(sweep)
    if lead is None:
        return "No accuracies of compressed models yet", ""
    ranks = (_ranking(sweep, lead, recovered) for recovered in (False, True))
    return _distance(sweep, lead), " ".join(filter(None, ranks))


def leader(sweep: Sweep) -> Variant | None:
    """Return the variant that the words are about."""
    after, before = columns(sweep, True), columns(sweep, False)
    reached = [column for found in (after, before) for column in reversed(found.values()) if column]
    for variant in sweep.styles:
        if variant.method == OURS and any(variant in column for column in reached):
            return variant
    return next(((best(column) or list(column))[0] for column in reached), None)


def smallest(sweep: Sweep, lead: Variant) -> tuple[int, bool] | None:
    """Return the smallest order that a variant was recovered at, or if at none, reduced to."""
    for recovered in (True, False):
        orders = [order for order, column in columns(sweep, recovered).items() if lead in column]
        if orders:
            return min(orders), recovered
    return None


def fact(sweep: Sweep) -> tuple[str, str, str]:
    """Return task, method and share of the states; the accuracy before and after compression.

    Both are means over the same seeds, those of the compressed models.
    """
    lead = leader(sweep)
    found = None if lead is None else smallest(sweep, lead)
    if lead is None or found is None:
        return sweep.task, percent(sweep.original.mean), MISSING
    order, recovered = found
    reached = columns(sweep, recovered)[order][lead]
    state = "" if recovered else ", not recovered"
    name = f"{sweep.task}, {spoken(sweep, lead)} at {_where(sweep, order)}{state}"
    return name, percent(sweep.original.of(reached.by_seed).mean), percent(reached.mean)


def spoken(sweep: Sweep, variant: Variant) -> str:
    """Write a method's name as it stands inside a sentence."""
    label = sweep.styles[variant].label
    if ", calibrated" in label:
        return f"calibrated {_lowered(label.replace(', calibrated', ''))}"
    return _lowered(label)


def _lowered(label: str) -> str:
    # Names like LAST and H² keep their capital.
    return label[0].lower() + label[1:] if label[1:2].islower() else label


def _distance(sweep: Sweep, lead: Variant) -> str:
    found = smallest(sweep, lead)
    if found is None:
        return "No accuracies of compressed models yet"
    order, recovered = found
    gain = sweep.gain(lead, order, recovered)
    how = "without recovery"
    if recovered:
        how = f"after recovery by {budget_text(sweep.budget)} of the training steps"
    kept = place(sweep, order)
    kept = f"At order {order}" if kept == MISSING else f"At {kept} of the states"
    if kept.startswith("At all"):
        kept = "With all states"
    text = f"{kept}, {how}, {spoken(sweep, lead)} is {_gap(gain)}"
    return text + (_by_more(sweep, lead, order) if recovered else "")


def _by_more(sweep: Sweep, lead: Variant, order: int) -> str:
    """Say the same of the largest other budget of at most half the training."""
    assert sweep.budget is not None
    gains = {
        budget: sweep.gain(lead, order, True, budget)
        for budget in sweep.budgets(order)
        if sweep.budget < budget <= 0.5
    }
    measured = [(budget, gain) for budget, gain in gains.items() if gain is not None]
    if not measured:
        return ""
    budget, gain = measured[-1]
    return f"; by {budget_text(budget)}, {_gap(gain)}"


def _gap(gain: Statistic | None) -> str:
    if gain is None:
        return "not measured"
    size = f"{abs(100 * gain.mean):.2f}"
    spread = "" if gain.deviation is None else f"\u00a0±\u00a0{100 * gain.deviation:.2f}"
    seeds = seeds_text(gain.seeds)
    of = seeds if gain.seeds == 1 else f"mean over {seeds}"
    if float(size) == 0:
        words = f"level with the original ({size}{spread} points; {of})"
    else:
        side = "above" if gain.mean > 0 else "below"
        words = f"{size}{spread} points {side} the original ({of})"
    return words


def _ranking(sweep: Sweep, lead: Variant, recovered: bool) -> str:
    """Say at which orders a variant is first, which is first elsewhere, and what is in doubt."""
    found = {
        order: _distinct(column, lead, recovered)
        for order, column in columns(sweep, recovered).items()
    }
    level = {order: comparable(column) for order, column in found.items()}
    compared = {order: column for order, column in level.items() if len(column) > 1}
    if not compared:
        return ""
    alone: list[str] = []
    others: list[str] = []
    doubtful: list[str] = []
    for order, column in compared.items():
        where = _where(sweep, order)
        winners = best(column)
        rivals = [variant for variant in winners if variant != lead]
        names = listed(spoken(sweep, variant) for variant in rivals)
        if not rivals:
            alone.append(where)
        elif lead in winners:
            others.append(f"at {where} it shares the first place with {names}")
        elif lead in column:
            ahead = 100 * (column[winners[0]] - column[lead]).mean
            size = f"{ahead:.2f}" if ahead >= 0.005 else "less than 0.01"
            verb = "is" if len(rivals) == 1 else "are"
            others.append(f"at {where} {names} {verb}, {size} points ahead")
        else:
            verb = "is" if len(rivals) == 1 else "are"
            others.append(f"at {where}, where it was not run, {names} {verb}")
        if len(winners) == 1 and _is_within_spread(column):
            doubtful.append(where)
    stage = "After recovery" if recovered else "Before recovery"
    text = f"{stage} {spoken(sweep, lead)} is first at "
    if not others:
        text += "every order" if len(compared) == len(sweep.orders) else listed(alone)
    elif alone:
        text += f"{listed(alone)}; {'; '.join(others)}"
    else:
        text = f"{text}no order: {'; '.join(others)}" if len(compared) > 1 else _only(text, others)
    if doubtful:
        text += f". At {listed(doubtful)} the lead is within one standard deviation over the seeds"
    partial = [
        _where(sweep, order)
        for order, column in compared.items()
        if any(column[variant].seeds < found[order][variant].seeds for variant in column)
    ]
    if partial:
        text += f". At {listed(partial)} this is over the seeds that all methods have"
    return f"{text}."


def _only(text: str, others: list[str]) -> str:
    return f"{text.removesuffix(' first at ')} not first: {others[0]}"


def _distinct(column: Column, lead: Variant, recovered: bool) -> Column:
    """Leave one of those variants that differ in their recovery only, if that is still to come."""
    if recovered:
        return column
    kept = {variant[:3]: variant for variant in reversed(list(column))}
    if lead in column:
        kept[lead[:3]] = lead
    return {variant: column[variant] for variant in column if kept[variant[:3]] == variant}


def _is_within_spread(column: Column) -> bool:
    """Return whether the first is no further ahead of the second than that varies by seed.

    Each seed has an original of its own, better or worse: what varies is the difference.
    """
    second, first = sorted(column.values(), key=lambda reached: reached.mean)[-2:]
    lead = first - second
    return lead.deviation is not None and lead.mean <= lead.deviation


def _where(sweep: Sweep, order: int) -> str:
    kept = place(sweep, order)
    return f"order {order}" if kept == MISSING else kept


def listed(names: Iterable[str]) -> str:
    """Write names as a list in a sentence."""
    *rest, last = [*names] or [""]
    return f"{', '.join(rest)} and {last}" if rest else last
