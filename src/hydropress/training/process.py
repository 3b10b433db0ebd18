"""What a training program sets for its whole process: memory and threads."""

import ctypes
import platform
import sys

import torch

from hydropress.errors import InvalidArgumentError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8
"""Parameters of glibc's ``mallopt``, from ``malloc.h``."""
MEBIBYTE = 1 << 20


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next step; elsewhere, do nothing.

    Returns
    -------
    bool
        Whether all settings were accepted.

    Notes
    -----
    By default glibc maps every large block afresh and unmaps it when it is freed, so a training
    step spends 10 to 20 % of its time (measured, 2 cores, batches of 32 x 64 x 784) in page faults
    for memory that it had a moment ago.  It holds for the whole process, so it is for programs to
    call, not for libraries; the price is that memory once used is not given back.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = (
        (M_MMAP_THRESHOLD, 32 * MEBIBYTE),
        (M_TRIM_THRESHOLD, 2**31 - 1),
        (M_TOP_PAD, 256 * MEBIBYTE),
        # Of an arena of its own a thread gives memory back whatever the threshold.
        (M_ARENA_MAX, 1),
    )
    accepted = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(accepted)


def use_threads(count: int | None) -> None:
    """Make torch use that many CPU threads; None leaves it as it is."""
    if count is None:
        return
    if count < 1:
        raise InvalidArgumentError(f"threads={count}; required: at least 1")
    torch.set_num_threads(count)
