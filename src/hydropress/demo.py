"""The demo: a trained model compressed step by step, every method beside the others."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydropress.compression.model import compress_path
from hydropress.data.fashion_mnist import Split, load_slice
from hydropress.data.images import ImageSequences
from hydropress.data.shipped import find_model
from hydropress.data.sources import calibration_sequences
from hydropress.evaluation.compare import Comparison
from hydropress.evaluation.metrics import largest_order
from hydropress.evaluation.outputs import check_folder, uninterrupted, write_run
from hydropress.evaluation.records import read_json, write_records
from hydropress.models.checkpoint import load, save
from hydropress.models.classifier import SequenceClassifier
from hydropress.report.html import write_report
from hydropress.training.config import RecoveryConfig
from hydropress.training.train import TRAINING, finetune

MODEL = "s4d-fashion-mnist"
RECOVERED = "s4d-fashion-mnist-order2"
ORDERS = (16, 8, 4, 2)
SAMPLES = 64  # 256 gave the same accuracy within its error and took longer
RECOVERY_STEPS = 48

# Name, whether calibration data are given, and its seconds on two cores, for the time left.
METHODS = (
    ("h2", True, 60.0),
    ("h2", False, 22.0),
    ("balanced", True, 9.0),
    ("modal", True, 8.0),
)
EVALUATION_COST = 4.0
STEP_COST = 0.4

Progress = Callable[[float, float, str], None]
"""Called as progress(done, total, what)."""


class _Stages:
    """Turns the progress of each stage into that of the whole."""

    def __init__(self, total: float, progress: Progress | None) -> None:
        self.total = total
        self.done = 0.0
        self._progress = progress

    def stage(self, cost: float, what: str) -> Callable[..., None]:
        """Return the callback of the next stage, which has that share of the total."""
        base = self.done
        self.done += cost

        def report(done: int, total: int, *_: object) -> None:
            if self._progress:
                self._progress(base + cost * done / total, self.total, what)

        if self._progress:
            self._progress(base, self.total, what)
        return report


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    recovery_steps: int | None = None,
    model: str | Path = MODEL,
    recovered: str | Path = RECOVERED,
    orders: Sequence[int] = ORDERS,
    samples: int = SAMPLES,
    data: Callable[[Split], ImageSequences] = load_slice,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Compress a trained model by several methods and write a report.

    Parameters
    ----------
    out
        Receives ``results.json``, ``details.json``, ``report.html`` and ``model/``, a copy of
        ``recovered``.
    seed
        Determines the calibration sequences and the recovery.
    recovery_steps
        Updates with which the smallest model is recovered in this run; 48 if not given.
    model, recovered
        The original, and the same at the smallest order after a full recovery: names of shipped
        models or directories.
    orders
        States per channel to compress to.
    samples
        Calibration sequences, drawn from the training images.
    data
        Returns the images of a split.
    progress
        Called often.

    Returns
    -------
    list of dict
        The rows of ``results.json``.
    """
    clock = time.monotonic()
    check_folder(out, "demo")
    original = load(find_model(model))
    finished = load(find_model(recovered))
    train, test = data("train"), data("test")
    calibration = calibration_sequences(train, samples, seed)
    steps = RECOVERY_STEPS if recovery_steps is None else recovery_steps
    config = RecoveryConfig(seed=seed, batch_size=min(RecoveryConfig.batch_size, len(train)))
    config = config.for_steps(steps, len(train))

    total = sum(cost for *_, cost in METHODS) + steps * STEP_COST
    total += (3 + len(METHODS) * len(orders)) * EVALUATION_COST
    stages = _Stages(total, progress)
    paths = [
        compress_path(
            original,
            orders,
            method=method,
            calibration=calibration if informed else None,
            allocation="uniform",
            progress=stages.stage(cost, f"compress: {method}{'' if informed else ' (no data)'}"),
        )
        for method, informed, cost in METHODS
    ]
    comparison = Comparison(original, test, stages.stage(EVALUATION_COST, "evaluate: original"))
    details: list[dict[str, Any]] = []
    for same_order in zip(*paths, strict=True):
        for compression in same_order:
            details.append(compression.to_dict())
            what = f"evaluate: {details[-1]['name']}"
            comparison.add_compression(compression, stages.stage(EVALUATION_COST, what))

    start = min(paths[0], key=lambda compression: compression.order).model
    assert isinstance(start, SequenceClassifier)
    run = finetune(start, train, config, progress=stages.stage(steps * STEP_COST, "recover"))
    comparison.add(
        run.model,
        method="h2",
        calibrated=True,
        finetuned=f"{steps} steps on {len(train):,} images",
        progress=stages.stage(EVALUATION_COST, "evaluate: recovered"),
    )
    comparison.add(
        finished,
        method="h2",
        calibrated=True,
        finetuned=_recovery_of(find_model(recovered)),
        progress=stages.stage(EVALUATION_COST, "evaluate: shipped"),
    )
    before = largest_order(original)
    with uninterrupted():
        write_run(out, {"command": "demo", "seed": seed, "recovery_steps": steps})
        save(finished, out / "model")
        write_records(
            out,
            comparison.rows,
            title=f"From {before} states per channel to {min(orders)}",
            subtitle=f"{Path(model).name}, {original.config.num_layers} layers of "
            f"{original.config.channels} channels",
            command=f"hydropress demo --seed {seed} --recovery-steps {steps}",
            data=f"{len(test):,} test images; calibrated on {samples} training images",
            seconds=time.monotonic() - clock,
            models=details,
            notes=_notes(Path(recovered).name, len(test)),
        )
        write_report(out)
    return comparison.rows


def _recovery_of(directory: Path) -> str:
    """Say how a shipped model was recovered, as far as its directory tells."""
    if not (directory / TRAINING).is_file():
        return "fully, shipped"
    record = read_json(directory / TRAINING)
    return f"{record['steps']:,} steps on {record['sequences']:,} images, shipped"


def _notes(recovered: str, num_test: int) -> list[str]:
    return [
        "Every method with calibration data has the means of its layers' outputs and of the "
        "logits matched on the same sequences, so that the comparison is fair; only h2 also "
        "weights its error by them. 'h2 (no data)' sees none.",
        f"The model saved beside this report is {recovered}, recovered beforehand on the full "
        "training set; the recovery of this run is a short one, to show where it starts.",
        f"One standard error of an accuracy of 85 % on {num_test:,} images is "
        f"{100 * (0.85 * 0.15 / num_test) ** 0.5:.1f} points. All rows use the same images.",
    ]
