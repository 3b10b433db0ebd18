"""What every method returns."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hydropress.errors import InvalidArgumentError
from hydropress.systems.modal import SISOSystem


@dataclass(frozen=True)
class Outcome:
    """What a method hands over at one order: the systems and how it got there.

    Attributes
    ----------
    system
        Bank of reduced systems, batch shape ``(K,)``.
    iterations
        int64, shape ``(K,)``; 0 for direct methods.
    spread
        Largest minus smallest relative error over the starts tried, shape ``(K,)``.
    """

    system: SISOSystem
    iterations: Tensor
    spread: Tensor

    @staticmethod
    def direct(system: SISOSystem) -> "Outcome":
        """Wrap the result of a method that does not iterate."""
        zero = torch.zeros_like(system.D)
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
    amplification
        ‖k - k_r‖: the outputs for an input u, D apart, differ by at most this times ‖u‖₂ at any
        time (Cauchy-Schwarz).
    mode_energy
        Largest energy of one mode over that of the full system: how much modes cancel each other.
    spread
        Largest minus smallest relative error over the starts tried.
    """

    stationarity: Tensor
    balanced_error: Tensor
    amplification: Tensor
    mode_energy: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Reduction:
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
        ‖k - k_r‖ / ‖k‖ in the metric of the problem, float64, shape ``(...)``.
    converged
        Whether the result is stationary to the method's tolerance, bool, shape ``(...)``.
    iterations
        int64, shape ``(...)``.
    certificate
        See :class:`Certificate`.
    """

    system: SISOSystem
    method: str
    order: int
    relative_error: Tensor
    converged: Tensor
    iterations: Tensor
    certificate: Certificate

    @property
    def status(self) -> str:
        """``converged``, ``direct`` for methods that do not iterate, or how many did converge."""
        if int(self.iterations.sum()) == 0 and not bool(self.converged.any()):
            return "direct"
        count, total = int(self.converged.sum()), self.converged.numel()
        return "converged" if count == total else f"{count} of {total} converged"


@dataclass(frozen=True)
class ReductionPath:
    """Reductions of the same systems to every order of one run, ascending."""

    reductions: tuple[Reduction, ...]

    @property
    def orders(self) -> tuple[int, ...]:
        return tuple(reduction.order for reduction in self.reductions)

    def __getitem__(self, order: int) -> Reduction:
        """Return the reduction to an order."""
        for reduction in self.reductions:
            if reduction.order == order:
                return reduction
        raise InvalidArgumentError(f"order {order}; required: one of {self.orders}")

    def __iter__(self) -> Iterator[Reduction]:
        return iter(self.reductions)

    def __len__(self) -> int:
        return len(self.reductions)
