"""How functions of numbers and NumPy arrays become machine code."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")

LICENCE = {"contract", "reassoc", "nsz"}
"""Products may be fused with sums and sums be taken in another order; NaN and infinity count."""


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile at the first call, and keep the code on disk where something can be written.

    Threads run compiled code side by side.
    """
    try:
        made = njit(nogil=True, error_model="numpy", fastmath=LICENCE, cache=True)(function)
    except RuntimeError:
        made = njit(nogil=True, error_model="numpy", fastmath=LICENCE)(function)
    return cast(Callable[P, R], made)
