"""What happened to one layer, ready for a report."""

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hydropress.calibration.layer_certificate import certify_layer, figures
from hydropress.models.adapters.files import WrittenLayer
from hydropress.reduction.result import Certificate
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.norms import relative_h2_error

_CERTIFIED = fields(Certificate)
SHOWN_POLES, SHOWN_CHANNELS, SHOWN_LENGTH, SHOWN_POINTS = 400, 3, 256, 129


@dataclass(frozen=True)
class LayerReport:
    """What happened to one layer.

    Its systems are one a direction and channel, ``(directions, H)``, or, where all channels share
    their states, one a direction, ``(directions, 1)``.

    Attributes
    ----------
    name
        Path of the layer in the model.
    order_before, order_after
        Largest number of real states of a system.
    relative_h2_error
        ‖k - k_r‖ / ‖k‖ of each system, float64, shape ``(directions, H)``.
    output_error
        With calibration: root mean square of the output's error on held-out data (with methods
        that fit nothing but a bias, on all data) over the output's standard deviation, shape
        ``(directions, H)``; of all outputs together where channels share their states, the same for
        each direction.
    starts
        With calibrated ``h2``: how many systems each start won.
    full, reduced
        The systems before and after, batch shape ``(directions, H)``.
    spread
        Largest minus smallest relative error over the method's starts, shape ``(directions, H)``;
        ``None`` of systems fitted to data.
    written
        Sizes of the layer that was written into the model.
    """

    name: str
    order_before: int
    order_after: int
    relative_h2_error: Tensor
    output_error: Tensor | None
    starts: dict[str, int]
    full: ModalSystem
    reduced: ModalSystem
    spread: Tensor | None = None
    written: WrittenLayer | None = None

    @cached_property
    def certificate(self) -> Certificate:
        """What can be said about the systems in the H² norm, worked out when it is asked for.

        See :func:`~hydropress.calibration.layer_certificate.certify_layer`; shape
        ``(directions, H)``.
        """
        return certify_layer(self.full, self.reduced, self.spread)

    def figures(self) -> dict[str, Any]:
        """Return median and largest value over the channels of all that is certified or measured.

        Returns
        -------
        dict
            By name (``relative_h2_error``, the fields of
            :class:`~hydropress.reduction.result.Certificate`, ``output_error``) a ``median`` and a
            ``largest``, ``None`` where nothing is known.
        """
        certified = {field.name: getattr(self.certificate, field.name) for field in _CERTIFIED}
        return figures(
            {"relative_h2_error": self.relative_h2_error}
            | certified
            | {"output_error": self.output_error}
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what a report shows: errors, a sample of the poles, a few channels' responses."""
        errors = self.relative_h2_error.flatten()
        full, reduced = _by_channel(self.full), _by_channel(self.reduced)
        ranking = errors.argsort()
        if isinstance(self.full, MIMOSystem):
            ranking = relative_h2_error(full, reduced).argsort()
        shares = torch.linspace(0.1, 0.9, SHOWN_CHANNELS)
        chosen = ranking[(shares * (len(ranking) - 1)).long().to(ranking.device)].unique()
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
            "shared": isinstance(self.full, MIMOSystem),
            "order_before": self.order_before,
            "order_after": self.order_after,
            "relative_h2_error": _rounded(errors),
            "output_error": None if outputs is None else _rounded(outputs.flatten()),
            "starts": self.starts,
            "certificate": self.figures(),
            "poles_before": _sampled_poles(self.full),
            "poles_after": _sampled_poles(self.reduced),
            "channels": channels,
        }


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]


def _decibels(response: Tensor) -> Tensor:
    return 20 * torch.log10(response.abs().clamp_min(1e-12))


def _by_channel(system: ModalSystem) -> SISOSystem:
    """Return the scalar systems ``(K,)``; of shared states, the forward ones of u_h to y_h."""
    flat = system.reshape(-1)
    if isinstance(flat, MIMOSystem):
        one = flat[0]
        count = one.num_inputs
        residues = one.C * one.B.mT
        exponents, states = (part.expand(count, -1) for part in (one.exponents, one.states))
        return SISOSystem(exponents, residues, states, one.D.diagonal(), one.time, one.delay)
    assert isinstance(flat, SISOSystem)
    return flat


def _sampled_poles(system: ModalSystem) -> list[list[float]]:
    poles = system.poles[system.states > 0]
    stride = max(1, -(-len(poles) // SHOWN_POLES))
    return [[round(pole.real, 7), round(pole.imag, 7)] for pole in poles[::stride].tolist()]
