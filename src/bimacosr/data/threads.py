"""Threads of our own, each of which PyTorch leaves to itself."""

from __future__ import annotations

from threading import Thread

import torch

__all__ = ["compute_alone"]


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
