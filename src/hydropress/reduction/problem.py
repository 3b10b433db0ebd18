"""The statement of a reduction problem, shared by all methods."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from numbers import Integral
from typing import Generic, TypeVar

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.reduction.balancing import Balancing
from hydropress.reduction.descent import DescentConfig
from hydropress.reduction.objective import ClosedFormObjective, Objective
from hydropress.reduction.sampled import SpectralObjective
from hydropress.systems.modal import MIMOSystem, ModalSystem, SISOSystem
from hydropress.systems.norms import h2_norm

S = TypeVar("S", bound=ModalSystem)

HERMITIAN_TOLERANCE = 1e-6
"""Share of the largest entry: well above rounding in single precision."""


@dataclass(frozen=True)
class SpectralWeight:
    """A weight on the unit circle, the spectrum of the input: Σ_k tr E_k W_k E_kᴴ counts.

    E_k = G(e^{iω_k}) - G_r(e^{iω_k}).  With the mean periodogram of a layer's input as W this is
    the mean squared output error.

    Attributes
    ----------
    frequencies
        ω in radians per sample, shape ``(F,)``.
    values
        W ≥ 0, shape ``(F,)`` or ``(..., F)`` with the batch shape of the systems; for M inputs
        the cross-spectrum, Hermitian, ``(F, M, M)``.
    """

    frequencies: Tensor
    values: Tensor


@dataclass(frozen=True)
class InputCovariance:
    """The covariance of a MIMO system's input, taken as white in time.

    The error counts as Σ_t tr E[t] R E[t]ᵀ.  A full cross-spectrum holds F M² numbers, and every
    step of the search costs as many: from about M = 128 inputs on, or with fewer sequences than it
    takes to estimate so many, the covariance is what can be had.

    Attributes
    ----------
    values
        R, real, symmetric and positive definite, shape ``(M, M)``.
    """

    values: Tensor


Weight = SpectralWeight | InputCovariance


@dataclass(frozen=True)
class Problem(Generic[S]):
    """K systems to be reduced to each of several orders.

    Attributes
    ----------
    full
        Bank of systems, batch shape ``(K,)``, stable unless there is a horizon.
    orders
        Ascending.
    horizon
        Samples or time units that count; ``None`` for infinite.
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


def check_problem(
    full: ModalSystem,
    orders: tuple[int, ...],
    horizon: float | None,
    weight: Weight | None,
    fits_feedthrough: bool,
) -> None:
    """Raise the package's errors for whatever the methods cannot take."""
    given: tuple[object, ...] = orders
    if not given or any(not isinstance(order, Integral) or int(order) < 0 for order in given):
        raise InvalidArgumentError(f"orders {orders}; required: integers from 0 on")
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
    if full.time == "continuous" and (weight is not None or fits_feedthrough):
        raise InvalidArgumentError(
            "a weight or a fitted feedthrough with a continuous-time system; required: discrete "
            "time; discretise it first"
        )
    if isinstance(weight, InputCovariance):
        _check_covariance(full, weight.values)
    elif weight is not None:
        _check_spectrum(full, weight)
    if weight is not None and horizon is not None:
        raise InvalidArgumentError(
            f"a weight with horizon={horizon}; required: one of them; a spectrum counts all samples"
        )


def _check_spectrum(full: ModalSystem, weight: SpectralWeight) -> None:
    values, count = weight.values, tuple(weight.frequencies.shape)
    if isinstance(full, MIMOSystem):
        wanted = (*count, full.num_inputs, full.num_inputs)
        if tuple(values.shape) != wanted:
            raise InvalidArgumentError(
                f"weight values of shape {tuple(values.shape)} at {count} frequencies for "
                f"{full.num_inputs} inputs; required: a cross-spectrum of shape {wanted}"
            )
    elif values.shape[-1:] != weight.frequencies.shape:
        raise InvalidArgumentError(
            f"weight values of shape {tuple(values.shape)} at {count} frequencies; required: "
            "(..., F) and (F,)"
        )
    elif values.ndim > 1 and tuple(values.shape[:-1]) != tuple(full.batch_shape):
        raise InvalidArgumentError(
            f"weight values of batch shape {tuple(values.shape[:-1])}; required: none, or that of "
            f"the systems, {tuple(full.batch_shape)}"
        )
    if not bool(torch.isfinite(weight.frequencies).all()):
        raise InvalidArgumentError(
            "frequencies of the weight hold NaN or infinity; required: radians per sample"
        )
    if not bool(torch.isfinite(torch.view_as_real(values.to(torch.complex128))).all()):
        raise InvalidArgumentError("weight values not finite; required: W ≥ 0")
    if isinstance(full, MIMOSystem):
        _require_hermitian("a cross-spectrum", values)
        lowest = float(torch.linalg.eigvalsh(values.to(torch.complex128)).min())
        if lowest < -1e-9 * float(values.abs().max()):
            raise InvalidArgumentError(
                f"a cross-spectrum with an eigenvalue of {lowest:.3g}; required: W ≥ 0"
            )
    elif not bool((values >= 0).all()):
        raise InvalidArgumentError("weight values below zero or not finite; required: W ≥ 0")
    rows = values.abs().sum((-3, -2, -1)) if isinstance(full, MIMOSystem) else values.sum(-1)
    if not bool((rows > 0).all()):
        raise InvalidArgumentError("a weight is zero everywhere; required: some W > 0")


def _check_covariance(full: ModalSystem, values: Tensor) -> None:
    if not isinstance(full, MIMOSystem):
        raise InvalidArgumentError(
            "an input covariance with a bank of scalar systems; required: a MIMO system; a scalar "
            "variance changes nothing"
        )
    if tuple(values.shape) != (full.num_inputs, full.num_inputs):
        raise InvalidArgumentError(
            f"a covariance of shape {tuple(values.shape)}; required: "
            f"{(full.num_inputs, full.num_inputs)}, the inputs of the system"
        )
    if values.is_complex() or not bool(torch.isfinite(values).all()):
        raise InvalidArgumentError(
            f"a covariance of {values.dtype} with values complex or not finite; required: real, "
            "finite numbers; take the real part, or a cross-spectrum as the weight"
        )
    _require_hermitian("a covariance", values)
    factor, info = torch.linalg.cholesky_ex(values.to(torch.float64))
    if int(info) > 0 or not bool(torch.isfinite(factor).all()):
        raise InvalidArgumentError(
            "a covariance that is not positive definite; required: symmetric, positive definite; "
            "add a small multiple of the identity"
        )


def _require_hermitian(name: str, values: Tensor) -> None:
    skew = float((values - values.mH).abs().max())
    if skew > HERMITIAN_TOLERANCE * float(values.abs().max()):
        raise InvalidArgumentError(
            f"{name} that differs from its conjugate transpose by {skew:.3g}; required: a "
            "Hermitian matrix (symmetric if real); take the mean of both"
        )
