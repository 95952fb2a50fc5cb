"""What the file system refuses while the cache is written, turned into one sentence."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bimacosr.errors import ModelError

__all__ = ["storing", "sync", "write_small"]

_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}

_REASONS = {
    errno.ENOSPC: "the disk is full while {} is stored: free some space and run again, what has "
    "arrived is kept",
    errno.EFBIG: "{} is larger than this disk's file system (or a limit set for you) allows; set "
    "BIMACOSR_CACHE to a folder on another disk",
    errno.EROFS: "{} lies on a read-only file system; set BIMACOSR_CACHE to a folder that you may "
    "write",
    errno.EACCES: "{} may not be written by you; set BIMACOSR_CACHE to a folder that you may write",
}
_REASONS[errno.EPERM] = _REASONS[errno.EACCES]
_REASONS[getattr(errno, "EDQUOT", errno.ENOSPC)] = _REASONS[errno.ENOSPC]


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an `OSError` while `path` is written into a `ModelError`.

    Raises:
        ModelError: "the disk is full while /cache/SinSR_v1.pth is stored: free some space ..."
    """
    try:
        yield
    except OSError as error:
        number = error.errno or 0
        reason = _REASONS.get(
            number,
            f"{{}} cannot be written ({os.strerror(number)}); set BIMACOSR_CACHE to another folder",
        )
        raise ModelError(reason.format(path)) from error


def sync(path: Path) -> None:
    """Have the bytes of `path` on the disk before another name points to them.

    Raises:
        OSError: as the file system says, but for network disks that cannot.
    """
    with path.open("r+b") as file:
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise


def write_small(path: Path, text: str) -> None:
    """Write a line of text, whole or not at all.

    Raises:
        OSError: as the file system says.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
