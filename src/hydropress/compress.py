"""The verb: a trained model in, a smaller model out."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hydropress.calibration.fit import CalibratedSettings
from hydropress.calibration.layers import LayerReducer, LayerReport
from hydropress.calibration.signals import capture_inputs
from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import LinearSSM
from hydropress.reduction.registry import get_method

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, what)."""

MINIMUM_CALIBRATION = 8


@dataclass(frozen=True)
class Compression:
    """A compressed model and how it came about.

    Attributes
    ----------
    model
        The new model; its reduced layers hold smaller tensors.
    method, calibrated, order, ratio
        What was asked for; ``ratio`` is the share of SSM states kept.
    layers
        One report a layer.
    seconds
        Wall time.
    """

    model: nn.Module
    method: str
    calibrated: bool
    order: int
    ratio: float
    layers: tuple[LayerReport, ...]
    seconds: float

    @property
    def relative_h2_error(self) -> float:
        """Mean relative H² error over all systems of all layers."""
        return float(torch.cat([layer.relative_h2_error.flatten() for layer in self.layers]).mean())

    def to_dict(self) -> dict[str, Any]:
        """Return what a report shows, ready for JSON."""
        data = "calibrated" if self.calibrated else "no data"
        label = f"{self.method}, {data}" if self.method == "h2" else self.method
        return {
            "name": f"{label}, order {self.order}",
            "method": self.method,
            "calibrated": self.calibrated,
            "order": self.order,
            "ratio": self.ratio,
            "seconds": round(self.seconds, 2),
            "relative_h2_error": self.relative_h2_error,
            "layers": [layer.to_dict() for layer in self.layers],
        }


def find_layers(model: nn.Module) -> list[tuple[str, LinearSSM]]:
    """Return the linear SSM layers of a model with their names, in the order of the model."""
    return [
        (name, module) for name, module in model.named_modules() if isinstance(module, LinearSSM)
    ]


def _require_layers(model: nn.Module) -> list[tuple[str, LinearSSM]]:
    layers = find_layers(model)
    if not layers:
        raise InvalidArgumentError(
            "the model holds no linear SSM layer; required: at least one hydropress LinearSSM, "
            "such as S4D"
        )
    return layers


def _order_of(layer: LinearSSM) -> int:
    return int(layer.system().order.max())


def _target_order(
    layers: list[tuple[str, LinearSSM]], ratio: float | None, order: int | None
) -> int:
    if (ratio is None) == (order is None):
        raise InvalidArgumentError(
            f"ratio={ratio}, order={order}; required: exactly one of them; ratio is the share of "
            "SSM states to keep, order the states per channel"
        )
    largest = max(_order_of(layer) for _, layer in layers)
    if order is None:
        assert ratio is not None
        if not 0 < ratio <= 1:
            raise InvalidArgumentError(
                f"ratio={ratio}; required: above 0 and at most 1, the share of states to keep; "
                "0.25 keeps a quarter"
            )
        order = round(ratio * largest)
        if order < 1:
            raise InvalidArgumentError(
                f"ratio={ratio} of {largest} states is less than one state; required: at least "
                f"{1 / largest:.4g}"
            )
    if not 1 <= order <= largest:
        raise InvalidArgumentError(
            f"order={order}; required: from 1 to {largest}, the largest order in the model"
        )
    return order


def _check_calibration(calibration: Tensor) -> None:
    if calibration.ndim != 3 or len(calibration) < MINIMUM_CALIBRATION:
        raise InvalidArgumentError(
            f"calibration of shape {tuple(calibration.shape)}; required: (n, length, inputs) with "
            f"n at least {MINIMUM_CALIBRATION}; a few dozen sequences suffice"
        )
    if not bool(torch.isfinite(calibration).all()):
        raise InvalidArgumentError("calibration contains NaN or infinity; required: finite data")


def _logit_means(model: nn.Module, sequences: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([model(batch) for batch in sequences.split(64)]).mean(0)


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, layer)


def compress(
    model: nn.Module,
    *,
    ratio: float | None = None,
    order: int | None = None,
    method: str = "h2",
    calibration: Tensor | None = None,
    settings: CalibratedSettings | None = None,
    progress: Progress | None = None,
) -> Compression:
    """Replace every linear SSM of a model by one of fewer states.

    Parameters
    ----------
    model
        Trained; it is not changed.
    ratio, order
        Share of the SSM states to keep, or states per channel; exactly one of them.
    method
        Name of a registered reduction method.
    calibration
        Sequences as the model takes them, ``(n, L, inputs)``; no labels.  With ``h2`` they weight
        the error by what each layer receives in the already compressed prefix, feedthrough and
        bias are fitted, and each system's start is selected by its output error on held-out
        sequences.  Every method has the means of its layers' outputs and of the logits matched.
    settings
        How layers are fitted to calibration data.
    progress
        Called after each layer.

    Returns
    -------
    Compression

    Raises
    ------
    InvalidArgumentError
        If the arguments contradict each other or the model holds no linear SSM.
    UnknownNameError
        If no such method is registered.
    """
    order = _target_order(_require_layers(model), ratio, order)
    (compression,) = compress_path(
        model,
        (order,),
        method=method,
        calibration=calibration,
        settings=settings,
        progress=progress,
    )
    return compression


def compress_path(
    model: nn.Module,
    orders: Sequence[int],
    *,
    method: str = "h2",
    calibration: Tensor | None = None,
    settings: CalibratedSettings | None = None,
    progress: Progress | None = None,
) -> list[Compression]:
    """Compress a model to several orders; the searches are shared between them.

    Parameters
    ----------
    orders
        States per channel.
    model, method, calibration, settings, progress
        As in :func:`compress`.

    Returns
    -------
    list of Compression
        One an order, in the order given; ``seconds`` holds an equal share of the common work.
    """
    get_method(method)
    layers = _require_layers(model)
    for order in orders:
        _target_order(layers, None, order)
    if calibration is not None:
        _check_calibration(calibration)
    chosen = CalibratedSettings() if settings is None else settings
    original = copy.deepcopy(model).eval()
    names = [name for name, _ in layers]
    total, done = len(names) * (1 + len(orders)), 0
    started = time.monotonic()
    prepared: dict[str, LayerReducer] = {}
    for name in names:
        inputs = None
        layer = original.get_submodule(name)
        assert isinstance(layer, LinearSSM)
        if calibration is not None:
            inputs = capture_inputs(original, layer, calibration)
        prepared[name] = LayerReducer.prepare(name, layer, tuple(orders), method, inputs, chosen)
        done += 1
        if progress:
            progress(done, total, f"{method}: {name}")
    shared = (time.monotonic() - started) / len(orders)
    compressions: list[Compression] = []
    for order in orders:
        started = time.monotonic()
        compressed = copy.deepcopy(original)
        reports: list[LayerReport] = []
        for name, reducer in prepared.items():
            inputs = present = None
            if calibration is not None:
                inputs = capture_inputs(original, original.get_submodule(name), calibration)
                present = capture_inputs(compressed, compressed.get_submodule(name), calibration)
            replacement, report = reducer.reduce(order, inputs, present)
            _replace(compressed, name, replacement)
            reports.append(report)
            done += 1
            if progress:
                progress(done, total, f"{method}, order {order}: {name}")
        if calibration is not None:
            _match_logits(original, compressed, calibration)
        before = sum(int(report.full.order.sum()) for report in reports)
        after = sum(int(report.reduced.order.sum()) for report in reports)
        compressions.append(
            Compression(
                compressed,
                method,
                calibration is not None and method == "h2",
                order,
                after / before,
                tuple(reports),
                shared + time.monotonic() - started,
            )
        )
    return compressions


def _match_logits(original: nn.Module, compressed: nn.Module, calibration: Tensor) -> None:
    """Add the mean difference of the logits to the bias of the last affine map."""
    decoder = getattr(compressed, "decoder", None)
    affine = decoder if isinstance(decoder, nn.Linear) else nn.Module()
    bias = dict(affine.named_parameters()).get("bias")
    if bias is not None:
        shift = _logit_means(original, calibration) - _logit_means(compressed, calibration)
        with torch.no_grad():
            bias += shift
