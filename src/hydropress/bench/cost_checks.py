"""Claim 4, time and memory, from a record's timings."""

from hydropress.bench.check import Check, Row

CHANNELS = 3072
"""What the claim is about; the figures of fewer are shown, and decide nothing."""
FACTORS = {2: 100, 8: 50}
"""From the order to how many times as long pyMOR's IRKA has to take."""
PATH_RIVAL = 8
"""Order that pyMOR's IRKA gets while the whole path is worked out."""
EXPONENT = 1.1
"""A tenth above linear is the timings' own noise."""
PEAK_BYTES = 3_000_000_000
TIMES = "discrete", "continuous"


def cost_checks(record: Row) -> list[Check]:
    """Return the checks of claim 4."""
    return [
        *(_faster(part) for part in record["speed"]),
        _path(record["path"], record["speed"]),
        *_growth(record["growth"]),
        _memory(record["memory"]),
    ]


def _faster(part: Row) -> Check:
    order, count = part["order"], part["channels"]
    name, factor, irka = f"speed-order-{order}", FACTORS[order], part.get("irka")
    claim = (
        f"{CHANNELS:,} channels to order {order}: pyMOR's IRKA, channel by channel on the "
        f"continuous-time counterparts, takes at least {factor} times as long"
    )
    own = {time: min(part[time]["seconds"]) for time in TIMES}
    took = ", ".join(f"{time} {seconds:.2f} s" for time, seconds in own.items())
    if irka is None:
        return Check(4, name, claim, f"{took}; IRKA not measured", None)
    total = irka["seconds_for_all"]
    ratios = " and ".join(f"{total / seconds:.1f}" for seconds in own.values())
    figure = f"{took}; {_of_irka(irka, order)}: {ratios} times as long"
    return _at_size(4, name, claim, figure, total >= factor * max(own.values()), count)


def _path(path: Row, speed: list[Row]) -> Check:
    claim = (
        f"the whole path of orders 2 to 32 of {CHANNELS:,} channels takes less time than pyMOR's "
        f"IRKA needs for order {PATH_RIVAL} alone"
    )
    own = {time: path[time] for time in TIMES}
    took = ", ".join(
        f"{time} {part['seconds_for_all']:.1f} s{_scaled(path)}" for time, part in own.items()
    )
    rival = next(
        (part["irka"] for part in speed if part["order"] == PATH_RIVAL and "irka" in part), None
    )
    if rival is None:
        return Check(4, "speed-path", claim, f"{took}; IRKA not measured", None)
    slowest = max(part["seconds_for_all"] for part in own.values())
    passed = slowest < rival["seconds_for_all"]
    complete = max(path["orders"]) >= 32
    count = path["all"] if complete else 0
    figure = f"{took}; {_of_irka(rival, PATH_RIVAL)}"
    return _at_size(4, "speed-path", claim, figure, passed, count)


def _of_irka(irka: Row, order: int) -> str:
    return f"IRKA to order {order} {irka['seconds_for_all']:.0f} s{_scaled(irka)}"


def _scaled(part: Row) -> str:
    return f" (scaled from {part['channels']:,} channels)" if part["scaled"] else ""


def _at_size(number: int, name: str, claim: str, figure: str, passed: bool, channels: int) -> Check:
    """Judge a claim about ``CHANNELS`` channels by those only."""
    if channels >= CHANNELS:
        return Check(number, name, claim, figure, passed)
    return Check(number, name, claim, f"{figure}; with too few channels or orders to judge", None)


def _growth(growth: Row) -> list[Check]:
    def check(name: str, what: str, part: Row) -> Check:
        exponent = part["exponent"]
        return Check(
            4,
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
    peaks = [
        f"{part['channels']:,} to order {max(part['orders'])}: {part['peak_bytes'] / 1e9:.2f} GB"
        for part in measured
    ]
    return Check(
        4,
        "memory",
        "a process that reduces a bank stays below "
        f"{PEAK_BYTES / 1e9:g} GB whatever the number of channels",
        ", ".join(peaks) if peaks else "not measured: there is no /proc",
        all(part["peak_bytes"] < PEAK_BYTES for part in measured) if measured else None,
    )
