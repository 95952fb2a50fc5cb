"""Work on pictures, or parts of one, on several threads: results in order, few in flight."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_order"]

_MAX_THREADS = 8  # more would only wait for the disk

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    work: Callable[[T], R],
    items: Iterable[T],
    threads: int | None = None,
    *,
    initializer: Callable[[], None] | None = None,
) -> Generator[R, None, None]:
    """Give `work(item)` for each item in turn; at most one result more than threads waits.

    Close it (`contextlib.closing`) when leaving early, so that no thread works on. `threads` is
    chosen by the processors if not given. `initializer` is called by each thread before its work.
    """
    threads = threads or _threads()
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, initializer=initializer) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _threads() -> int:
    allowed = getattr(os, "sched_getaffinity", None)  # not everywhere
    return min(_MAX_THREADS, len(allowed(0)) if allowed else os.cpu_count() or 1)
