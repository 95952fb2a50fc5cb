"""Files that appear whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bimacosr.errors import WriteError
from bimacosr.io.failures import shown, writing

__all__ = ["atomic_file"]

_MAX_NAME_BYTES = 200
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS}
_FLAGS = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a hidden file beside `path` that takes its place when the block ends well.

    After any exception, KeyboardInterrupt too, the hidden file is removed, and what was at
    `path` is as it was. Missing folders are made. A link is followed: its target is replaced.

    Raises:
        WriteError: the file cannot be made, written or moved: "the disk is full while ..."
    """
    with writing(path):
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            kind = "a folder" if target.is_dir() else "not a file but a device or pipe"
            raise WriteError(f"{shown(path)} is {kind}; give the name of a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(_hidden(target.name))
        try:
            with os.fdopen(os.open(part, _FLAGS, 0o666), "wb") as file:
                yield file
                file.flush()
                _sync(file)
            part.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise


def _hidden(name: str) -> str:
    """Give ".<name>.<random>.part", the name cut where the system would find the whole too long."""
    while len(os.fsencode(name)) > _MAX_NAME_BYTES:
        name = name[:-1]
    return f".{name}.{secrets.token_hex(4)}.part"


def _sync(file: BinaryIO) -> None:
    """Have the bytes on the disk before the name points to them; some network disks cannot."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
