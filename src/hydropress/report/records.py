"""Reading and checking the saved records that a report is drawn from."""

import json
import math
from pathlib import Path
from typing import Any

from hydropress.errors import DataNotFoundError, FileFormatError

RESULTS = "results.json"
DETAILS = "details.json"
REMEDY = "Write it again with the command that made the results, then render the report."

_ROW_NUMBERS = (
    "order",
    "ratio",
    "ssm_parameters",
    "total_parameters",
    "relative_h2_error",
    "accuracy",
    "agreement",
)
_LAYER_SERIES = ("relative_h2_error", "output_error")
_CHANNEL_SERIES = (
    "impulse_full",
    "impulse_reduced",
    "frequency",
    "magnitude_full",
    "magnitude_reduced",
)


def read_json(path: Path) -> Any:
    """Read one JSON file.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Any
        Its content.

    Raises
    ------
    DataNotFoundError
        If there is no such file.
    FileFormatError
        If the file is not JSON in UTF-8.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataNotFoundError(
            f"{path} does not exist; required: {RESULTS} and {DETAILS} in one folder, as "
            "`hydropress compress` and `hydropress demo` write them; check the path"
        ) from None
    except (ValueError, OSError) as error:
        raise FileFormatError(
            f"{path} cannot be read as JSON: {error}. The file must be UTF-8 JSON. {REMEDY}"
        ) from None


def check_results(results: Any, source: str = RESULTS) -> list[dict[str, Any]]:
    """Check the rows of a results table.

    Parameters
    ----------
    results
        What should be a list of rows.
    source
        What to call it in an error message.

    Returns
    -------
    list of dict
        The same rows.

    Raises
    ------
    FileFormatError
        If a row is no record with a method, an order and numbers (or null) where numbers belong.
    """
    _require(isinstance(results, list), source, results, "a list of rows")
    for index, row in enumerate(results):
        where = f"{source}, row {index}"
        _require(isinstance(row, dict), where, row, "an object")
        _require(isinstance(row.get("method"), str), f"{where}, method", row.get("method"), "text")
        _require(row.get("order") is not None, f"{where}, order", None, "a number")
        for key in _ROW_NUMBERS:
            value = row.get(key)
            _require(value is None or _is_number(value), f"{where}, {key}", value, "a number")
        order = row["order"]
        _require(0 <= order < math.inf, f"{where}, order", order, "a finite number from 0 up")
        recovery = row.get("finetuned")
        _require(
            recovery is None or isinstance(recovery, bool | str),
            f"{where}, finetuned",
            recovery,
            "true, false or text",
        )
    return results


def check_details(details: Any, source: str = DETAILS) -> dict[str, Any]:
    """Check what accompanies the results: title, command, versions, models.

    Parameters
    ----------
    details
        What should be the record.
    source
        What to call it in an error message.

    Returns
    -------
    dict
        The same record.

    Raises
    ------
    FileFormatError
        If a required entry is missing, or an entry has another type than the report can draw.
    """
    _require(isinstance(details, dict), source, details, "an object")
    for key, kind, name in (
        ("title", str, "text"),
        ("command", str, "text"),
        ("versions", dict, "an object"),
        ("models", list, "a list"),
    ):
        _require(isinstance(details.get(key), kind), f"{source}, {key}", details.get(key), name)
    for key in ("subtitle", "created", "data"):
        _require(
            isinstance(details.get(key, ""), str), f"{source}, {key}", details.get(key), "text"
        )
    seconds = details.get("seconds")
    _require(seconds is None or _is_number(seconds), f"{source}, seconds", seconds, "a number")
    notes = details.get("notes", [])
    listed = isinstance(notes, list) and all(isinstance(note, str) for note in notes)
    _require(listed, f"{source}, notes", notes, "a list of texts")
    for index, model in enumerate(details["models"]):
        _check_model(model, f"{source}, models[{index}]")
    return details


def _check_model(model: Any, where: str) -> None:
    _require(isinstance(model, dict), where, model, "an object")
    _require(isinstance(model.get("name"), str), f"{where}, name", model.get("name"), "text")
    layers = model.get("layers", [])
    _require(isinstance(layers, list), f"{where}, layers", layers, "a list")
    for index, layer in enumerate(layers):
        inside = f"{where}, layers[{index}]"
        _require(isinstance(layer, dict), inside, layer, "an object")
        _require(isinstance(layer.get("name"), str), f"{inside}, name", layer.get("name"), "text")
        for key in ("order_before", "order_after"):
            order = layer.get(key)
            _require(order is None or _is_number(order), f"{inside}, {key}", order, "a number")
        for key in _LAYER_SERIES:
            _check_series(layer.get(key), f"{inside}, {key}")
        _check_certificate(layer.get("certificate"), f"{inside}, certificate")
        for key in ("poles_before", "poles_after"):
            _check_poles(layer.get(key), f"{inside}, {key}")
        channels = layer.get("channels") or []
        _require(isinstance(channels, list), f"{inside}, channels", channels, "a list")
        for channel in channels:
            _require(isinstance(channel, dict), f"{inside}, channels", channel, "an object")
            for key in _CHANNEL_SERIES:
                _check_series(channel.get(key), f"{inside}, channels, {key}")


def _check_series(values: Any, where: str) -> None:
    good = values is None or (
        isinstance(values, list) and all(v is None or _is_number(v) for v in values)
    )
    _require(good, where, values, "a list of numbers")


def _check_certificate(figures: Any, where: str) -> None:
    good = figures is None or (
        isinstance(figures, dict)
        and all(
            isinstance(entry, dict)
            and all(value is None or _is_number(value) for value in entry.values())
            for entry in figures.values()
        )
    )
    _require(good, where, figures, "an object of medians and largest values")


def _check_poles(poles: Any, where: str) -> None:
    good = poles is None or (
        isinstance(poles, list)
        and all(
            isinstance(pole, list) and len(pole) == 2 and all(_is_number(part) for part in pole)
            for pole in poles
        )
    )
    _require(good, where, poles, "a list of pairs [real part, imaginary part]")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(condition: bool, where: str, received: Any, required: str) -> None:
    if condition:
        return
    shown = "nothing" if received is None else repr(received)
    if len(shown) > 80:
        shown = f"{shown[:77]}..."
    raise FileFormatError(f"{where}: received {shown}; {required} is required. {REMEDY}")
