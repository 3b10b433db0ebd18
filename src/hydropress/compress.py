"""The verb: a trained model in, a smaller model out."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hydropress.calibrated import CalibratedSettings, reduce_calibrated
from hydropress.calibration import LayerSignals, capture_inputs, predict
from hydropress.errors import InvalidArgumentError
from hydropress.models.layer import LinearSSM
from hydropress.models.modal_ssm import ModalSSM
from hydropress.reduction.reduce import reduce
from hydropress.reduction.registry import get_method
from hydropress.systems.modal import ModalSystem
from hydropress.systems.norms import relative_h2_error

Progress = Callable[[int, int, str], None]
"""Called as progress(done, total, what)."""

MINIMUM_CALIBRATION = 8


@dataclass(frozen=True)
class LayerReport:
    """What happened to one layer.

    Attributes
    ----------
    name
        Path of the layer in the model.
    order_before, order_after
        Largest number of real states of a channel.
    relative_h2_error
        ‖k - k_r‖ / ‖k‖ of each system, float64, shape ``(directions, H)``.
    output_error
        With calibration: root mean square of the output's error on held-out data over the output's
        standard deviation, shape ``(directions, H)``.
    starts
        With calibrated ``h2``: how many systems each start won.
    full, reduced
        The systems before and after, batch shape ``(directions, H)``.
    """

    name: str
    order_before: int
    order_after: int
    relative_h2_error: Tensor
    output_error: Tensor | None
    starts: dict[str, int]
    full: ModalSystem
    reduced: ModalSystem


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


def find_layers(model: nn.Module) -> list[tuple[str, LinearSSM]]:
    """Return the linear SSM layers of a model with their names, in the order of the model."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, LinearSSM)]


def _order_of(layer: LinearSSM) -> int:
    return int(layer.system().order.max())


def _target_order(layers: list[tuple[str, LinearSSM]], ratio: float | None, order: int | None) -> int:
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


def _check_calibration(model: nn.Module, calibration: Tensor) -> None:
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


def _step_of(layer: LinearSSM) -> Tensor | None:
    """Return the time units per sample of the layer's systems, if it has such a scale."""
    log_step = getattr(layer, "log_step", None)
    if log_step is not None:
        return log_step.detach().exp()
    scale = getattr(layer, "step_size", None)
    return None if scale is None else scale.reshape(layer.directions, layer.channels)


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
    progress
        Called after each layer.

    Returns
    -------
    Compression

    Raises
    ------
    InvalidArgumentError
        If the arguments contradict each other or the model holds no linear SSM.
    """
    started = time.monotonic()
    get_method(method)
    layers = find_layers(model)
    if not layers:
        raise InvalidArgumentError(
            "the model holds no linear SSM layer; required: at least one hydropress LinearSSM, "
            "such as S4D"
        )
    target = _target_order(layers, ratio, order)
    if calibration is not None:
        _check_calibration(model, calibration)
    original = copy.deepcopy(model).eval()
    compressed = copy.deepcopy(original)
    reports: list[LayerReport] = []
    before = after = 0
    for index, (name, _) in enumerate(layers):
        layer = original.get_submodule(name)
        assert isinstance(layer, LinearSSM)
        signals = None
        if calibration is not None:
            present = compressed.get_submodule(name)
            signals = LayerSignals.of(
                layer,
                capture_inputs(original, layer, calibration),
                capture_inputs(compressed, present, calibration),
            )
        replacement, report = _reduce_layer(name, layer, target, method, signals, settings)
        _replace(compressed, name, replacement)
        before += int(report.full.order.sum())
        after += int(report.reduced.order.sum())
        reports.append(report)
        if progress:
            progress(index + 1, len(layers), f"{method}, order {target}: {name}")
    if calibration is not None:
        _match_logits(original, compressed, calibration)
    return Compression(
        compressed,
        method,
        calibration is not None and method == "h2",
        target,
        after / before,
        tuple(reports),
        time.monotonic() - started,
    )


def _match_logits(original: nn.Module, compressed: nn.Module, calibration: Tensor) -> None:
    """Add the mean difference of the logits to the bias of the last affine map."""
    decoder = getattr(compressed, "decoder", None)
    if isinstance(decoder, nn.Linear) and decoder.bias is not None:
        shift = _logit_means(original, calibration) - _logit_means(compressed, calibration)
        with torch.no_grad():
            decoder.bias += shift


def _reduce_layer(
    name: str,
    layer: LinearSSM,
    order: int,
    method: str,
    signals: LayerSignals | None,
    settings: CalibratedSettings | None,
) -> tuple[ModalSSM, LayerReport]:
    full = layer.system()
    shape = full.batch_shape
    starts: dict[str, int] = {}
    bias = torch.zeros(len(full.D.flatten()), dtype=torch.float64, device=full.D.device)
    output_error = None
    if signals is not None and method == "h2":
        result = reduce_calibrated(full.reshape(-1), order, signals, settings)
        reduced, bias, starts = result.system.reshape(*shape), result.bias, result.starts
        output_error = result.output_error.reshape(shape)
    else:
        reduced = reduce(full, order, method).system
        if signals is not None:
            bias, output_error = _matched_means(reduced.reshape(-1), signals)
            output_error = output_error.reshape(shape)
    layer_bias = bias.reshape(shape).sum(0)
    if layer.bias is not None:
        layer_bias = layer_bias + layer.bias.detach()
    replacement = ModalSSM.from_system(reduced, step=_step_of(layer), bias=layer_bias)
    report = LayerReport(
        name,
        int(full.order.max()),
        int(reduced.order.max()),
        relative_h2_error(full, reduced),
        output_error,
        starts,
        full,
        reduced,
    )
    return replacement.to(layer.D.dtype), report


def _matched_means(system: ModalSystem, signals: LayerSignals) -> tuple[Tensor, Tensor]:
    """Return the bias that matches the mean output, and the relative output error with it."""
    length = signals.inputs.shape[-1]
    outputs = predict(signals, system.impulse_response(length), system.D).double()
    wanted = signals.outputs.double()
    bias = (wanted - outputs).mean((1, 2))
    error = (wanted - outputs - bias[:, None, None]).square().mean((1, 2)).sqrt()
    return bias, error / wanted.std((1, 2)).clamp_min(1e-300)
