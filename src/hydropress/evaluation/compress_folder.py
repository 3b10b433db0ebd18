"""From a saved model to a saved smaller one, with the records for its report."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydropress.calibration.targets import Allocation
from hydropress.compress import Progress, compress
from hydropress.data.shipped import find_model
from hydropress.data.sources import CALIBRATION_SAMPLES, calibration_sequences, open_images
from hydropress.evaluation.compare import Comparison, summarize
from hydropress.evaluation.outputs import check_folder, uninterrupted, write_run
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
    allocation: Allocation | None = None,
    method: str = "h2",
    calibration: str | Path | None = None,
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
    ratio, order, tolerance, allocation, method
        As in :func:`~hydropress.compress.compress`.
    calibration
        Data source as in :func:`~hydropress.data.sources.open_images`: training images to
        calibrate on, test images to measure both models on.  Neither happens without.
    samples, seed
        How many training images, and which.
    progress
        Called as progress(done, total, what).
    """
    clock = time.monotonic()
    check_folder(folder, "compress")
    path = find_model(model)
    original = load(path)
    count = CALIBRATION_SAMPLES if samples is None else samples
    sequences = test = None
    data = "no data"
    if calibration is not None:
        sequences = calibration_sequences(open_images(calibration, "train"), count, seed)
        test = open_images(calibration, "test")
        data = f"{len(test):,} test images; calibrated on {count} training images"
    compression = compress(
        original,
        ratio=ratio,
        order=order,
        tolerance=tolerance,
        allocation=allocation,
        method=method,
        calibration=sequences,
        progress=progress,
    )
    compressed = compression.model
    assert isinstance(compressed, SequenceClassifier)
    comparison = Comparison(original, test, _evaluating(progress, "evaluate the original"))
    comparison.add_compression(compression, _evaluating(progress, "evaluate the result"))
    summary = {"source": str(model), "calibration": data, "seed": seed, **summarize(compression)}
    given = {"ratio": ratio, "order": order, "tolerance": tolerance, "allocation": allocation}
    size = " ".join(f"--{name} {value}" for name, value in given.items() if value is not None)
    command = (
        f"hydropress compress {model} {size} --method {method} "
        f"--calibration {calibration or 'none'} --samples {count} --seed {seed}"
    )
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
            data=data,
            seconds=time.monotonic() - clock,
            models=[compression.to_dict()],
        )
    return FolderCompression(summary, comparison.rows)


def _evaluating(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(done, total, what)
