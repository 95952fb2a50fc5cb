"""Public release files into the cache: whole, checked, once.

NAME              the file: it appears when it is complete and its hash is what it should be
NAME.sha256       its hash; see `checksum`
NAME.part(.json)  what has arrived of it; see `transfer`
NAME.lock         held by the process that downloads it
"""

from __future__ import annotations

from pathlib import Path

from bimacosr.errors import ModelError
from bimacosr.models.checksum import State, check, expected_sha256, record, sha256_of
from bimacosr.models.lock import locked
from bimacosr.models.releases import Release, is_offline
from bimacosr.models.storing import storing, sync
from bimacosr.models.transfer import Progress, discard_part, fetch, part_of

__all__ = ["download"]


def download(release: Release, progress: Progress | None = None) -> Path:
    """Fetch a release into the cache, unless it is there and intact.

    A damaged file is replaced, by one with the hash that it should have. While another process
    downloads the same file, this one waits and takes what that one got.

    Args:
        release: A row of `releases.RELEASES`.
        progress: Called with the bytes that are there and their total (None while unknown).

    Returns:
        The path in the cache.

    Raises:
        ModelError: it cannot be fetched, checked or stored; the sentence says where to put it by
            hand.
        OptionError: `BIMACOSR_MIRROR` is no http or https address.
    """
    path = release.path
    if _is_there(release):
        return path
    address = release.address
    if is_offline():
        lack = "is damaged" if path.exists() else "is not in the cache"
        raise ModelError(
            f"{release.file} {lack}, and BIMACOSR_OFFLINE forbids to fetch it: put it at {path}, "
            f"from {address}"
        )
    report = progress or _silent
    with storing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, waiting=lambda: report(_arrived(path), release.size)):
        if not _is_there(release):
            try:
                part = fetch(address, path, release.size, report)
            except ModelError as error:
                raise ModelError(f"{error}; or put the file at {path} by hand") from error
            _accept(release, part)
    return path


def _is_there(release: Release) -> bool:
    """Whether the file needs no download. One put there by hand is trusted and recorded."""
    state = check(release)
    if state is State.UNRECORDED:
        record(release.path, sha256_of(release.path))
    return state in (State.INTACT, State.UNRECORDED)


def _accept(release: Release, part: Path) -> None:
    """Check what was fetched, and give it its name."""
    path = release.path
    expected = expected_sha256(release)
    with storing(path):
        found = sha256_of(part)
        if expected is not None and found != expected:
            discard_part(path)
            whence = "is published; try again, or check BIMACOSR_MIRROR"
            if release.sha256 is None:
                whence = (
                    "was recorded when it was first downloaded; if its authors changed it, delete "
                    f"{path}.sha256 and try again"
                )
            raise ModelError(
                f"{release.address} is not the file it should be: its SHA-256 is {found}, and "
                f"{expected} {whence}"
            )
        sync(part)
        record(path, found)
        part.replace(path)
    discard_part(path)


def _arrived(path: Path) -> int:
    part = part_of(path)
    return part.stat().st_size if part.exists() else 0


def _silent(done: int, total: int | None) -> None:
    pass
