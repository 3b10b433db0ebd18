"""Warnings that torch gives once in a process, given each time."""

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def warns_always() -> Generator[None]:
    """Let torch warn each time."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        yield
    finally:
        torch.set_warn_always(before)
