"""Every check passes on a sound record and fails on the one that breaks its claim."""

import copy
from pathlib import Path
from typing import Any

import pytest

from hydropress.bench.check import Check
from hydropress.bench.checks import CLAIMS, SUITES, make_checks, summarize

SOUND: dict[str, Any] = {
    "comparison": [
        {
            "case": "bank",
            "channels": 2,
            "rows": [
                {
                    "method": "h2",
                    "order": 2,
                    "errors": [0.5, 0.25],
                    "unstable": 0,
                    "stationarity": {
                        "converged": 2,
                        "stationary": 2,
                        "largest_of_converged": 1e-10,
                    },
                },
                {"method": "balanced", "order": 2, "errors": [0.6, 0.25]},
                {"method": "irka", "order": 2, "errors": [0.5, None]},
                {"method": "pymor-irka", "order": 2, "errors": [0.55], "own_errors": [0.55]},
                {"method": "pymor-tsia", "order": 2, "errors": [0.55], "own_errors": [None]},
            ],
        }
    ],
    "order_two": {
        "channels": 2,
        "h2": [0.5, 0.25],
        "best": [0.5, 0.25],
        "start": ["pair", "pair"],
    },
    "restarts": [
        {
            "order": 4,
            "starts": 9,
            "channels": 2,
            "h2": [0.4, 0.2],
            "best": [0.4, None],
            "hits": [3, 0],
        }
    ],
    "speed": [
        {
            "order": 2,
            "channels": 3072,
            "discrete": {"seconds": [2.5, 2.0]},
            "continuous": {"seconds": [0.5]},
            "irka": {"channels": 64, "seconds_for_all": 210.0, "scaled": True},
        },
        {
            "order": 8,
            "channels": 3072,
            "discrete": {"seconds": [9.0]},
            "continuous": {"seconds": [10.0]},
            "irka": {"channels": 64, "seconds_for_all": 500.0, "scaled": True},
        },
    ],
    "path": {
        "orders": [2, 32],
        "channels": 256,
        "all": 3072,
        "scaled": True,
        "discrete": {"seconds_for_all": 400.0},
        "continuous": {"seconds_for_all": 450.0},
    },
    "growth": {
        "channels": {"sizes": [2, 4], "exponent": 0.9},
        "states": {"sizes": [8, 16], "exponent": 0.5},
    },
    "memory": [
        {"channels": 3072, "orders": [2], "peak_bytes": 400_000_000},
        {"channels": 12_288, "orders": [2], "peak_bytes": 600_000_000},
    ],
    "allocation": {
        "model": "s4d-fashion-mnist",
        "samples": 128,
        "test_images": 2000,
        "states_a_channel": 64,
        "gains": [
            {"order": 16, "accuracy": -0.3},
            {"order": 8, "accuracy": 1.0},
            {"order": 4, "accuracy": 0.0},
            {"order": 2, "accuracy": 4.0},
        ],
    },
}

NOT_RUN = {"awkward-systems": None}
"""The test suites are no part of a benchmark."""


def verdicts(record) -> dict[str, bool | None]:
    return {check.name: check.passed for check in make_checks(record)}


def test_a_sound_record_passes_everything():
    found = verdicts(SOUND)
    assert found == dict.fromkeys(found, True) | NOT_RUN


BROKEN = {
    "never-worse": ("comparison.0.rows.1.errors.1", 0.25 * (1 - 2e-9)),
    "never-worse-tsia": ("comparison.0.rows.4.errors.0", 0.49),
    "optimum-order-2": ("order_two.best.1", 0.25 * (1 - 2e-6)),
    "restarts-order-4": ("restarts.0.best.0", 0.4 * (1 - 2e-3)),
    "stationary": ("comparison.0.rows.0.stationarity.stationary", 1),
    "converged-is-stationary": (
        "comparison.0.rows.0.stationarity.largest_of_converged",
        2e-5,
    ),
    "closed-form-error": ("comparison.0.rows.3.own_errors.0", 0.5501),
    "sound": ("comparison.0.rows.0.unstable", 1),
    # Judged by the slower of the two times, 2 s and 10 s.
    "speed-order-2": ("speed.0.irka.seconds_for_all", 199.0),
    "speed-order-8": ("speed.1.discrete.seconds", [10.1]),
    "speed-path": ("path.continuous.seconds_for_all", 501.0),
    "allocation": ("allocation.gains.0.accuracy", -0.35),
    "growth-channels": ("growth.channels.exponent", 1.2),
    "growth-states": ("growth.states.exponent", 1.5),
    "memory": ("memory.1.peak_bytes", 3_000_000_000),
}


def changed(path: str, value: Any) -> dict[str, Any]:
    record = copy.deepcopy(SOUND)
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = record
    for step in way:
        place = place[step]
    place[last] = value
    return record


@pytest.mark.parametrize("name", BROKEN)
def test_each_check_fails_on_its_own(name):
    found = verdicts(changed(*BROKEN[name]))
    assert [failed for failed, passed in found.items() if passed is False] == [name]


def test_one_point_at_two_budgets_is_needed():
    assert verdicts(changed("allocation.gains.1.accuracy", 0.95))["allocation"] is False
    # 20 images of 2,000, but for the rounding of the difference.
    gain = 100 * (1876 / 2000 - 1856 / 2000)
    assert gain < 1
    assert verdicts(changed("allocation.gains.1.accuracy", gain))["allocation"]


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("speed.0.channels", 128, "speed-order-2"),
        ("path.all", 128, "speed-path"),
        ("path.orders", [2, 4], "speed-path"),
        ("allocation.test_images", 200, "allocation"),
        ("allocation.gains", SOUND["allocation"]["gains"][2:], "allocation"),
    ],
)
def test_a_smaller_run_shows_figures_and_decides_nothing(path, value, name):
    checks = {check.name: check for check in make_checks(changed(path, value))}
    assert checks[name].passed is None
    assert "to judge" in checks[name].figure


def test_another_model_than_the_shipped_one_decides_nothing():
    checks = {check.name: check for check in make_checks(changed("allocation.model", "untrained"))}
    assert checks["allocation"].passed is None
    assert "another model: untrained" in checks["allocation"].figure


def test_what_is_not_a_number_is_worse_than_any_rival():
    checks = {
        check.name: check for check in make_checks(changed("comparison.0.rows.0.errors.1", None))
    }
    assert checks["never-worse"].passed is False
    assert checks["sound"].passed is False


def test_both_times_and_the_rivals_are_in_the_figure():
    checks = {check.name: check.figure for check in make_checks(SOUND)}
    assert checks["speed-order-2"].startswith("discrete 2.00 s, continuous 0.50 s")
    assert checks["speed-order-2"].endswith("105.0 and 420.0 times as long")
    assert "IRKA to order 8 500 s (scaled from 64 channels)" in checks["speed-path"]
    assert checks["allocation"].startswith("1/4: -0.30, 1/8: +1.00, 1/16: +0.00, 1/32: +4.00")


def test_claims_are_summed_up_by_number():
    rows = summarize(make_checks(SOUND))
    assert [row["number"] for row in rows] == list(range(1, 7)) == list(CLAIMS)
    assert [row["passed"] for row in rows] == [True] * 5 + [None]
    assert all(row["figures"] for row in rows)
    broken = summarize(make_checks(changed(*BROKEN["speed-path"])))
    assert [row["passed"] for row in broken] == [True] * 3 + [False, True, None]


def test_a_claim_of_which_a_part_was_not_measured_is_not_said_to_hold():
    def claim(*verdicts: bool | None) -> dict[str, Any]:
        return summarize([Check(1, "a", "", "", verdict) for verdict in verdicts])[0]

    assert claim(True, True)["passed"] is True
    assert claim(True, None)["passed"] is None
    assert claim(True, None)["measured"] == 1
    assert claim(True, None, False)["passed"] is False


def test_the_suites_of_claim_six_are_there():
    tests = Path(__file__).parents[1]
    names = SUITES.replace("tests/reduction/", "").replace(" and ", ", ").split(", ")
    for name in names:
        assert "hypothesis" in (tests / "reduction" / name).read_text()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("comparison.0.rows.1.errors.1", 0.25 * (1 - 5e-10)),
        ("order_two.best.1", 0.25 * (1 - 5e-7)),
        ("restarts.0.best.0", 0.4 * (1 - 5e-4)),
    ],
)
def test_what_is_within_the_limits_passes(path, value):
    found = verdicts(changed(path, value))
    assert found == dict.fromkeys(found, True) | NOT_RUN


def test_the_worst_offender_is_named_first():
    record = changed("comparison.0.rows.1.errors", [0.4, 0.1])
    check = next(check for check in make_checks(record) if check.name == "never-worse")
    assert [line.split(":")[0] for line in check.offenders] == [
        "bank, channel 1, order 2",
        "bank, channel 0, order 2",
    ]
    assert "2 of 5" in check.figure
    assert "150 %" in check.figure


def test_without_pymor_its_checks_are_not_measured():
    record = copy.deepcopy(SOUND)
    del record["comparison"][0]["rows"][3:]
    for part in record["speed"]:
        del part["irka"]
    for part in record["memory"]:
        part["peak_bytes"] = None
    found = verdicts(record)
    missing = [name for name, passed in found.items() if passed is None]
    speeds = ["speed-order-2", "speed-order-8", "speed-path"]
    assert missing == [*speeds, "memory", *NOT_RUN, "never-worse-tsia", "closed-form-error"]
    assert found["never-worse"]
