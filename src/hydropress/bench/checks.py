"""What a run claims, each claim with its figure; worked out from the record alone."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

Row = dict[str, Any]

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
EXPONENT = 1.1
"""A tenth above linear is the timings' own noise."""
PEAK_BYTES = 3_000_000_000
OWN_NORM = 1e-6
"""Of the full norm: pyMOR's own, from a Lyapunov equation, resolves 10⁻⁸."""
LISTED = 20
"""Offenders that are named, the worst first."""


@dataclass(frozen=True)
class Check:
    """One claim.

    Attributes
    ----------
    name
        Short and stable.
    claim
        What is required.
    figure
        What was measured.
    passed
        None if nothing was measured.
    offenders
        Where it fails, the worst first.
    """

    name: str
    claim: str
    figure: str
    passed: bool | None
    offenders: tuple[str, ...] = ()

    def to_dict(self) -> Row:
        """Return what JSON can hold."""
        return asdict(self) | {"offenders": list(self.offenders)}


def make_checks(record: Row) -> list[Check]:
    """Return all checks of a record's sections."""
    comparison = record["comparison"]
    checks = [
        _never_worse(comparison, RIVALS, "never-worse", "BT and IRKA, ours and pyMOR's"),
        _never_worse(comparison, ("pymor-tsia",), "never-worse-tsia", "pyMOR's TSIA"),
        _order_two(record["order_two"]),
        *(_restarts(part) for part in record["restarts"]),
        *_stationarity(comparison),
        _own_norm(comparison),
    ]
    checks += [_faster(part) for part in record["speed"]]
    checks += _growth(record["growth"])
    return [*checks, _memory(record["memory"])]


def _never_worse(comparison: list[Row], rivals: Iterable[str], name: str, whom: str) -> Check:
    total = 0
    beaten: list[tuple[float, str]] = []
    for case in comparison:
        h2 = {row["order"]: row["errors"] for row in case["rows"] if row["method"] == "h2"}
        for row in case["rows"]:
            if row["method"] not in rivals:
                continue
            # pyMOR's methods get the first channels only.
            for channel, error in enumerate(row["errors"]):
                total += 1
                ours = h2[row["order"]][channel]
                if error is not None and ours > error * (1 + BEATEN) + ROUNDING:
                    place = f"{case['case']}, channel {channel}, order {row['order']}"
                    text = f"{place}: {ours:.10g} against {error:.10g} of {row['method']}"
                    beaten.append((ours / error - 1 if error else math.inf, text))
    worst = f"; the worst by {100 * max(beaten)[0]:.3g} %" if beaten else ""
    return Check(
        name,
        f"h2 is never worse than {whom}, by more than {BEATEN:g} relative",
        f"worse on {len(beaten):,} of {total:,} comparisons{worst}",
        not beaten if total else None,
        _worst(beaten),
    )


def _worst(found: list[tuple[float, str]]) -> tuple[str, ...]:
    return tuple(text for _, text in sorted(found, reverse=True)[:LISTED])


def _share(name: str, claim: str, good: int, total: int, required: float, **more: Any) -> Check:
    share = good / total if total else 0.0
    figure = f"{good:,} of {total:,} ({100 * share:.2f} %){more.pop('added', '')}"
    return Check(name, claim, figure, share >= required if total else None, **more)


def _order_two(part: Row) -> Check:
    missed = [
        (h2 / best - 1, f"channel {channel}: {h2:.9f} against {best:.9f} ({kind})")
        for channel, (h2, best, kind) in enumerate(
            zip(part["h2"], part["best"], part["start"], strict=True)
        )
        if h2 > best * (1 + AT_OPTIMUM)
    ]
    total = part["channels"]
    return _share(
        "optimum-order-2",
        f"order 2 is within {AT_OPTIMUM:g} of an exhaustive search on at least "
        f"{100 * OPTIMUM_SHARE:g} % of the channels",
        total - len(missed),
        total,
        OPTIMUM_SHARE,
        offenders=_worst(missed),
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
    return _share(
        f"restarts-order-{order}",
        f"order {order}: {part['starts']} random restarts improve by at most {IMPROVED:g} on at "
        f"least {100 * UNIMPROVED_SHARE:g} % of the channels",
        total - len(improved),
        total,
        UNIMPROVED_SHARE,
        offenders=_worst(improved),
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
            worst = found["largest_of_converged"]
            largest = max(largest, worst)
            if worst > NOT_STATIONARY:
                bad.append((worst, f"{case['case']}, {row['method']}, order {row['order']}"))
    return [
        _share(
            "stationary",
            f"interpolation conditions hold to {STATIONARY:g} on at least "
            f"{100 * STATIONARY_SHARE:g} % of the results reported as converged",
            stationary,
            reported,
            STATIONARY_SHARE,
        ),
        Check(
            "converged-is-stationary",
            f"nothing is reported as converged whose conditions fail by more than "
            f"{NOT_STATIONARY:g}",
            f"largest residual {largest:.1e} of {reported:,} results",
            not bad if reported else None,
            _worst(bad),
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
        "closed-form-error",
        f"closed-form errors of pyMOR's results agree with pyMOR's own norm to {OWN_NORM:g}",
        f"largest difference {max(gaps)[0]:.1e} of {len(gaps):,}" if gaps else "not measured",
        max(gaps)[0] <= OWN_NORM if gaps else None,
        _worst([gap for gap in gaps if gap[0] > OWN_NORM]),
    )


def _faster(part: Row) -> Check:
    name, irka = f"speed-order-{part['order']}", part.get("irka")
    claim = (
        f"{part['channels']:,} channels to order {part['order']} take less time than pyMOR's IRKA "
        "channel by channel"
    )
    own = {time: min(part[time]["seconds"]) for time in ("discrete", "continuous")}
    took = ", ".join(f"{time} {seconds:.1f} s" for time, seconds in own.items())
    if irka is None:
        return Check(name, claim, f"{took}; IRKA not measured", None)
    total = irka["seconds_for_all"]
    scaled = f", scaled from {irka['channels']:,} channels" if irka["scaled"] else ""
    ratios = " and ".join(f"{total / seconds:.1f}" for seconds in own.values())
    figure = f"{took}; IRKA {total:.0f} s{scaled}: {ratios} times as long"
    return Check(name, claim, figure, total > max(own.values()))


def _growth(growth: Row) -> list[Check]:
    def check(name: str, what: str, part: Row) -> Check:
        exponent = part["exponent"]
        return Check(
            name,
            f"time grows at most linearly with {what} (exponent up to {EXPONENT:g})",
            f"exponent {exponent:.2f} from {part['sizes'][0]:,} to {part['sizes'][-1]:,}",
            exponent <= EXPONENT,
        )

    return [
        check("growth-channels", "the number of channels", growth["channels"]),
        check("growth-states", "the number of states N", growth["states"]),
    ]


def _memory(parts: list[Row]) -> Check:
    measured = [part for part in parts if part["peak_bytes"] is not None]
    peaks = [f"order {max(part['orders'])}: {part['peak_bytes'] / 1e9:.2f} GB" for part in measured]
    return Check(
        "memory",
        f"a process that reduces {parts[0]['channels']:,} channels stays below "
        f"{PEAK_BYTES / 1e9:g} GB",
        ", ".join(peaks) if peaks else "not measured: there is no /proc",
        all(part["peak_bytes"] < PEAK_BYTES for part in measured) if measured else None,
    )
