"""Ctrl-C between training steps."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from hydropress.evaluation.outputs import can_handle_signals


class DeferredInterrupt:
    """Context in which the first interrupt is a request to stop and the second acts at once.

    Parameters
    ----------
    on_request
        Called at the first interrupt, for example to say what happens next.

    Attributes
    ----------
    requested
        Whether an interrupt has come.
    """

    def __init__(self, on_request: Callable[[], None] | None = None) -> None:
        self.requested = False
        self._on_request = on_request
        self._previous: Any = None

    def __enter__(self) -> "DeferredInterrupt":
        if can_handle_signals():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if self._on_request:
            self._on_request()

    def stop(self) -> bool:
        """Return whether to stop; pass this to :func:`~hydropress.training.loop.fit`."""
        return self.requested
