"""Methods by name."""

from collections.abc import Callable
from typing import Any

from hydropress.errors import InvalidArgumentError, UnknownNameError
from hydropress.reduction.problem import Problem
from hydropress.reduction.result import Outcome

Method = Callable[[Problem[Any]], list[Outcome[Any]]]
"""Reduces a problem's systems to each of its orders."""

_METHODS: dict[str, Method] = {}


def register_method(name: str, method: Method) -> None:
    """Make a method available under a name.

    Parameters
    ----------
    name
        Not taken yet.
    method
        Maps a :class:`~hydropress.reduction.problem.Problem` to one
        :class:`~hydropress.reduction.result.Outcome` per order.
    """
    if name in _METHODS:
        raise InvalidArgumentError(f"method {name!r} is registered already; choose another name")
    _METHODS[name] = method


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
