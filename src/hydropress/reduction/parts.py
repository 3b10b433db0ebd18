"""Independent parts of a task, on as many threads as torch has."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_parts(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """Return the results of all parts, in their order.

    Torch divides single operations among its threads, which gains next to nothing on many small
    matrices.  Here every thread takes whole parts instead, and the operations in them run on one:
    1.2 times as fast on two cores (2,048 S4D channels to order 2, measured once).
    """
    threads = min(torch.get_num_threads(), len(parts))
    if threads < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            return list(pool.map(work, parts))
        finally:
            # The number of threads is the process's, in part: the caller's is put back.
            torch.set_num_threads(max(threads, torch.get_num_threads()))
