"""Methods by name."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from hydropress.errors import InvalidArgumentError, UnknownNameError
from hydropress.reduction.problem import Problem
from hydropress.reduction.result import Outcome
from hydropress.systems.modal import ModalSystem

Method = Callable[[Problem[Any]], list[Outcome[Any]]]
"""Reduces a problem's systems to each of its orders."""

Scores = Callable[[ModalSystem], Tensor]
"""Rates the entries of a bank, shape ``(..., n)``; the highest are kept."""

_METHODS: dict[str, Method] = {}
_SCORES: dict[str, Scores] = {}


def register_method(name: str, method: Method, *, scores: Scores | None = None) -> None:
    """Make a method available under a name.

    Parameters
    ----------
    name
        Not taken yet.
    method
        Maps a :class:`~hydropress.reduction.problem.Problem` to one
        :class:`~hydropress.reduction.result.Outcome` per order.
    scores
        For methods that prune a whole model by one ranking: a budget of all layers is shared out
        by :func:`~hydropress.reduction.layer_adaptive.layer_adaptive_orders` with these.
    """
    if name in _METHODS:
        raise InvalidArgumentError(f"method {name!r} is registered already; choose another name")
    _METHODS[name] = method
    if scores is not None:
        _SCORES[name] = scores


def method_names() -> tuple[str, ...]:
    """Return the registered names in order of registration."""
    return tuple(_METHODS)


def get_method(name: str) -> Method:
    """Return the method of a name, or raise an error that lists the names there are."""
    if name not in _METHODS:
        raise UnknownNameError(
            f"method {name!r}; required: one of {', '.join(_METHODS)}; or register_method it"
        )
    return _METHODS[name]


def get_scores(name: str) -> Scores | None:
    """Return how a method ranks the states of a whole model; None if it has no such rule."""
    return _SCORES.get(name)
