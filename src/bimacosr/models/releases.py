"""The public release files of ResShift and SinSR: whence, where they lie, on what terms.

None of them ships in the package: their licences forbid commercial use. `download` fetches them on
request into a folder of the user's, the cache.

    BIMACOSR_CACHE    the cache folder; without it, where the system keeps caches
    BIMACOSR_MIRROR   http(s) address of a folder with the same files, taken instead of GitHub
    BIMACOSR_OFFLINE  1: nothing is fetched
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bimacosr.errors import ModelError, OptionError

__all__ = [
    "RELEASES",
    "VQ_F4",
    "License",
    "Release",
    "find_release",
    "is_offline",
    "release_named",
    "releases_folder",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class License:
    """The terms under which others published their weights."""

    name: str
    """As its authors call it."""

    terms: str
    """What it asks of the user, in one line."""

    address: str
    """Where its whole text can be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One published file. What is unknown about it is recorded when it is first downloaded."""

    file: str
    """Its name, on the server and in the cache."""

    folder: str
    """Address of the folder that holds it, without a slash at the end."""

    summary: str
    """One line for `bimacosr weights list`."""

    license: License
    """What the user agrees to before it is downloaded."""

    size: int | None = None
    """Bytes; None: unknown."""

    sha256: str | None = None
    """64 hexadecimal digits in lower case; None: unknown."""

    @property
    def name(self) -> str:
        """What the user calls it."""
        return self.file.removesuffix(".pth")

    @property
    def path(self) -> Path:
        """Its place in the cache, whether it is there or not."""
        return releases_folder() / self.file

    @property
    def address(self) -> str:
        """Where it is fetched from: `BIMACOSR_MIRROR` if that is set, else its own folder.

        Raises:
            OptionError: `BIMACOSR_MIRROR` is no http or https address.
        """
        return f"{_mirror() or self.folder}/{self.file}"


# the licence file that ResShift's README names is CodeFormer's
_S_LAB = License(
    name="S-Lab License 1.0",
    terms="use and redistribution for non-commercial purposes only, with the copyright notice",
    address="https://github.com/sczhou/CodeFormer/blob/master/LICENSE",
)
_CC_BY_NC_SA = License(
    name="CC BY-NC-SA 4.0",
    terms="non-commercial use only; name the authors; pass on what you make of it on these terms",
    address="https://creativecommons.org/licenses/by-nc-sa/4.0/",
)
_RESSHIFT = "https://github.com/zsyOAOA/ResShift/releases/download/v2.0"
_SINSR = "https://github.com/wyf0912/SinSR/releases/download/v1.0"

VQ_F4 = "autoencoder_vq_f4"
"""The autoencoder of every published network: what is taken when nobody names one."""

RELEASES = {
    release.name: release
    for release in (
        Release(
            file="resshift_realsrx4_s15_v1.pth",
            folder=_RESSHIFT,
            summary="ResShift: float network for photographs, 4x, 15 steps",
            license=_S_LAB,
        ),
        Release(
            file=f"{VQ_F4}.pth",
            folder=_RESSHIFT,
            summary="VQ-f4: the autoencoder that every latent network here needs",
            license=_S_LAB,
            size=221_364_711,
            sha256="e967eaa2c380152811c53e312990d6967a8a957c4f7590f19490ec72110b2889",
        ),
        Release(
            file="SinSR_v1.pth",
            folder=_SINSR,
            summary="SinSR: float network for photographs, 4x, one step",
            license=_CC_BY_NC_SA,
        ),
    )
}


def release_named(name: str) -> Release:
    """The release that the user calls `name`: with or without `.pth`, in any case.

    Raises:
        ModelError: there is none.
    """
    for release in RELEASES.values():
        if name.casefold() in (release.name.casefold(), release.file.casefold()):
            return release
    raise ModelError(f"there is no release {name!r}: give one of {', '.join(RELEASES)}")


def find_release(name_or_path: str | Path) -> Path:
    """Path of a weight file: the name of a release that lies in the cache, or any file.

    A path object, and a text with a folder in it, is always a file's path. Nothing is read but
    the size of a release, where that is known: `bimacosr weights verify` reads it all.

    Raises:
        ModelError: there is no such file, or the release is not downloaded or cut short.
    """
    name = str(name_or_path)
    path = Path(name)
    try:
        if name not in RELEASES and path.is_file():
            return path
    except (OSError, ValueError) as error:
        raise ModelError(f"the weights {name!r} cannot be read: {error}") from error
    if isinstance(name_or_path, Path) or path.name != name:
        raise ModelError(f"the weights {name} do not exist; check the path")
    try:
        release = release_named(name)
    except ModelError as error:
        raise ModelError(
            f"there are no weights {name!r}: give a file, or one of {', '.join(RELEASES)}"
        ) from error
    return _in_cache(release)


def releases_folder() -> Path:
    """The folder of the downloaded files: `weights` in the cache. It may not exist yet.

    Raises:
        ModelError: the system names no home folder, and `BIMACOSR_CACHE` is not set.
    """
    try:
        return _cache_folder() / "weights"
    except RuntimeError as error:
        raise ModelError(
            "this system names no home folder for you; set BIMACOSR_CACHE to a folder for the "
            "downloaded weights"
        ) from error


def is_offline() -> bool:
    """Whether `BIMACOSR_OFFLINE` forbids to fetch anything."""
    value = os.environ.get("BIMACOSR_OFFLINE", "").strip().lower()
    return value not in ("", "0", "no", "off", "false")


def _in_cache(release: Release) -> Path:
    path = release.path
    fetch = f"run: bimacosr weights download {release.name}"
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(
            f"{release.name} is not downloaded; {fetch} (or put {release.file} into {path.parent})"
        ) from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if release.size is not None and size != release.size:
        raise ModelError(
            f"{path} is damaged: it has {size} bytes instead of {release.size}; {fetch}"
        )
    return path


def _cache_folder() -> Path:
    chosen = os.environ.get("BIMACOSR_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "bimacosr"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "bimacosr"
    # the XDG base directory specification has relative values ignored
    shared = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(shared) if Path(shared).is_absolute() else Path.home() / ".cache") / "bimacosr"


def _mirror() -> str | None:
    """`BIMACOSR_MIRROR` without a slash at its end, or None."""
    mirror = os.environ.get("BIMACOSR_MIRROR", "").strip().rstrip("/")
    if not mirror:
        return None
    try:
        parts = urlsplit(mirror)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, an unfinished [
        sound = False
    if not sound or "@" in mirror or "?" in mirror or "#" in mirror or not mirror.isprintable():
        raise OptionError(
            "BIMACOSR_MIRROR must be the http or https address of a folder, such as "
            "https://example.org/weights, without a password"
        )
    return mirror
