"""What every method returns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.modal import ModalSystem

S = TypeVar("S", bound=ModalSystem)


@dataclass(frozen=True)
class Outcome(Generic[S]):
    """What a method hands over at one order: the systems and how it got there.

    Attributes
    ----------
    system
        Bank of reduced systems, batch shape ``(K,)``.
    iterations
        int64, shape ``(K,)``; 0 for direct methods.
    spread
        Largest minus smallest relative error over the starts tried, shape ``(K,)``.
    is_complete
        Whether systems that are small enough already are in ``system`` as they are to be; if not,
        they stay as they were given.
    """

    system: S
    iterations: Tensor
    spread: Tensor
    is_complete: bool = False

    @staticmethod
    def direct(system: S) -> "Outcome[S]":
        """Wrap the result of a method that does not iterate."""
        zero = system.D.new_zeros(system.batch_shape)
        return Outcome(system, zero.to(torch.int64), zero)


@dataclass(frozen=True)
class Certificate:
    """What can be said about a reduced system, whichever method made it.

    All float64 of the systems' batch shape.

    Attributes
    ----------
    stationarity
        Largest relative residual of the first-order optimality conditions (interpolation of value
        and derivative at the mirrored poles, per unit of direction and of ‖k‖); 0 at an optimum.
    balanced_error
        Relative error of balanced truncation at the same order, in the same metric.
    irka_error
        The same of IRKA from BT's solution; NaN where a pole does not decay.
    lower_bound
        No system of this order has a smaller relative error in the problem's metric, D kept, or
        free where this system's differs (:mod:`hydropress.reduction.bounds`); NaN with a spectral
        weight on frequencies that are not equidistant.
    amplification
        ‖h - h_r‖ of whole impulse responses, D included and unweighted: the outputs for an input
        u differ by at most this times ‖u‖₂ at any time, or up to the horizon (Cauchy-Schwarz).
        Infinite in continuous time if D has changed.
    mode_energy
        Largest energy of one mode over that of the full system: how much modes cancel each other.
    spread
        Largest minus smallest relative error over the starts tried.
    """

    stationarity: Tensor
    balanced_error: Tensor
    irka_error: Tensor
    lower_bound: Tensor
    amplification: Tensor
    mode_energy: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Reduction(Generic[S]):
    """Reduced systems of one order.

    Attributes
    ----------
    system
        The reduced systems, batch shape ``(...)``.
    method
        Name of the method.
    order
        The order asked for; ``system.order`` may be less.
    relative_error
        ‖h - h_r‖ / ‖k‖ in the metric of the problem, h with D and k without, float64, shape
        ``(...)``; infinite in continuous time if D has changed.
    converged
        Whether the result is stationary to the method's tolerance, bool, shape ``(...)``.
    iterations
        int64, shape ``(...)``.
    spread
        Largest minus smallest relative error over the starts tried, float64, shape ``(...)``.
    certificate
        See :class:`Certificate`; worked out when it is first asked for, which takes longer than
        many a reduction.
    """

    system: S
    method: str
    order: int
    relative_error: Tensor
    converged: Tensor
    iterations: Tensor
    spread: Tensor
    certify: Callable[[], Certificate] = field(repr=False, compare=False)

    @cached_property
    def certificate(self) -> Certificate:
        """What can be said about the reduced systems."""
        return self.certify()

    @property
    def status(self) -> str:
        """``converged``, ``direct`` for methods that do not iterate, or how many did converge."""
        if int(self.iterations.sum()) == 0 and not bool(self.converged.any()):
            return "direct"
        count, total = int(self.converged.sum()), self.converged.numel()
        return "converged" if count == total else f"{count} of {total} converged"


@dataclass(frozen=True)
class ReductionPath(Generic[S]):
    """Reductions of the same systems to every order of one run, ascending."""

    reductions: tuple[Reduction[S], ...]

    @property
    def orders(self) -> tuple[int, ...]:
        return tuple(reduction.order for reduction in self.reductions)

    def __getitem__(self, order: int) -> Reduction[S]:
        """Return the reduction to an order."""
        for reduction in self.reductions:
            if reduction.order == order:
                return reduction
        raise InvalidArgumentError(f"order {order}; required: one of {self.orders}")

    def __iter__(self) -> Iterator[Reduction[S]]:
        return iter(self.reductions)

    def __len__(self) -> int:
        return len(self.reductions)
