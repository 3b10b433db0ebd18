"""Compressed models beside their original, measured on the same sequences."""

from typing import Any

from torch import Tensor

from hydropress.compression.result import Compression
from hydropress.data.sequences import LabelledSequences
from hydropress.evaluation.metrics import Progress, accuracy, agreement, predict
from hydropress.evaluation.records import result_row
from hydropress.models.classifier import SequenceClassifier


class Comparison:
    """Rows of a results table, all measured on the same sequences.

    Parameters
    ----------
    original
        The model that the others are made from; its decisions are the reference.
    test
        Labelled sequences; without them accuracy and agreement stay unknown.
    """

    def __init__(
        self,
        original: SequenceClassifier,
        test: LabelledSequences | None,
        progress: Progress | None = None,
    ) -> None:
        self.original = original
        self.test = test
        self._reference: Tensor | None = None
        measured: dict[str, Any] = {}
        if test is not None:
            self._reference = predict(original, test, progress=progress)
            measured = {"accuracy": accuracy(self._reference, test.labels), "agreement": 1.0}
        row = result_row(original, original, method="original", relative_h2_error=0.0, **measured)
        self.rows: list[dict[str, Any]] = [row]

    def add(
        self,
        model: SequenceClassifier,
        *,
        method: str,
        calibrated: bool,
        relative_h2_error: float | None = None,
        finetuned: bool | str = False,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Measure a model and append its row, which is returned; arguments as in result_row."""
        measured: dict[str, Any] = {}
        if self.test is not None and self._reference is not None:
            decisions = predict(model, self.test, progress=progress)
            measured = {
                "accuracy": accuracy(decisions, self.test.labels),
                "agreement": agreement(decisions, self._reference),
            }
        row = result_row(
            model,
            self.original,
            method=method,
            calibrated=calibrated,
            relative_h2_error=relative_h2_error,
            finetuned=finetuned,
            **measured,
        )
        self.rows.append(row)
        return row

    def add_compression(
        self, compression: Compression, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Measure what a compression returned, without training."""
        assert isinstance(compression.model, SequenceClassifier)
        return self.add(
            compression.model,
            method=compression.method,
            calibrated=compression.calibrated,
            relative_h2_error=compression.relative_h2_error,
            progress=progress,
        )


def summarize(compression: Compression) -> dict[str, Any]:
    """Return what happened to each layer in a few numbers, ready for JSON."""
    layers: list[dict[str, Any]] = []
    for layer in compression.layers:
        error = layer.relative_h2_error
        output = layer.output_error
        layers.append(
            {
                "name": layer.name,
                "order_before": layer.order_before,
                "order_after": layer.order_after,
                "relative_h2_error": {"mean": error.mean().item(), "max": error.max().item()},
                "output_error": None
                if output is None
                else {"mean": output.mean().item(), "max": output.max().item()},
                "certificate": layer.figures(),
            }
        )
    return {
        "method": compression.method,
        "calibrated": compression.calibrated,
        "allocation": compression.plan.allocation,
        "target": compression.plan.target,
        "order": compression.order,
        "ratio": compression.ratio,
        "relative_h2_error": compression.relative_h2_error,
        "trials": [{"states": size, "metric": value} for size, value in compression.trials],
        "above_tolerance": compression.above_tolerance,
        "seconds": round(compression.seconds, 2),
        "layers": layers,
    }
