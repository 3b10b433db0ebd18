"""From a saved model to a saved smaller one, with the records for its report."""

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from torch import nn

from hydropress.calibration.plan import Plan
from hydropress.calibration.sequences import MINIMUM_CALIBRATION
from hydropress.calibration.targets import Allocation, Metric
from hydropress.compression.model import Progress, compress
from hydropress.data.sequences import LabelledSequences
from hydropress.data.shipped import find_model
from hydropress.data.sources import (
    CALIBRATION_SAMPLES,
    calibration_sequences,
    held_out_sequences,
    open_data,
)
from hydropress.errors import InvalidArgumentError
from hydropress.evaluation.compare import Comparison, summarize
from hydropress.evaluation.metrics import accuracy, predict
from hydropress.evaluation.outputs import check_folder, check_source, uninterrupted, write_run
from hydropress.evaluation.records import write_json, write_records
from hydropress.models.checkpoint import load, save
from hydropress.models.classifier import SequenceClassifier

COMPRESSION = "compression.json"
PLAN = "plan.json"


@dataclass(frozen=True)
class FolderCompression:
    """What was written.

    Attributes
    ----------
    summary
        Content of ``compression.json``.
    rows
        Content of ``results.json``: the original and the compressed model.
    """

    summary: dict[str, Any]
    rows: list[dict[str, Any]]


def compress_to_folder(
    model: str | Path,
    folder: Path,
    *,
    ratio: float | None = None,
    order: int | None = None,
    tolerance: float | None = None,
    max_drop: float | str | None = None,
    plan: str | Path | None = None,
    allocation: Allocation | None = None,
    method: str | None = None,
    calibration: str | Path | None = None,
    data: str | Path | None = None,
    samples: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> FolderCompression:
    """Compress a saved model and write the result.

    Parameters
    ----------
    model
        Directory or shipped name.
    folder
        Receives the model, ``compression.json``, ``plan.json``, ``results.json`` and
        ``details.json``.
    ratio, order, tolerance, max_drop, allocation
        As in :func:`~hydropress.compression.model.compress`; the metric that may drop is the
        accuracy on training sequences that are not calibrated on.  Those of the test never decide
        anything.
    plan
        A file that :meth:`~hydropress.calibration.plan.Plan.save` wrote, instead of these.
    method
        Name of a registered method; if not given the plan's, or ``h2``.
    calibration
        Data source as in :func:`~hydropress.data.sources.open_data`: training sequences to
        calibrate on, test sequences to measure both models on.  Neither happens without.
    data
        Source of the labelled training sequences for ``max_drop``; that of the calibration if not
        given.
    samples, seed
        How many training sequences, and which.
    progress
        Called as progress(done, total, what).
    """
    clock = time.monotonic()
    check_folder(folder, "compress")
    given = {
        "ratio": ratio,
        "order": order,
        "tolerance": tolerance,
        "max-drop": max_drop,
        "plan": plan,
        "allocation": allocation,
    }
    saved = None if plan is None else Plan.load(plan)
    if method is None:
        method = "h2" if saved is None else saved.method
    path = find_model(model)
    check_source(folder, path)
    original = load(path)
    count = CALIBRATION_SAMPLES if samples is None else samples
    source = calibration if data is None else data
    metric = None
    if max_drop is not None and source is None:
        raise InvalidArgumentError(
            f"max_drop={max_drop!r} without data; required: labelled training sequences to measure "
            "the accuracy on; give a source of data or of calibration"
        )
    if data is not None and max_drop is None:
        raise InvalidArgumentError(
            f"data {str(data)!r} without max_drop; required: both or neither; accuracy decides of "
            "no other target"
        )
    train = sequences = test = None
    about = "no data"
    if calibration is not None:
        train = open_data(calibration, "train")
        _check_samples(count, len(train))
        sequences = calibration_sequences(train, count, seed)
        test = open_data(calibration, "test")
        about = f"{len(test):,} test sequences; calibrated on {count} training sequences"
    if max_drop is not None and source is not None:
        held_out = held_out_sequences(
            open_data(source, "train"), seed, calibration=train, samples=count
        )
        metric = _accuracy_on(held_out)
        about += f"; drop of the accuracy measured on {len(held_out):,} other training sequences"
    compression = compress(
        original,
        ratio=ratio,
        order=order,
        tolerance=tolerance,
        max_drop=max_drop,
        metric=metric,
        plan=saved,
        allocation=allocation,
        method=method,
        calibration=sequences,
        progress=progress,
    )
    compressed = compression.model
    assert isinstance(compressed, SequenceClassifier)
    comparison = Comparison(original, test, _evaluating(progress, "evaluate the original"))
    comparison.add_compression(compression, _evaluating(progress, "evaluate the result"))
    summary = {"source": str(model), "calibration": about, "seed": seed, **summarize(compression)}
    options = {
        **given,
        "method": method,
        "calibration": "none" if calibration is None else calibration,
        "data": data,
        "samples": count,
        "seed": seed,
    }
    pairs = [(f"--{name}", str(value)) for name, value in options.items() if value is not None]
    command = shlex.join(["hydropress", "compress", str(model), *chain.from_iterable(pairs)])
    with uninterrupted():
        write_run(folder, {"command": "compress", "line": command})
        save(compressed, folder)
        write_json(folder / COMPRESSION, summary)
        compression.plan.save(folder / PLAN)
        write_records(
            folder,
            comparison.rows,
            title=f"{path.name}, compressed to order {compression.order}",
            subtitle=f"{method}, {compression.ratio:.3g} of the SSM states kept "
            f"({compression.plan.allocation} allocation), not retrained",
            command=command,
            data=about,
            seconds=time.monotonic() - clock,
            models=[compression.to_dict()],
        )
    return FolderCompression(summary, comparison.rows)


def _check_samples(samples: int, available: int) -> None:
    if not MINIMUM_CALIBRATION <= samples <= available:
        raise InvalidArgumentError(
            f"samples={samples}; required: from {MINIMUM_CALIBRATION} to {available}, as many "
            "sequences as there are to calibrate on"
        )


def _accuracy_on(data: LabelledSequences) -> Metric:
    def measured(model: nn.Module) -> float:
        return accuracy(predict(model, data), data.labels)

    return measured


def _evaluating(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(done, total, what)
