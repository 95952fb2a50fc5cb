"""Bytes from an address into NAME.part, taken up again where they broke off.

Beside NAME.part lies NAME.part.json: the address, the length, and the mark (ETag or date) that the
server gave this version of the file. Only the rest of that same version is ever added to it.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from bimacosr.errors import ModelError
from bimacosr.models.connection import BrokenError, StaleError, request
from bimacosr.models.storing import storing, write_small

__all__ = ["Progress", "discard_part", "fetch", "part_of"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there, and their total where it is known."""

_ATTEMPTS = 5
_PAUSE_S = 1.0
_BLOCK = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class _Version:
    """Which version of a file the bytes in NAME.part belong to."""

    address: str
    mark: str | None
    """A strong ETag or a Last-Modified date, as If-Range takes it; None: none was given."""

    total: int | None
    """Length of the whole file in bytes; None: not said."""


def fetch(address: str, target: Path, size: int | None, progress: Progress) -> Path:
    """Bring NAME.part of `target` to its full length.

    An attempt that failed is repeated after a pause, which doubles; as long as attempts bring new
    bytes, there is no end to them.

    Args:
        address: Of the file; redirects are followed.
        target: Where the file will lie in the end; its folder exists.
        size: Length that the file must have, in bytes, if that is known.
        progress: See `Progress`.

    Returns:
        The path of NAME.part: as long as the server and `size` say.

    Raises:
        ModelError: it cannot be fetched or stored; what has arrived is kept for the next time.
    """
    part = part_of(target)
    failures, furthest = 0, _length(part)
    while True:
        try:
            _attempt(address, target, size, progress)
            return part
        except BrokenError as error:
            reached = _length(part)
            failures = 1 if reached > furthest else failures + 1
            furthest = max(furthest, reached)
            if failures >= _ATTEMPTS:
                raise ModelError(
                    f"{address} could not be downloaded ({error}); run again to go on from byte "
                    f"{reached}"
                ) from error
            pause_s = _PAUSE_S * 2 ** (failures - 1)
            time.sleep(pause_s if error.pause_s is None else error.pause_s)


def part_of(target: Path) -> Path:
    """Where the bytes of `target` are gathered."""
    return target.with_name(f"{target.name}.part")


def discard_part(target: Path) -> None:
    """Forget what has arrived of `target`.

    Raises:
        ModelError: it cannot be removed.
    """
    part = part_of(target)
    with storing(part):
        part.unlink(missing_ok=True)
        _version_file(part).unlink(missing_ok=True)


def _attempt(address: str, target: Path, size: int | None, progress: Progress) -> None:
    """Make one request, and store what it brings."""
    part = part_of(target)
    version, have = _read_version(part, address), _length(part)
    if version is not None and have == version.total:
        return
    headers = {}
    if version is not None and version.mark is not None and have:
        headers = {"Range": f"bytes={have}-", "If-Range": version.mark}
    try:
        with request(address, headers) as response:
            offered = _offered(address, response, size)
            if response.status == 200:
                have = 0
            elif not _continues(response, offered, version, have):
                raise StaleError("the server sends another part or version than before")
            _store(response, part, offered, have, progress)
    except StaleError:
        discard_part(target)
        raise


def _offered(address: str, response: http.client.HTTPResponse, size: int | None) -> _Version:
    """Read which version a server sends, and refuse one of a wrong length."""
    headers = response.headers
    if response.status == 206:
        _, total = _content_range(response)
    elif response.length is not None:
        total = response.length
    else:
        total = size
        if total is None and not response.chunked:
            raise ModelError(
                f"{address} comes without its length, so that it could be cut short unseen; "
                "check BIMACOSR_MIRROR or the proxy"
            )
    if size is not None and total is not None and total != size:
        raise ModelError(f"{address} is another file: it has {total} bytes instead of {size}")
    if total == 0:
        raise ModelError(f"{address} is empty; check BIMACOSR_MIRROR or the proxy")
    tag = headers.get("ETag", "")
    mark = tag if tag.startswith('"') else headers.get("Last-Modified")
    return _Version(address=address, mark=mark, total=total)


def _content_range(response: http.client.HTTPResponse) -> tuple[int | None, int | None]:
    """Give the first byte and the length of the whole that a 206 answer names."""
    text = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", text.strip())
    if match is None:
        return None, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _continues(
    response: http.client.HTTPResponse, offered: _Version, version: _Version | None, have: int
) -> bool:
    """Whether a 206 answer goes on with the very bytes that are there."""
    first, _ = _content_range(response)
    if version is None or first != have or version.total not in (None, offered.total):
        return False
    # an answer to If-Range with a date may leave the date out
    return offered.mark is None or offered.mark == version.mark


def _store(
    response: http.client.HTTPResponse,
    part: Path,
    version: _Version,
    have: int,
    progress: Progress,
) -> None:
    with storing(part):
        _check_room(part, version.total, have)
        # an older version's bytes go before the new mark comes: they are never taken for its own
        with part.open("ab" if have else "wb") as file:
            if not have:
                write_small(_version_file(part), json.dumps(asdict(version)))
            _copy(response, file, version.total, have, progress)


def _copy(
    response: http.client.HTTPResponse,
    file: BinaryIO,
    total: int | None,
    have: int,
    progress: Progress,
) -> None:
    progress(have, total)
    while total is None or have < total:
        block = _block(response, _BLOCK if total is None else min(_BLOCK, total - have))
        if not block:
            break
        file.write(block)
        have += len(block)
        progress(have, total)
    if total is not None and have != total:
        raise BrokenError(f"it ends after {have} of {total} bytes")


def _block(response: http.client.HTTPResponse, most: int) -> bytes:
    """Wait for some bytes. Failures of the network are told from those of the disk here."""
    try:
        return response.read1(most)
    except (OSError, http.client.HTTPException) as error:
        raise BrokenError(f"the connection broke: {error!r}") from error


def _check_room(part: Path, total: int | None, have: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise ModelError(
            f"{part.parent} has room for {free:,} bytes, and {total - have:,} are needed: free "
            "some space, or set BIMACOSR_CACHE to a folder on another disk"
        )


def _read_version(part: Path, address: str) -> _Version | None:
    """Read whose bytes NAME.part holds; None: nobody's from `address`, so it is begun anew."""
    try:
        version = _Version(**json.loads(_version_file(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    kinds = isinstance(version.mark, str | None) and isinstance(version.total, int | None)
    return version if kinds and version.address == address else None


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _length(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0
