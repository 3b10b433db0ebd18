"""How functions of numbers and NumPy arrays become machine code."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile at the first call, and keep the code on disk where that is possible.

    Sums may be taken in another order than written and products fused with them; NaN and infinity
    keep their meaning.  Threads run compiled code side by side.
    """
    options = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": {"contract", "reassoc", "nsz"},
    }
    try:
        return cast(Callable[P, R], njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to write
        return cast(Callable[P, R], njit(**options)(function))
