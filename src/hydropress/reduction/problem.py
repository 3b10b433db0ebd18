"""The statement of a reduction problem, shared by all methods."""

import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.balancing import Balancing
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.objective import ClosedFormObjective, Objective
from hydropress.reduction.sampled import SpectralObjective
from hydropress.systems.modal import SISOSystem
from hydropress.systems.norms import h2_norm


@dataclass(frozen=True)
class SpectralWeight:
    """A weight on the unit circle: the error counts as Σ_k W_k |G(e^{iω_k}) - G_r(e^{iω_k})|².

    With the mean periodogram of a layer's input as W this is the mean squared output error.

    Attributes
    ----------
    frequencies
        ω in radians per sample, shape ``(F,)``.
    values
        W ≥ 0, shape ``(F,)`` or ``(..., F)`` with the batch shape of the systems.
    """

    frequencies: Tensor
    values: Tensor


@dataclass(frozen=True)
class Problem:
    """K systems to be reduced to each of several orders.

    Attributes
    ----------
    full
        Bank of stable systems, batch shape ``(K,)``.
    orders
        Ascending.
    horizon
        Samples or time units that count; ``None`` for infinite.
    weight
        Spectral weight with values ``(K, F)``, or ``None``.
    fits_feedthrough
        Whether a change of D is one more unknown.
    descent
        Settings of the iterative methods.
    """

    full: SISOSystem
    orders: tuple[int, ...]
    horizon: float | None = None
    weight: SpectralWeight | None = None
    fits_feedthrough: bool = False
    descent: DescentConfig = field(default_factory=DescentConfig)

    @cached_property
    def norm(self) -> Tensor:
        """‖k‖, unweighted, float64, shape ``(K,)``."""
        if self.balancing is not None:
            return self.balancing.norm
        return h2_norm(self.full, horizon=self.horizon)

    @cached_property
    def balancing(self) -> Balancing | None:
        """Balanced coordinates; ``None`` on a finite horizon, where they do not exist."""
        return Balancing.of(self.full) if self.horizon is None else None

    @cached_property
    def objective(self) -> Objective:
        """What is minimised."""
        energy = torch.where(self.norm > 0, self.norm**2, torch.ones_like(self.norm))
        if self.weight is None:
            return ClosedFormObjective(self.full, energy, self.horizon, self.fits_feedthrough)
        weight = self.weight
        points = torch.exp(1j * weight.frequencies.to(torch.float64))
        targets = self.full.transfer_function(points) - self.full.D[:, None]
        values = weight.values.to(torch.float64).expand(targets.shape)
        total = (values * targets.abs() ** 2).sum(-1, keepdim=True)
        values = values / torch.where(total > 0, total, torch.ones_like(total))
        return SpectralObjective(
            weight.frequencies.to(torch.float64), values, targets, energy, self.fits_feedthrough
        )


def check_problem(
    full: SISOSystem,
    orders: tuple[int, ...],
    horizon: float | None,
    weight: SpectralWeight | None,
    fits_feedthrough: bool,
) -> None:
    """Raise the package's errors for whatever the methods cannot take."""
    if not orders or any(order < 1 for order in orders):
        raise InvalidArgumentError(f"orders {orders}; required: positive integers")
    if full.D.numel() == 0:
        raise InvalidArgumentError(
            f"a bank of batch shape {tuple(full.batch_shape)}; required: at least one system"
        )
    largest = int(full.order.max())
    if max(orders) > largest:
        raise InvalidArgumentError(
            f"order {max(orders)}; required: from 1 to {largest}, the largest order in the bank"
        )
    if horizon is None:
        full.require_stable()
    elif not (horizon > 0 and math.isfinite(horizon)):
        raise InvalidArgumentError(f"horizon={horizon}; required: a positive finite length")
    if full.time == "continuous" and (weight is not None or fits_feedthrough):
        raise InvalidArgumentError(
            "a weight or a fitted feedthrough with a continuous-time system; required: discrete "
            "time; discretise it first"
        )
    if weight is not None:
        if weight.values.shape[-1:] != weight.frequencies.shape:
            raise InvalidArgumentError(
                f"weight values of shape {tuple(weight.values.shape)} at "
                f"{tuple(weight.frequencies.shape)} frequencies; required: (..., F) and (F,)"
            )
        batch = tuple(weight.values.shape[:-1])
        if batch and batch != tuple(full.batch_shape):
            raise InvalidArgumentError(
                f"weight values of batch shape {batch}; required: none, or that of the systems, "
                f"{tuple(full.batch_shape)}"
            )
        if not bool(torch.isfinite(weight.frequencies).all()):
            raise InvalidArgumentError(
                "frequencies of the weight hold NaN or infinity; required: radians per sample"
            )
        if not bool((weight.values >= 0).all()) or not bool(torch.isfinite(weight.values).all()):
            raise InvalidArgumentError("weight values below zero or not finite; required: W ≥ 0")
        if not bool((weight.values.sum(-1) > 0).all()):
            raise InvalidArgumentError("a weight is zero everywhere; required: some W > 0")
