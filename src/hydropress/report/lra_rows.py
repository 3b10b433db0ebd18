"""The runs of ``hydropress bench lra``, one JSON object a line: reading and checking."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydropress.errors import DataNotFoundError, FileFormatError

Row = dict[str, Any]

RUNS = "results.jsonl"
REMEDY = "Remove the line and run hydropress bench lra again for what is then missing."
IDENTITY = (
    *("task", "recipe", "method", "calibrated", "allocation", "recovery"),
    *("order", "budget", "seed"),
)
"""What tells one run from another; a run that is there twice would count as two seeds."""


def read_rows(*paths: Path) -> list[Row]:
    """Read the runs of one or more files.

    Parameters
    ----------
    paths
        Files of one JSON object a line; empty lines are skipped.

    Returns
    -------
    list of dict
        One row a run.

    Raises
    ------
    DataNotFoundError
        If a file is missing.
    FileFormatError
        If a line is no run; the message names the file and the line.
    """
    rows: list[Any] = []
    places: list[str] = []
    for path in paths:
        # Not splitlines: JSON texts may hold other characters that it takes for line ends.
        for number, line in enumerate(_text(path).split("\n"), start=1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise FileFormatError(
                    f"{place}: received no JSON ({error}); one object a line is required. {REMEDY}"
                ) from None
            places.append(place)
    if not rows:
        names = ", ".join(map(str, paths))
        raise FileFormatError(f"{names}: received no runs; one a line is required. {REMEDY}")
    return check_rows(rows, places)


def check_rows(rows: Sequence[Any], places: Sequence[str] | None = None) -> list[Row]:
    """Check that rows are runs, each another one.

    Parameters
    ----------
    rows
        What should be runs.
    places
        What to call each row in an error message; by default "row 1" and so on.

    Returns
    -------
    list of dict
        The same rows.

    Raises
    ------
    FileFormatError
        If there are none, if one lacks a key or holds something else than belongs there, or if a
        run occurs twice.
    """
    if not rows:
        raise FileFormatError(f"received no runs; at least one is required. {REMEDY}")
    names = [f"row {number}" for number in range(1, len(rows) + 1)] if places is None else places
    seen: dict[tuple[Any, ...], str] = {}
    for row, place in zip(rows, names, strict=True):
        _check_row(row, place)
        identity = tuple(row[key] for key in IDENTITY)
        if identity in seen:
            run = ", ".join(f"{key} {row[key]}" for key in IDENTITY)
            raise FileFormatError(
                f"{place}: received the run of {seen[identity]} again ({run}); each run may occur "
                f"once. {REMEDY}"
            )
        seen[identity] = place
    return list(rows)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise DataNotFoundError(
            f"{path} is missing; required: the runs of an experiment, one JSON object a line; "
            "run hydropress bench lra"
        ) from None
    except (ValueError, OSError) as error:
        raise FileFormatError(
            f"{path} cannot be read: {error}. The file must be text in UTF-8, one JSON object a "
            "line. Run hydropress bench lra again."
        ) from None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_size(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_versions(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())


Predicate = Callable[[Any], bool]


def _or_null(test: Predicate) -> Predicate:
    return lambda value: value is None or test(value)


_FIELDS: tuple[tuple[str, Predicate, tuple[str, ...]], ...] = (
    ("text", _is_text, ("task", "recipe", "method", "config")),
    ("text or null", _or_null(lambda value: isinstance(value, str)), ("allocation", "recovery")),
    ("true, false or null", _or_null(lambda value: isinstance(value, bool)), ("calibrated",)),
    (
        "a whole number from 0 up",
        _is_count,
        (
            *("seed", "order", "ssm_parameters", "total_parameters"),
            *("recovery_steps", "training_steps", "test_sequences"),
        ),
    ),
    ("a finite number from 0 up", _is_size, ("budget", "ratio")),
    ("a fraction from 0 to 1", _is_fraction, ("accuracy_original",)),
    (
        "a fraction from 0 to 1 or null",
        _or_null(_is_fraction),
        (
            *("accuracy_compressed", "agreement_compressed"),
            *("accuracy_recovered", "agreement_recovered"),
        ),
    ),
    ("an object of texts", _is_versions, ("versions",)),
)
_OPTIONAL = ("data", "note")
"""Texts that rows of earlier versions do not have."""


def _check_row(row: Any, place: str) -> None:
    if not isinstance(row, dict):
        raise FileFormatError(f"{place}: received {_shown(row)}; an object is required. {REMEDY}")
    missing = [key for _, _, keys in _FIELDS for key in keys if key not in row]
    if missing:
        raise FileFormatError(
            f"{place}: received a run without {', '.join(missing)}; every key that hydropress "
            f"bench lra writes is required. {REMEDY}"
        )
    optional = ("text", _is_text, tuple(key for key in _OPTIONAL if key in row))
    for required, test, keys in (*_FIELDS, optional):
        for key in keys:
            if not test(row[key]):
                raise FileFormatError(
                    f"{place}, {key}: received {_shown(row[key])}; {required} is required. {REMEDY}"
                )


def _shown(value: Any) -> str:
    shown = "null" if value is None else repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
