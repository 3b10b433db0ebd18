"""Every check passes on a sound record and fails on the one that breaks its claim."""

import copy
from typing import Any

import pytest

from hydropress.bench.checks import make_checks

SOUND: dict[str, Any] = {
    "comparison": [
        {
            "case": "bank",
            "rows": [
                {
                    "method": "h2",
                    "order": 2,
                    "errors": [0.5, 0.25],
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
            "channels": 64,
            "discrete": {"seconds": [2.0, 1.0]},
            "continuous": {"seconds": [0.5]},
            "irka": {"channels": 4, "seconds_for_all": 30.0, "scaled": True},
        }
    ],
    "growth": {
        "channels": {"sizes": [2, 4], "exponent": 0.9},
        "states": {"sizes": [8, 16], "exponent": 0.5},
    },
    "memory": [{"channels": 64, "orders": [2], "peak_bytes": 400_000_000}],
}


def verdicts(record) -> dict[str, bool | None]:
    return {check.name: check.passed for check in make_checks(record)}


def test_a_sound_record_passes_everything():
    assert set(verdicts(SOUND).values()) == {True}


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
    "speed-order-2": ("speed.0.irka.seconds_for_all", 0.9),
    "growth-channels": ("growth.channels.exponent", 1.2),
    "growth-states": ("growth.states.exponent", 1.5),
    "memory": ("memory.0.peak_bytes", 3_000_000_000),
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
    assert [failed for failed, passed in found.items() if not passed] == [name]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("comparison.0.rows.1.errors.1", 0.25 * (1 - 5e-10)),
        ("order_two.best.1", 0.25 * (1 - 5e-7)),
        ("restarts.0.best.0", 0.4 * (1 - 5e-4)),
    ],
)
def test_what_is_within_the_limits_passes(path, value):
    assert set(verdicts(changed(path, value)).values()) == {True}


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
    del record["speed"][0]["irka"]
    record["memory"][0]["peak_bytes"] = None
    found = verdicts(record)
    missing = [name for name, passed in found.items() if passed is None]
    assert missing == ["never-worse-tsia", "closed-form-error", "speed-order-2", "memory"]
    assert found["never-worse"]
