"""One process at a time writes a file of the cache; the system frees the lock of one that dies."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bimacosr.errors import ModelError
from bimacosr.models.storing import storing

__all__ = ["locked"]

_PAUSE_S = 0.2
_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of `path`, the file PATH.lock, while inside.

    The lock file stays: removed, it could be locked by one who had opened it before, and made
    anew by another, so that both believe they hold it.

    Args:
        path: What is going to be written.
        waiting: Called five times a second while another process holds the lock.

    Raises:
        ModelError: the lock file cannot be made, or the disk has no locks.
    """
    with storing(path):
        handle = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o666)
    try:
        while not _taken(handle, path):
            waiting()
            time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(handle)


def _taken(handle: int, path: Path) -> bool:
    """Try to take the lock."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise ModelError(
            f"{path.parent} lies on a disk without file locks; set BIMACOSR_CACHE to a folder on "
            "a local disk"
        ) from error
    return True
