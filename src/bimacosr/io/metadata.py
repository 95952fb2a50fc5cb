"""What a file says beside its pixels, kept true: ICC profile, EXIF, XMP and resolution."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import dataclass, replace

from PIL.ImageFile import ImageFile

from bimacosr.io.exif import clean_exif, exif_resolution, sized_exif
from bimacosr.io.exif_tags import block_of, descriptive
from bimacosr.io.tiff_reader import TiffFile

__all__ = ["Metadata", "read_metadata"]

_XMP_ORIENTATION = re.compile(
    rb"(tiff:Orientation\s*=\s*[\"']\s*|<tiff:Orientation>\s*)([1-8])(?=\s*[\"'<])"
)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is kept beside the pixels; an empty one is `Metadata()`."""

    icc: bytes | None = None
    """ICC profile of the colours; None means sRGB."""
    exif: bytes | None = None
    """The bare EXIF block ("II*..." or "MM.*..."), orientation 1, without a thumbnail."""
    xmp: bytes | None = None
    """XMP packet (UTF-8 XML), orientation 1."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch, across and down."""

    def for_size(self, width: int, height: int) -> Metadata:
        """Correct the size in pixels that the EXIF block may state."""
        return replace(self, exif=sized_exif(self.exif, width, height)) if self.exif else self

    def stripped(self) -> Metadata:
        """Keep the profile alone: without it the colours would change."""
        return Metadata(icc=self.icc)


def read_metadata(image: ImageFile, icc: bytes | None) -> tuple[Metadata, int]:
    """Collect what a loaded picture says.

    Args:
        image: As Pillow opened it, its pixels loaded: in a PNG, EXIF and XMP may follow them.
        icc: The profile of the pixels, which decoding may have changed.

    Returns:
        The metadata as of the upright picture, and the orientation (1 to 8) that the pixels
        have yet to be turned by.
    """
    xmp, xmp_orientation = _clean_xmp(image.info.get("xmp"))
    if isinstance(image, TiffFile):  # Pillow has turned its pixels already
        kept = descriptive(image.facts.tags)
        exif = clean_exif(block_of(kept))[0] if kept else None
        return Metadata(icc, exif, xmp, _sane(image.facts.resolution)), 1
    exif, orientation = clean_exif(_exif_of(image))
    stated = image.info.get("dpi")
    if image.format == "JPEG" and image.info.get("jfif_unit") not in (1, 2):
        stated = None  # Pillow says 72 where there is nothing
    dpi = _sane(stated) or (_sane(exif_resolution(exif)) if exif else None)
    return Metadata(icc, exif, xmp, dpi), orientation or xmp_orientation or 1


def _exif_of(image: ImageFile) -> bytes:
    found = image.info.get("exif")
    if not found and isinstance(image.info.get("Raw profile type exif"), str):
        # ImageMagick's way before PNG had a place for EXIF: a count, then lines of hex digits
        lines = image.info["Raw profile type exif"].split("\n")[3:]
        with contextlib.suppress(ValueError):
            found = bytes.fromhex("".join(lines))
    return found.removeprefix(b"Exif\0\0") if isinstance(found, bytes) else b""


def _clean_xmp(packet: object) -> tuple[bytes | None, int | None]:
    """Set the orientation in an XMP packet to 1.

    Returns:
        The packet, and the orientation that it stated.
    """
    if isinstance(packet, str):
        packet = packet.encode()
    if not isinstance(packet, bytes) or not packet:
        return None, None
    found = _XMP_ORIENTATION.search(packet)
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet), int(found[2]) if found else None


def _sane(dpi: object) -> tuple[float, float] | None:
    """Give a resolution as two floats, whole where PNG's pixels per metre made them not quite so.

    Returns:
        None where it is none, or none that a printer knows.
    """
    try:
        across, down = (float(value) for value in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (math.isfinite(across) and math.isfinite(down) and min(across, down) > 0):
        return None
    across, down = (
        float(round(value)) if abs(value - round(value)) < 0.013 else value
        for value in (across, down)
    )
    return (across, down) if min(across, down) > 0 else None
