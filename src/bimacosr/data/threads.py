"""Pictures worked on by several threads, each of which PyTorch leaves to itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import TypeVar

import torch

__all__ = ["compute_alone", "in_threads"]

T = TypeVar("T")
R = TypeVar("R")


def in_threads(
    work: Callable[[T], R], items: Iterable[T], threads: int
) -> Generator[R, None, None]:
    """Give `work(item)` for each item in turn; at most one result more than threads waits.

    Close it (`contextlib.closing`) when leaving early: what runs is finished, the rest not begun.
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads, initializer=compute_alone) as pool:
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


def compute_alone() -> None:
    """Have PyTorch compute on the calling thread what it asks for; other threads as before.

    Threads that each call a team of their own would wait for one another more than they work.
    """
    before = torch.get_num_threads()  # a thread takes over the common number once, at its first use
    torch.set_num_threads(1)
    # that set the common number too, for threads to come: one that ends at once puts it back
    restore = Thread(target=torch.set_num_threads, args=(before,))
    restore.start()
    restore.join()
