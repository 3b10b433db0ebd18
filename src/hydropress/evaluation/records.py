"""The records that a report is drawn from: results.json and details.json."""

import json
import math
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hydropress.atomic import write_atomically
from hydropress.errors import FileFormatError
from hydropress.evaluation.metrics import (
    average_order,
    count_parameters,
    count_ssm_parameters,
    count_states,
)

RESULTS = "results.json"
DETAILS = "details.json"


def versions() -> dict[str, str]:
    """Return the versions of what determines a number: hydropress, torch, python."""
    try:
        own = version("hydropress")
    except PackageNotFoundError:
        own = "not installed"
    return {"hydropress": own, "torch": torch.__version__, "python": platform.python_version()}


def result_row(
    model: nn.Module,
    original: nn.Module,
    *,
    method: str,
    calibrated: bool = False,
    relative_h2_error: float | None = None,
    accuracy: float | None = None,
    agreement: float | None = None,
    finetuned: bool | str = False,
) -> dict[str, Any]:
    """Return one row of a results table.

    Parameters
    ----------
    model, original
        The model of the row, whose sizes are counted, and the one it was made from.
    method
        Name of the reduction method, or ``original``.
    calibrated
        Whether the reduction looked at data.
    relative_h2_error
        Mean over all systems of all layers; None if unknown, as after training.
    accuracy, agreement
        Shares from 0 to 1; None if not measured.
    finetuned
        False, or how the model was trained after the reduction.
    """
    return {
        "method": method,
        "calibrated": calibrated,
        "order": average_order(model),
        "ratio": count_states(model) / max(1, count_states(original)),
        "ssm_parameters": count_ssm_parameters(model),
        "total_parameters": count_parameters(model),
        "relative_h2_error": relative_h2_error,
        "accuracy": accuracy,
        "agreement": agreement,
        "finetuned": finetuned,
    }


def write_json(path: Path, value: Any) -> None:
    """Write JSON in one step; NaN and infinity, which JSON does not have, become null."""
    write_atomically(path, json.dumps(_finite(value), indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that this package wrote."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"{path}: cannot be read as JSON ({error}); write it again"
        ) from error
    if not isinstance(value, dict):
        raise FileFormatError(f"{path}: not a JSON object; write it again")
    return value


def write_records(
    folder: Path,
    rows: list[dict[str, Any]],
    *,
    title: str,
    command: str,
    seconds: float,
    models: list[dict[str, Any]],
    subtitle: str = "",
    data: str = "",
    notes: list[str] | None = None,
) -> None:
    """Write results.json and details.json.

    Parameters
    ----------
    folder
        Exists.
    rows
        From :func:`result_row`.
    title, subtitle, data, notes
        Text for the reader of the report.
    command
        What reproduces the results.
    seconds
        Wall time.
    models
        One ``Compression.to_dict()`` per compressed model.
    """
    write_json(folder / RESULTS, rows)
    details = {
        "title": title,
        "subtitle": subtitle,
        "command": command,
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "data": data,
        "notes": notes or [],
        "models": models,
    }
    write_json(folder / DETAILS, details)
