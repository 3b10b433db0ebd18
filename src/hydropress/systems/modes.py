"""What a record says of its poles, whatever their residues."""

import math
from abc import ABC
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError, UnstableSystemError
from hydropress.systems.checks import DEADBEAT, finite_numbers
from hydropress.systems.moments import Time, wrap_phase


class Modes(ABC):
    """Exponents with the number of states of each entry; see :class:`ModalSystem`."""

    exponents: Tensor
    states: Tensor
    time: Time
    delay: int

    @property
    def poles(self) -> Tensor:
        """Discrete poles a or continuous poles λ, complex128, shape ``(..., n)``; 0 if empty."""
        poles = torch.exp(self.exponents) if self.time == "discrete" else self.exponents
        if self.delay:
            poles = torch.where(self.exponents.real <= DEADBEAT, torch.zeros_like(poles), poles)
        poles = torch.where(self.states == 1, torch.complex(poles.real, 0 * poles.real), poles)
        return torch.where(self.states > 0, poles, torch.zeros_like(poles))

    @property
    def batch_shape(self) -> torch.Size:
        """The leading ``...``."""
        return self.exponents.shape[:-1]

    @property
    def num_poles(self) -> int:
        """n, the number of stored entries, padding included."""
        return self.exponents.shape[-1]

    @property
    def order(self) -> Tensor:
        """The number of real states of each system (McMillan degree), int64, shape ``(...)``."""
        return self.states.sum(-1)

    @property
    def decay(self) -> Tensor:
        """-Re s, the decay per sample or time unit, shape ``(..., n)``; infinite if empty."""
        return torch.where(self.states > 0, -self.exponents.real, math.inf)

    def require_stable(self) -> None:
        """Raise :class:`UnstableSystemError`, naming the worst pole, unless all decay."""
        if not bool((self.decay > 0).all()):
            worst = self.poles.flatten()[self.decay.argmin()].item()
            raise UnstableSystemError(
                f"{self.time}-time pole {worst:.9g} does not decay; required: every pole inside "
                "the stability region for an infinite horizon; pass a finite horizon or remove it"
            )

    def require_finite_norm(self, horizon: float | None) -> None:
        """Raise unless the norm over a horizon, ``None`` for infinite, exists.

        Raises
        ------
        UnstableSystemError
            If the horizon is infinite and a pole does not decay.
        InvalidArgumentError
            If the horizon is not a positive number, and in discrete time a whole one.
        """
        if horizon is None:
            self.require_stable()
            return
        valid = isinstance(horizon, Real) and math.isfinite(horizon) and horizon > 0
        if not valid or (self.time == "discrete" and horizon != int(horizon)):
            kind = "number of samples" if self.time == "discrete" else "duration"
            raise InvalidArgumentError(
                f"horizon={horizon!r}; required: a positive {kind}, or None for infinite"
            )

    def horizon_of_modes(self, horizon: float | None) -> float | None:
        """Return how much of the modes a horizon sees: one sample less if they act one late."""
        return horizon if horizon is None else horizon - self.delay

    def require_one(self) -> None:
        """Raise if the record holds a batch."""
        if self.batch_shape != ():
            raise InvalidArgumentError(
                f"a batch of shape {tuple(self.batch_shape)}; required: one system; index it first"
            )

    def mode_responses(self, points: Any) -> tuple[Tensor, Tensor]:
        """Return each mode's transform and its conjugate's, ``(..., n, K)`` each, times m/2.

        That is z^{-delay} / (1 - a/z), or 1 / (s - λ).
        """
        point = finite_numbers("points of a transfer function", points, self.exponents.device)
        if point.ndim != 1:
            raise InvalidArgumentError(
                f"points of a transfer function have shape {tuple(point.shape)}; required: (K,)"
            )
        half = (self.states / 2)[..., None]
        both: list[Tensor] = []
        origin = point == 0 if self.delay else torch.zeros_like(point, dtype=torch.bool)
        logarithm = torch.log(torch.where(origin, torch.ones_like(point), point))
        pole = self.poles
        modes = (self.exponents, pole), (self.exponents.conj(), pole.conj())
        for exponents, pole in modes:
            if self.time == "discrete":
                terms = -1 / torch.expm1(wrap_phase(exponents[..., None] - logarithm))
                if self.delay:
                    at_origin = -1 / torch.where(half > 0, pole[..., None], 1)
                    terms = torch.where(origin, at_origin, terms / point)
            else:
                terms = 1 / (point - exponents[..., None])
            both.append(torch.where(half > 0, half * terms, torch.zeros_like(terms)))
        valued = torch.isfinite(torch.view_as_real(both[0] + both[1])).all(-1)
        if not bool(valued.all()):
            worst = point.expand_as(both[0])[~valued][0].item()
            raise InvalidArgumentError(
                f"the transfer function has no finite value at {worst:.6g}; required: points that "
                "are no poles, nor 0 in discrete time without a delay"
            )
        return both[0], both[1]
