"""The statement of a reduction problem, shared by all methods."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from numbers import Integral
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.balancing import Balancing
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.objective import ClosedFormObjective, Objective
from hydropress.reduction.sampled import SpectralObjective
from hydropress.reduction.weights import SpectralWeight, Weight, check_weight
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.norms import h2_norm

S = TypeVar("S", bound=ModalSystem)

LARGEST_RESIDUE = 1e140
"""Of a system; its inverse is the smallest.  Squares, and sums of them, are then numbers."""


@dataclass(frozen=True)
class Problem(Generic[S]):
    """K systems to be reduced to each of several orders.

    Attributes
    ----------
    full
        Bank of systems, batch shape ``(K,)``, stable unless there is a horizon; of delay 0, and so
        are the results: the delay is taken off before and put back after a method.
    orders
        Ascending.
    horizon
        Samples or time units of the modes that count; ``None`` for infinite.
    weight
        Spectral weight, with values ``(K, F)`` for scalar systems, input covariance or ``None``.
    fits_feedthrough
        Whether a change of D is one more unknown.
    descent
        Settings of the iterative methods.
    """

    full: S
    orders: tuple[int, ...]
    horizon: float | None = None
    weight: Weight | None = None
    fits_feedthrough: bool = False
    descent: DescentConfig = field(default_factory=DescentConfig)

    def at(self, orders: tuple[int, ...]) -> "Problem[S]":
        """Return the same problem at other orders, with what has been worked out."""
        other = replace(self, orders=orders)
        other.__dict__.update(
            {name: self.__dict__[name] for name in _SHARED if name in self.__dict__}
        )
        return other

    def parts(self, number: int) -> "list[Problem[S]]":
        """Split the bank into so many problems of about the same number of systems."""
        weight = self.weight
        count = len(self.full.D)
        bounds = [count * place // number for place in range(number + 1)]
        found: list[Problem[S]] = []
        for start, end in pairwise(bounds):
            part = slice(start, end)
            if isinstance(self.weight, SpectralWeight) and isinstance(self.full, SISOSystem):
                weight = replace(self.weight, values=self.weight.values[part])
            found.append(replace(self, full=self.full[part], weight=weight))
        return found

    @cached_property
    def norm(self) -> Tensor:
        """‖k‖, unweighted, float64, shape ``(K,)``."""
        return h2_norm(self.full, horizon=self.horizon)

    @cached_property
    def balancing(self) -> Balancing[S]:
        """Balanced coordinates, time-limited on a finite horizon."""
        return Balancing.of(self.full, self.horizon)

    @cached_property
    def energy(self) -> Tensor:
        """‖k‖², or one where that is zero, shape ``(K,)``."""
        return torch.where(self.norm > 0, self.norm**2, torch.ones_like(self.norm))

    @cached_property
    def objective(self) -> Objective:
        """What is minimised for a bank of scalar systems."""
        full = self.full
        assert isinstance(full, SISOSystem)
        if self.weight is None:
            return ClosedFormObjective.of(
                full, self.energy, self.horizon, fits_feedthrough=self.fits_feedthrough
            )
        assert isinstance(self.weight, SpectralWeight)
        points = torch.exp(1j * self.weight.frequencies.to(torch.float64))
        targets = full.transfer_function(points) - full.D[:, None]
        values = self.weight.values.to(torch.float64).expand(targets.shape)
        total = (values * targets.abs() ** 2).sum(-1, keepdim=True)
        values = values / torch.where(total > 0, total, torch.ones_like(total))
        return SpectralObjective(
            self.weight.frequencies.to(torch.float64),
            values,
            targets,
            self.energy,
            self.fits_feedthrough,
        )


def chain_of(orders: tuple[int, ...]) -> tuple[int, ...]:
    """Return the orders on the way to those wanted, and these, ascending."""
    return tuple(sorted({*range(2, max(orders) + 1, 2), *orders}))


_SHARED = ("norm", "balancing", "energy", "objective")
"""What does not depend on the orders."""


def check_orders(orders: Any) -> tuple[int, ...]:
    """Return orders as they are; raise unless they are a collection of integers from 0 on."""
    given: tuple[Any, ...] = tuple(orders) if isinstance(orders, Iterable) else ()
    whole = all(isinstance(one, Integral) for one in given if not isinstance(one, bool))
    if not given or not whole or any(isinstance(one, bool) or one < 0 for one in given):
        raise InvalidArgumentError(f"orders {orders!r}; required: integers from 0 on")
    return given


def _check_sizes(full: ModalSystem) -> None:
    """Raise if a system's energy, the square of its residues, is no number or none but zero."""
    if isinstance(full, SISOSystem):
        sizes = full.residues.abs()
    else:
        assert isinstance(full, MIMOSystem)
        sizes = full.B.abs().amax(-1) * full.C.abs().amax(-2)
    largest = torch.where(full.states > 0, sizes, 0.0).sum(-1)
    wrong = (largest > LARGEST_RESIDUE) | ((largest > 0) & (largest < 1 / LARGEST_RESIDUE))
    if bool(wrong.any()):
        raise InvalidArgumentError(
            f"a system whose residues sum up to {float(largest[wrong][0]):.1e}; required: from "
            f"{1 / LARGEST_RESIDUE:.0e} to {LARGEST_RESIDUE:.0e}, or its energy has no float64; "
            "scale its input or output"
        )


def check_problem(
    full: ModalSystem,
    orders: tuple[int, ...],
    horizon: float | None,
    weight: Weight | None,
    fits_feedthrough: bool,
) -> None:
    """Raise the package's errors for whatever the methods cannot take."""
    if full.exponents[..., :1].numel() == 0 and 0 in full.batch_shape:
        raise InvalidArgumentError(
            f"a bank of batch shape {tuple(full.batch_shape)}; required: at least one system"
        )
    largest = int(full.order.max())
    if max(orders) > largest:
        raise InvalidArgumentError(
            f"order {max(orders)}; required: from 0 to {largest}, the largest order in the bank"
        )
    full.require_finite_norm(horizon)
    _check_sizes(full)
    if horizon is not None and not horizon > full.delay:
        raise InvalidArgumentError(
            f"horizon={horizon} with systems of delay {full.delay}, whose modes it does not see; "
            f"required: {full.delay + 1} samples or more"
        )
    if full.delay and fits_feedthrough:
        raise InvalidArgumentError(
            "fit_feedthrough with systems of delay 1; required: delay 0, since D and the modes "
            "never act on the same sample; leave it out (D is kept, which is best), or convert "
            "with hydropress.systems.delay.with_delay"
        )
    if full.time == "continuous" and (weight is not None or fits_feedthrough):
        raise InvalidArgumentError(
            "a weight or a fitted feedthrough with a continuous-time system; required: discrete "
            "time; discretise it first"
        )
    check_weight(full, weight, horizon)
