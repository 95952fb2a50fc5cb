"""When a training stops before its end: its time is over, or somebody asked."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stop", "stopping"]


class Stop:
    """Asked after each step.

    Args:
        max_minutes: Minutes that the run may take from now on; None: no limit.
    """

    def __init__(self, max_minutes: float | None = None) -> None:
        self.until = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self.signal: str | None = None

    @property
    def wanted(self) -> bool:
        """Whether to stop now."""
        over = self.until is not None and time.monotonic() >= self.until
        return over or self.signal is not None


@contextmanager
def stopping(max_minutes: float | None) -> Iterator[Stop]:
    """A `Stop` that also listens to Ctrl-C and to SIGTERM: the step is finished, the state saved.

    A second Ctrl-C stops at once.
    """
    stop = Stop(max_minutes)

    def asked(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = signal.Signals(number).name

    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals are the main thread's alone
        return
    before = {s: signal.signal(s, asked) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
