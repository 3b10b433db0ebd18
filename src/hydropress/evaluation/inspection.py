r"""How far the layers of a model can be reduced, read off their Hankel singular values.

Balanced truncation of a stable system G to order r has an error with a known bound, and the
largest Hankel singular value is a lower bound on the peak gain:

    max_ω |G - G_r| ≤ 2 Σ_{k > r} σ_k,        σ_1 ≤ max_ω |G - D|.

So an order r with 2 Σ_{k > r} σ_k ≤ ε σ_1 is guaranteed to suffice for an error of at most ε times
the peak gain, at every frequency and for every input.  It is a guarantee for the worst input: data
that a trained layer really receives often permit less.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hydropress.evaluation.metrics import count_parameters, linear_parts
from hydropress.systems.gramians import hankel_singular_values

GUARANTEES = (0.1, 0.01)
"""The errors ε for which a sufficient order is reported."""
LEVELS = (1e-2, 1e-3)
"""Shares of σ_1 above which Hankel singular values are counted."""


@dataclass(frozen=True)
class LayerInspection:
    """One linear SSM layer.

    Attributes
    ----------
    name
        Path of the layer in the model.
    channels, directions, order, parameters
        Systems are ``channels * directions``, of S5 and LRU one for each direction; ``order`` is
        the largest number of real states of one.
    half_life
        Smallest, median and largest half-life of a mode, in samples.
    frequency
        Smallest and largest frequency of a mode, radians per sample.
    hankel_above
        Median over the systems of the number of Hankel singular values above 1 % and 0.1 % of
        the largest.
    sufficient_order
        Per guaranteed error 10 % and 1 %: median and maximum over the systems of the smallest
        order whose balanced truncation bound meets it.
    """

    name: str
    channels: int
    directions: int
    order: int
    parameters: int
    half_life: tuple[float, float, float]
    frequency: tuple[float, float]
    hankel_above: tuple[int, int]
    sufficient_order: tuple[tuple[int, int], tuple[int, int]]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def sufficient_order(singular_values: Tensor, error: float) -> Tensor:
    """Return the smallest r with 2 Σ_{k > r} σ_k ≤ error · σ_1.

    Parameters
    ----------
    singular_values
        Hankel singular values, descending, shape ``(..., n)``.
    error
        ε, a share of the peak gain.

    Returns
    -------
    Tensor
        int64, shape ``(...)``; 0 for a system without any.
    """
    tails = singular_values.flip(-1).cumsum(-1).flip(-1)
    return (2 * tails > error * singular_values[..., :1]).sum(-1)


def inspect_model(model: nn.Module) -> list[LayerInspection]:
    """Describe every linear SSM layer of a model.

    Raises
    ------
    InvalidArgumentError
        If the model has none.
    UnstableSystemError
        If a pole does not decay.
    """
    result: list[LayerInspection] = []
    for name, module, part in linear_parts(model):
        system = part.system
        values = hankel_singular_values(system).flatten(0, -2)
        used = system.states > 0
        half_life = math.log(2) / system.decay[used]
        frequency = system.poles[used].angle().abs()
        above = [(values > level * values[:, :1]).sum(-1).median().item() for level in LEVELS]
        orders = [sufficient_order(values, error) for error in GUARANTEES]
        result.append(
            LayerInspection(
                name=name,
                channels=part.channels,
                directions=part.directions,
                order=int(system.order.max()),
                parameters=count_parameters(module),
                half_life=_triple(half_life),
                frequency=(frequency.min().item(), frequency.max().item()),
                hankel_above=(int(above[0]), int(above[1])),
                sufficient_order=(_median_and_maximum(orders[0]), _median_and_maximum(orders[1])),
            )
        )
    return result


def _triple(values: Tensor) -> tuple[float, float, float]:
    return values.min().item(), torch.median(values).item(), values.max().item()


def _median_and_maximum(orders: Tensor) -> tuple[int, int]:
    return int(orders.median()), int(orders.max())
