"""Is a downloaded file what it should be? Hashes: of the file, of the table, of the first download.

A release whose hash nobody published is trusted when it is first seen: its hash is recorded in
NAME.sha256 beside it, in the format of `sha256sum`, and everything later is compared with that.
"""

from __future__ import annotations

import hashlib
import re
from enum import Enum
from pathlib import Path

from bimacosr.errors import ModelError
from bimacosr.models.releases import Release
from bimacosr.models.storing import storing, write_small

__all__ = ["State", "check", "expected_sha256", "record", "recorded", "sha256_of"]

_BLOCK = 1 << 20


class State(Enum):
    """What `check` finds."""

    MISSING = "missing"
    INTACT = "intact"
    DAMAGED = "damaged"
    UNRECORDED = "unrecorded"
    """It is there, but no hash is known to compare it with."""


def check(release: Release) -> State:
    """Compare the whole file of a release in the cache with what is known of it.

    Raises:
        ModelError: the file or its record cannot be read.
    """
    path = release.path
    try:
        if release.size is not None and path.stat().st_size != release.size:
            return State.DAMAGED
        found = sha256_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return State.MISSING
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    expected = expected_sha256(release)
    if expected is None:
        return State.UNRECORDED
    return State.INTACT if found == expected else State.DAMAGED


def expected_sha256(release: Release) -> str | None:
    """The published hash of a release, else the recorded one, else None.

    Raises:
        ModelError: the record cannot be read.
    """
    return release.sha256 or recorded(release.path)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file: 64 hexadecimal digits in lower case.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def recorded(path: Path) -> str | None:
    """The hash recorded beside `path`, or None if there is no record.

    Raises:
        ModelError: the record cannot be read, or holds no hash.
    """
    beside = _record_of(path)
    try:
        text = beside.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ModelError(f"{beside} cannot be read: {error.strerror}") from error
    line = re.match(r"([0-9a-fA-F]{64})\b", text)
    if line is None:
        raise ModelError(
            f"{beside} holds no SHA-256; delete it to trust {path.name} as it is, or delete both "
            "and download anew"
        )
    return line[1].lower()


def record(path: Path, sha256: str) -> None:
    """Record the hash of `path` beside it.

    Raises:
        ModelError: the record cannot be written.
    """
    beside = _record_of(path)
    with storing(beside):
        write_small(beside, f"{sha256}  {path.name}\n")


def _record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
