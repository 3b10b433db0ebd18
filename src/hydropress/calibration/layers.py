"""One layer of a model: from its systems to the layer that replaces it."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hydropress.calibration.fit import (
    CalibratedSettings,
    calibrated_starts,
    held_out_error,
    matching_bias,
    reduce_calibrated,
)
from hydropress.calibration.signals import LayerSignals
from hydropress.models.layer import LinearSSM
from hydropress.models.modal_ssm import ModalSSM
from hydropress.reduction.iterate import Iterate
from hydropress.reduction.reduce import reduce_path
from hydropress.systems.assembly import stack
from hydropress.systems.modal import SISOSystem
from hydropress.systems.norms import relative_h2_error

SHOWN_POLES, SHOWN_CHANNELS, SHOWN_LENGTH, SHOWN_POINTS = 400, 3, 256, 129


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
    full: SISOSystem
    reduced: SISOSystem

    def to_dict(self) -> dict[str, Any]:
        """Return what a report shows: errors, a sample of the poles, a few channels' responses."""
        errors = self.relative_h2_error.flatten()
        ranking = errors.argsort()
        shares = torch.linspace(0.1, 0.9, SHOWN_CHANNELS)
        chosen = ranking[(shares * (len(ranking) - 1)).long().to(ranking.device)].unique()
        full, reduced = self.full.reshape(-1), self.reduced.reshape(-1)
        points = torch.logspace(-3, math.log10(math.pi), SHOWN_POINTS, dtype=torch.float64)
        circle = torch.exp(1j * points)
        channels = [
            {
                "channel": index,
                "impulse_full": _rounded(full[index].impulse_response(SHOWN_LENGTH)),
                "impulse_reduced": _rounded(reduced[index].impulse_response(SHOWN_LENGTH)),
                "frequency": _rounded(points),
                "magnitude_full": _rounded(_decibels(full[index].transfer_function(circle))),
                "magnitude_reduced": _rounded(_decibels(reduced[index].transfer_function(circle))),
            }
            for index in chosen.tolist()
        ]
        outputs = self.output_error
        return {
            "name": self.name,
            "order_before": self.order_before,
            "order_after": self.order_after,
            "relative_h2_error": _rounded(errors),
            "output_error": None if outputs is None else _rounded(outputs.flatten()),
            "starts": self.starts,
            "poles_before": _sampled_poles(full),
            "poles_after": _sampled_poles(reduced),
            "channels": channels,
        }


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]


def _decibels(response: Tensor) -> Tensor:
    return 20 * torch.log10(response.abs().clamp_min(1e-12))


def _sampled_poles(system: SISOSystem) -> list[list[float]]:
    poles = system.poles[system.states > 0]
    stride = max(1, -(-len(poles) // SHOWN_POLES))
    return [[round(pole.real, 7), round(pole.imag, 7)] for pole in poles[::stride].tolist()]


def _step_of(layer: LinearSSM) -> Tensor | None:
    """Return the time units per sample of the layer's systems, if it has such a scale."""
    log_step = getattr(layer, "log_step", None)
    if log_step is not None:
        return log_step.detach().exp()
    scale = getattr(layer, "step_size", None)
    return None if scale is None else scale.reshape(layer.directions, layer.channels)


@dataclass(frozen=True)
class LayerReducer:
    """A layer with everything that its reductions to several orders share.

    Attributes
    ----------
    name, layer
        The original layer and its path in the model.
    method
        Name of the reduction method.
    reduced
        By order, the systems as the method alone reduces them; empty for calibrated ``h2``.
    starts
        By order, the starts of calibrated ``h2`` for each direction.
    settings
        How starts are fitted to data.
    """

    name: str
    layer: LinearSSM
    method: str
    reduced: dict[int, SISOSystem]
    starts: dict[int, list[dict[str, Iterate]]]
    settings: CalibratedSettings

    @staticmethod
    def prepare(
        name: str,
        layer: LinearSSM,
        orders: tuple[int, ...],
        method: str,
        inputs: Tensor | None,
        settings: CalibratedSettings,
    ) -> "LayerReducer":
        """Do the work that all orders share.

        Parameters
        ----------
        inputs
            What the layer gets in the original model, shape ``(n, H, L)``, if there are
            calibration data.
        """
        full = layer.system()
        largest = int(full.order.max())
        orders = tuple(sorted({min(order, largest) for order in orders}))
        if method == "h2" and inputs is not None:
            signals = LayerSignals.of(layer, inputs, inputs).by_direction(layer.directions)
            each = [
                calibrated_starts(
                    full[direction], orders, part, settings, fits_feedthrough=direction == 0
                )
                for direction, part in enumerate(signals)
            ]
            starts = {order: [found[order] for found in each] for order in orders}
            return LayerReducer(name, layer, method, {}, starts, settings)
        path = reduce_path(full, method=method, orders=orders)
        reduced = {reduction.order: reduction.system for reduction in path}
        return LayerReducer(name, layer, method, reduced, {}, settings)

    def reduce(
        self, order: int, inputs: Tensor | None, present: Tensor | None
    ) -> tuple[ModalSSM, LayerReport]:
        """Return the layer that takes the original's place, and what happened.

        Parameters
        ----------
        order
            One of the orders prepared; a layer of fewer states keeps them.
        inputs, present
            What the layer gets in the original model and in the compressed prefix, shape
            ``(n, H, L)``, if there are calibration data.
        """
        full = self.layer.system()
        order = min(order, int(full.order.max()))
        shape, flat = full.batch_shape, full.reshape(-1)
        bias, output_error, starts = torch.zeros_like(flat.D), None, {}
        if inputs is None or present is None:
            reduced = self.reduced[order]
        else:
            signals = LayerSignals.of(self.layer, inputs, present)
            if self.starts:
                results = [
                    reduce_calibrated(
                        full[direction], start, part, self.settings, fits_feedthrough=direction == 0
                    )
                    for direction, (start, part) in enumerate(
                        zip(self.starts[order], signals.by_direction(shape[0]), strict=True)
                    )
                ]
                reduced = stack([result.system for result in results])
                bias = torch.cat([result.bias for result in results])
                output_error = torch.stack([result.output_error for result in results])
                starts = {
                    name: sum(result.starts[name] for result in results)
                    for name in results[0].starts
                }
            else:
                reduced = self.reduced[order]
                bias = matching_bias(reduced.reshape(-1), signals)
                output_error = held_out_error(reduced.reshape(-1), bias, signals).reshape(shape)
        total_bias = bias.reshape(shape).sum(0)
        if self.layer.bias is not None:
            total_bias = total_bias + self.layer.bias.detach()
        replacement = ModalSSM.from_system(reduced, step=_step_of(self.layer), bias=total_bias)
        report = LayerReport(
            self.name,
            int(full.order.max()),
            int(reduced.order.max()),
            relative_h2_error(full, reduced),
            output_error,
            starts,
            full,
            reduced,
        )
        return replacement.to(self.layer.D.dtype), report
