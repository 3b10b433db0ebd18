"""The report of a benchmark as one HTML page that needs no network."""

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydropress.atomic import write_atomically
from hydropress.errors import DataNotFoundError, FileFormatError
from hydropress.report.bench_figures import BARS, error_figure, growth_figure, speed_figure
from hydropress.report.html import REPORT, render_page
from hydropress.report.methods import MethodStyle, Palette
from hydropress.report.records import read_json
from hydropress.report.tables import MISSING, count, error, moment, percent, seconds, share

RECORD = "bench.json"
NEEDED = (
    *("benchmark", "title", "command", "claims", "checks", "comparison", "speed", "path"),
    *("growth", "allocation", "versions", "notes", "left_out", "config", "machine", "threads"),
)
PYMOR = {
    "pymor-bt": ("balanced", "BT, pyMOR"),
    "pymor-irka": ("irka", "IRKA, pyMOR"),
    "pymor-tsia": ("pymor-tsia", "TSIA, pyMOR"),
}
"""pyMOR's methods take the colour of ours of the same kind, dashed and open."""

METRICS = {
    "plain": "",
    "horizon": "finite horizon",
    "spectrum": "weighted by the inputs' spectrum",
    "covariance": "weighted by the inputs' covariance",
}
"""What a case's errors are measured in, besides the H² norm."""

CERTIFICATE = {
    "stationarity": "Stationarity",
    "balanced_error": "BT's error",
    "irka_error": "IRKA's error",
    "lower_bound": "Lower bound",
    "amplification": "Ampli\u00adfication",
    "spread": "Spread",
    "mode_energy": "Mode energy",
}


def render_bench(record: dict[str, Any]) -> str:
    """Render a benchmark's record as one self-contained HTML page.

    Parameters
    ----------
    record
        What ``hydropress bench reduce`` wrote.

    Raises
    ------
    FileFormatError
        If entries are missing.
    """
    _check(record, "the record")
    styles = _styles(record["comparison"])
    cases = [_case(case, styles) for case in record["comparison"]]
    payload = {
        "cases": [error_figure(case, styles) for case in record["comparison"]],
        "speed": speed_figure(record["speed"]),
        "growth": {name: growth_figure(record["growth"][name], name) for name in GROWTHS},
    }
    return render_page(
        "bench.html.j2",
        payload,
        record=record,
        claims=[_claim(claim, record["checks"]) for claim in record["claims"]],
        guards=[_check_row(check) for check in record["checks"] if check["number"] is None],
        headline=headline(record["checks"]),
        cases=cases,
        legend=sorted(set(styles.values()), key=lambda style: style.rank),
        certificate=list(CERTIFICATE.values()),
        growths=list(GROWTHS.items()),
        bars=list(BARS.values()),
        timings=_timings(record),
        allocation=_allocation(record["allocation"]),
        created=moment(record.get("created") or ""),
        duration=seconds(record.get("seconds")),
    )


GROWTHS = {"channels": "More channels", "states": "More states"}


def write_bench_report(directory: Path) -> Path:
    """Render the record saved in a directory, beside it.

    Parameters
    ----------
    directory
        Holds ``bench.json``.

    Returns
    -------
    Path
        ``report.html`` in the same directory, written in one step.

    Raises
    ------
    DataNotFoundError
        If the record is missing.
    FileFormatError
        If it is malformed.
    """
    path = Path(directory) / RECORD
    if not path.is_file():
        raise DataNotFoundError(
            f"{path} is missing; required: the record of a benchmark; run hydropress bench reduce"
        )
    record = read_json(path)
    _check(record, str(path))
    page = Path(directory) / REPORT
    write_atomically(page, render_bench(record))
    return page


def _check(record: Any, name: str) -> None:
    missing = [key for key in NEEDED if not isinstance(record, dict) or key not in record]
    if missing:
        raise FileFormatError(
            f"{name} has no {', '.join(missing)}; required: what hydropress bench reduce writes; "
            "run it again"
        )


def headline(checks: list[dict[str, Any]]) -> str:
    """Say how many checks passed, those of the claims and those of the benchmark itself."""
    measured = [check for check in checks if check["passed"] is not None]
    passed = sum(check["passed"] for check in measured)
    left = len(checks) - len(measured)
    text = f"{passed} of {len(measured)} checks passed"
    return f"{text}, {left} not measured" if left else text


VERDICTS = {True: ("pass", "pass"), False: ("fail", "fail"), None: ("unknown", "not measured")}
"""Class and words of a verdict."""


def _claim(claim: dict[str, Any], checks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a claim with its checks."""
    kind, words = VERDICTS[claim["passed"]]
    if claim["passed"] is None and claim["measured"]:
        words = "in part"
    return {
        "number": claim["number"],
        "claim": claim["claim"],
        "kind": kind,
        "words": words,
        "checks": [_check_row(check) for check in checks if check["number"] == claim["number"]],
    }


def _check_row(check: dict[str, Any]) -> dict[str, Any]:
    kind, words = VERDICTS[check["passed"]]
    return check | {"kind": kind, "words": words}


def _styles(comparison: list[dict[str, Any]]) -> dict[str, MethodStyle]:
    """Return a style for every method that occurs."""
    names = list(dict.fromkeys(row["method"] for case in comparison for row in case["rows"]))
    kinds = [PYMOR.get(name, (name, ""))[0] for name in names]
    palette = Palette([{"method": kind} for kind in kinds])
    styles: dict[str, MethodStyle] = {}
    for name, kind in zip(names, kinds, strict=True):
        style = palette.style({"method": kind})
        if name in PYMOR:
            rank = (100, name, 0)
            style = replace(style, method=name, label=PYMOR[name][1], solid=False, rank=rank)
        styles[name] = style
    return styles


def _case(case: dict[str, Any], styles: dict[str, MethodStyle]) -> dict[str, Any]:
    """Format one case's table."""
    return {
        "title": case["title"],
        "size": _size(case),
        "metric": METRICS[case["metric"]],
        "rows": [_row(row, styles[row["method"]], case["rows"]) for row in case["rows"]],
    }


def _size(case: dict[str, Any]) -> str:
    systems = "one system" if case["channels"] == 1 else f"{case['channels']:,} systems"
    return f"{systems} of order {case['order']:,}"


def _row(row: dict[str, Any], style: MethodStyle, rows: list[dict[str, Any]]) -> dict[str, Any]:
    errors = _finite(row["errors"])
    h2 = next(other for other in rows if (other["method"], other["order"]) == ("h2", row["order"]))
    ratios = [
        theirs / ours
        for theirs, ours in zip(row["errors"], h2["errors"], strict=False)
        if theirs is not None and ours
    ]
    stationarity, certificate = row.get("stationarity"), row.get("certificate") or {}
    converged = row.get("converged") if stationarity is None else stationarity["converged"]
    memory = row["memory_bytes"]
    return {
        "style": style,
        "order": row["order"],
        "first": row["method"] == "h2",
        "median": error(_median(errors)),
        "largest": error(max(errors, default=None)),
        "ratio": f"{statistics.median(ratios):.3f}" if ratios else MISSING,
        "least_ratio": f"{min(ratios):.6f}" if ratios else MISSING,
        "systems": count(len(row["errors"])),
        "converged": MISSING if converged is None else count(converged),
        "seconds": f"{row['seconds']:.3f}",
        "memory": MISSING if memory is None else f"{memory / 1e6:.0f}",
        "certificate": [error(certificate.get(name)) for name in CERTIFICATE],
    }


def _finite(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None


def _timings(record: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return work, whose, seconds for all channels and median error of every timing."""
    rows: list[tuple[str, str, str, str]] = []
    for part in record["speed"]:
        work = f"{part['channels']:,} channels to order {part['order']}"
        for name in ("discrete", "continuous"):
            own = part[name]
            rows.append(
                (work, f"H², {name}", f"{min(own['seconds']):.1f}", error(own["median_error"]))
            )
        if "irka" in part:
            irka = part["irka"]
            scaled = f", scaled from {irka['channels']:,}" if irka["scaled"] else ""
            rows.append(
                (
                    work,
                    f"IRKA of pyMOR, continuous{scaled}",
                    f"{irka['seconds_for_all']:.1f}",
                    error(irka["median_error"]),
                )
            )
    path = record["path"]
    scaled = f", scaled from {path['channels']:,}" if path["scaled"] else ""
    work = f"{path['all']:,} channels to every order 2 to {max(path['orders'])}"
    for name in ("discrete", "continuous"):
        took = f"{path[name]['seconds_for_all']:.1f}"
        rows.append((work, f"H², {name}{scaled}", took, MISSING))
    return rows


def _allocation(part: dict[str, Any]) -> dict[str, Any]:
    """Format the table of global against uniform allocation."""
    whole = part["states_a_channel"]
    gains = {gain["states"]: gain["accuracy"] for gain in part["gains"]}
    return {
        "model": part["model"],
        "images": count(part["test_images"]),
        "samples": count(part["samples"]),
        "original": percent(part["original_accuracy"]),
        "rows": [
            {
                "first": row["asked"] == "uniform",
                "states": count(row["states"]),
                "share": share(row["average"] / whole),
                "asked": row["asked"],
                "accuracy": f"{100 * row['accuracy']:.2f}\u00a0%",
                "gain": f"{gains[row['states']]:+.2f}".replace("-", "−")
                if row["asked"] == "global"
                else "",
                "agreement": f"{100 * row['agreement']:.2f}\u00a0%",
                "by_layer": ", ".join(f"{mean:.1f}" for mean in row["by_layer"]),
                "seconds": f"{row['seconds']:.0f}",
            }
            for row in part["rows"]
        ],
    }
