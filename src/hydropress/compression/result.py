"""What a compression hands back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hydropress.calibration.layer_report import LayerReport
from hydropress.calibration.plan import Plan
from hydropress.models.adapters.files import save_layers
from hydropress.models.checkpoint import save
from hydropress.models.classifier import SequenceClassifier


@dataclass(frozen=True)
class Compression:
    """A compressed model and how it came about.

    Attributes
    ----------
    model
        The new model; its reduced layers hold smaller tensors.
    method, calibrated
        What was asked for.
    plan
        The orders of every system; :attr:`order` is their average, rounded.
    ratio
        The share of SSM states kept.
    layers
        One report a layer.
    seconds
        Wall time.
    trials
        With ``max_drop``: states and metric of every model that was tried, in that order.
    above_tolerance
        With ``tolerance`` and calibration data: how many systems of a layer still exceed it, by
        name of the layer; a layer without any is left out.
    """

    model: nn.Module
    method: str
    calibrated: bool
    plan: Plan
    ratio: float
    layers: tuple[LayerReport, ...]
    seconds: float
    trials: tuple[tuple[int, float], ...] = ()
    above_tolerance: dict[str, int] = field(default_factory=dict)

    @property
    def order(self) -> int:
        """States per system, on average, rounded."""
        return round(self.plan.mean_order)

    @property
    def relative_h2_error(self) -> float:
        """Mean relative H² error over all systems of all layers."""
        return float(torch.cat([layer.relative_h2_error.flatten() for layer in self.layers]).mean())

    def save(self, directory: str | Path) -> None:
        """Write the model to a directory, whoever wrote its classes.

        A :class:`~hydropress.models.classifier.SequenceClassifier` is read again by
        :func:`hydropress.load`, any other by ``hydropress.load(directory, model)``, which is given
        the original's architecture.
        """
        if isinstance(self.model, SequenceClassifier):
            save(self.model, directory)
        else:
            save_layers(self.model, [one.written for one in self.layers if one.written], directory)

    def to_dict(self) -> dict[str, Any]:
        """Return what a report shows, ready for JSON."""
        data = "calibrated" if self.calibrated else "no data"
        label = f"{self.method}, {data}" if self.method == "h2" else self.method
        size = f"order {self.order}"
        if self.plan.allocation != "uniform":
            size += " on average"
        return {
            "name": f"{label}, {size}",
            "method": self.method,
            "calibrated": self.calibrated,
            "allocation": self.plan.allocation,
            "order": self.order,
            "ratio": self.ratio,
            "seconds": round(self.seconds, 2),
            "relative_h2_error": self.relative_h2_error,
            "layers": [layer.to_dict() for layer in self.layers],
        }
