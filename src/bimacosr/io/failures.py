"""System and decoder failures turned into one sentence that names the file and the way out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bimacosr.errors import BimacosrError, ReadError, WriteError

__all__ = ["KindError", "decoding", "reading", "shown", "writing"]

_READ_REASONS = {
    errno.ENOENT: "does not exist; check the path",
    errno.ENOTDIR: "does not exist; check the path",
    errno.ENAMETOOLONG: "has too long a name for this system; shorten it",
    errno.EISDIR: "is a folder, not a picture; give the files inside it",
    errno.EACCES: "may not be read by you; change its permissions or copy it",
    errno.EPERM: "may not be read by you; change its permissions or copy it",
    errno.ELOOP: "is a link that leads to itself; give the file itself",
}

_WRITE_REASONS = {
    errno.ENOSPC: "the disk is full while writing {}: free some space and run again with "
    "--skip-existing",
    errno.EROFS: "{} lies on a read-only file system; choose another output folder",
    errno.EACCES: "{} may not be written by you; change the folder's permissions or choose "
    "another one",
    errno.EFBIG: "{} is larger than this disk's file system (or a limit set for you) allows; "
    "choose another disk or a format that takes less room, such as JPEG",
    errno.ENAMETOOLONG: "{} has too long a name for this system; shorten it",
    errno.ENOTDIR: "{} cannot be written: a part of its path is a file, not a folder; choose "
    "another output folder",
    errno.EISDIR: "{} is a folder; give the name of a file",
}
_WRITE_REASONS[errno.EPERM] = _WRITE_REASONS[errno.EACCES]
_WRITE_REASONS[errno.EEXIST] = _WRITE_REASONS[errno.ENOTDIR]
_WRITE_REASONS[getattr(errno, "EDQUOT", errno.ENOSPC)] = _WRITE_REASONS[errno.ENOSPC]


class KindError(ValueError):
    """A file is sound, but of a kind that is not read: its text says what, and the way out.

    It never leaves the room: `decoding` makes a `ReadError` of it.
    """


def shown(path: str | Path) -> str:
    """Give a path, or a line with one, as text safe to print: what a terminal obeys becomes '?'."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(path))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the file system refuses while `path` is read into a `ReadError`.

    Raises:
        ReadError: "photo.png does not exist; check the path"
    """
    try:
        yield
    except BimacosrError:
        raise
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else errno.ENOENT
        reason = _READ_REASONS.get(number or 0, f"cannot be read ({_said(error)}); try a copy")
        raise ReadError(f"{shown(path)} {reason}") from error


@contextmanager
def decoding(path: Path, format_name: str) -> Iterator[None]:
    """Turn anything that Pillow raises while it decodes `path` into a `ReadError`.

    Every exception is taken for a fault of the file, so nothing else belongs inside.

    Raises:
        ReadError: the file is cut short, damaged, of a rare kind, or too much for the memory.
    """
    try:
        yield
    except BimacosrError:
        raise
    except KindError as error:
        raise ReadError(f"{shown(path)} {error}") from error
    except MemoryError as error:
        raise ReadError(
            f"{shown(path)} needs more memory than is free; close other programs or give a "
            "smaller picture"
        ) from error
    except Exception as error:
        raise ReadError(f"{shown(path)} {_damage(error, format_name)}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into a `WriteError`.

    Raises:
        WriteError: "the disk is full while writing x.png: free some space and run again ..."
    """
    try:
        yield
    except BimacosrError:
        raise
    except MemoryError as error:
        raise WriteError(
            f"there is not enough memory to write {shown(path)}; choose PNG or TIFF, which are "
            "written row by row"
        ) from error
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        reason = _WRITE_REASONS.get(number or 0)
        if reason is None:
            reason = "{} cannot be written (" + _braces_doubled(_said(error)) + "); try another "
            reason += "folder or format"
        raise WriteError(reason.format(shown(path))) from error


def _damage(error: Exception, format_name: str) -> str:
    said = _said(error)
    if "truncated" in said.lower():
        return f"is cut short: the end of the {format_name} data is missing, so get the file again"
    if "too large for PngImagePlugin" in said or "Too much memory used in text" in said:
        return "holds a text or profile block that is unsafely large; save it without metadata"
    return (
        f"cannot be read as {format_name} ({said}): it is damaged or of a rare kind, so get it "
        "again or save it as PNG with a picture editor"
    )


def _said(error: BaseException) -> str:
    """Give the reason in an exception in one line, without the path that the sentence has."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = " ".join(text.split())
    if not any(letter.isalpha() for letter in line):  # the number of a tag that is missing
        line = "its structure is broken"
    return "".join(letter for letter in line if letter.isprintable())[:200].rstrip(".")


def _braces_doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
