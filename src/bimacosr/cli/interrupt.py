"""SIGTERM, as a system that shuts down sends it, taken like Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["termination_as_interrupt"]


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end a batch as Ctrl-C does: nothing half-written stays."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: the program around us has the signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
