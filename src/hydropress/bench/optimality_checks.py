"""Claims 1 to 3, how good the results are, from a record's comparison and searches."""

import math
from collections.abc import Iterable

from hydropress.bench.check import Check, Row, share_check, worst

RIVALS = ("balanced", "irka", "pymor-bt", "pymor-irka")
BEATEN = 1e-9
"""Relative to the rival's error: more counts as worse."""
ROUNDING = 1e-13
"""Of the full norm: differences of errors below are those of the sums."""
AT_OPTIMUM, OPTIMUM_SHARE = 1e-6, 0.999
IMPROVED, UNIMPROVED_SHARE = 1e-3, 0.99
STATIONARY, STATIONARY_SHARE = 1e-6, 0.99
NOT_STATIONARY = 1e-5
"""The two formulas' scales differ by a factor of at most five."""
OWN_NORM = 1e-6
"""Of the full norm: pyMOR's own, from a Lyapunov equation, resolves 10⁻⁸."""


def optimality_checks(record: Row) -> list[Check]:
    """Return the checks of claims 1 to 3."""
    comparison = record["comparison"]
    return [
        _never_worse(comparison, RIVALS, 1, "never-worse", "BT and IRKA, ours and pyMOR's"),
        _order_two(record["order_two"]),
        *(_restarts(part) for part in record["restarts"]),
        *_stationarity(comparison),
    ]


def guards(record: Row) -> list[Check]:
    """Return the checks that watch over the comparison itself."""
    comparison = record["comparison"]
    return [
        _never_worse(comparison, ("pymor-tsia",), None, "never-worse-tsia", "pyMOR's TSIA"),
        _own_norm(comparison),
        _sound(comparison),
    ]


def _never_worse(
    comparison: list[Row], rivals: Iterable[str], number: int | None, name: str, whom: str
) -> Check:
    total = 0
    cases: set[str] = set()
    largest_bank = 0
    beaten: list[tuple[float, str]] = []
    for case in comparison:
        h2 = {row["order"]: row["errors"] for row in case["rows"] if row["method"] == "h2"}
        for row in case["rows"]:
            if row["method"] not in rivals:
                continue
            cases.add(case["case"])
            largest_bank = max(largest_bank, case["channels"])
            # pyMOR's methods get the first channels only.
            for channel, error in enumerate(row["errors"]):
                total += 1
                found = h2[row["order"]][channel]
                # What is not a number is in the record as None.
                ours = math.inf if found is None else found
                if error is not None and ours > error * (1 + BEATEN) + ROUNDING:
                    place = f"{case['case']}, channel {channel}, order {row['order']}"
                    text = f"{place}: {ours:.10g} against {error:.10g} of {row['method']}"
                    beaten.append((ours / error - 1 if error else math.inf, text))
    excess = f"; the worst by {100 * max(beaten)[0]:.3g} %" if beaten else ""
    where = f", on {len(cases):,} systems and banks of up to {largest_bank:,} channels"
    return Check(
        number,
        name,
        f"h2 is never worse than {whom}, by more than {BEATEN:g} relative",
        f"worse on {len(beaten):,} of {total:,} comparisons{excess}{where if total else ''}",
        not beaten if total else None,
        worst(beaten),
    )


def _order_two(part: Row) -> Check:
    missed = [
        (h2 / best - 1, f"channel {channel}: {h2:.9f} against {best:.9f} ({kind})")
        for channel, (h2, best, kind) in enumerate(
            zip(part["h2"], part["best"], part["start"], strict=True)
        )
        if h2 > best * (1 + AT_OPTIMUM)
    ]
    total = part["channels"]
    return share_check(
        2,
        "optimum-order-2",
        f"order 2 is within {AT_OPTIMUM:g} of an exhaustive search on at least "
        f"{100 * OPTIMUM_SHARE:g} % of the channels",
        total - len(missed),
        total,
        OPTIMUM_SHARE,
        offenders=worst(missed),
    )


def _restarts(part: Row) -> Check:
    gains = [
        (1 - best / h2 if h2 and best is not None else 0.0)
        for h2, best in zip(part["h2"], part["best"], strict=True)
    ]
    improved = [
        (gain, f"channel {channel}: better by {gain:.1e}")
        for channel, gain in enumerate(gains)
        if gain > IMPROVED
    ]
    total, order = part["channels"], part["order"]
    reached = sum(hits > 0 for hits in part["hits"])
    return share_check(
        2,
        f"restarts-order-{order}",
        f"order {order}: {part['starts']} random restarts improve by at most {IMPROVED:g} on at "
        f"least {100 * UNIMPROVED_SHARE:g} % of the channels",
        total - len(improved),
        total,
        UNIMPROVED_SHARE,
        offenders=worst(improved),
        added=f"; on {reached:,} some restart reached the best optimum known",
    )


def _stationarity(comparison: list[Row]) -> list[Check]:
    reported = stationary = 0
    largest = 0.0
    bad: list[tuple[float, str]] = []
    for case in comparison:
        for row in case["rows"]:
            found = row.get("stationarity")
            if not found or not found["converged"]:
                continue
            reported += found["converged"]
            stationary += found["stationary"]
            residual = found["largest_of_converged"]
            # What is not a number is in the record as None.
            residual = math.inf if residual is None else residual
            largest = max(largest, residual)
            if residual > NOT_STATIONARY:
                bad.append((residual, f"{case['case']}, {row['method']}, order {row['order']}"))
    return [
        share_check(
            3,
            "stationary",
            f"interpolation conditions hold to {STATIONARY:g} on at least "
            f"{100 * STATIONARY_SHARE:g} % of the results reported as converged",
            stationary,
            reported,
            STATIONARY_SHARE,
        ),
        Check(
            3,
            "converged-is-stationary",
            f"nothing is reported as converged whose conditions fail by more than "
            f"{NOT_STATIONARY:g}",
            f"largest residual {largest:.1e} of {reported:,} results",
            not bad if reported else None,
            worst(bad),
        ),
    ]


def _own_norm(comparison: list[Row]) -> Check:
    gaps = [
        (abs(own - error), f"{case['case']}, {row['method']}, order {row['order']}")
        for case in comparison
        for row in case["rows"]
        for own, error in zip(row.get("own_errors", ()), row["errors"], strict=False)
        if own is not None and error is not None
    ]
    return Check(
        None,
        "closed-form-error",
        f"closed-form errors of pyMOR's results agree with pyMOR's own norm to {OWN_NORM:g}",
        f"largest difference {max(gaps)[0]:.1e} of {len(gaps):,}" if gaps else "not measured",
        max(gaps)[0] <= OWN_NORM if gaps else None,
        worst([gap for gap in gaps if gap[0] > OWN_NORM]),
    )


def _sound(comparison: list[Row]) -> Check:
    total = 0
    bad: list[tuple[float, str]] = []
    for case in comparison:
        for row in case["rows"]:
            # Those of pyMOR may well be unstable.
            if "unstable" not in row:
                continue
            total += len(row["errors"])
            broken = sum(error is None for error in row["errors"]) + row["unstable"]
            if broken:
                text = f"{case['case']}, {row['method']}, order {row['order']}: {broken}"
                bad.append((broken, text))
    return Check(
        None,
        "sound",
        "no method of ours returns an unstable system or an error that is not a number",
        f"{sum(count for count, _ in bad):,} of {total:,} results",
        not bad if total else None,
        worst(bad),
    )
