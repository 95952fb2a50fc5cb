"""Settings of the picture room: how large an input may be, and how results are written."""

from __future__ import annotations

from dataclasses import dataclass

from bimacosr.errors import OptionError

__all__ = ["OutputSettings", "PictureLimits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLimits:
    """What is compared with a file's header before anything of it is decoded."""

    max_pixels: int = 256_000_000
    """Width times height of an input, in pixels, at least 1; 256 Mpx unless told otherwise."""

    def __post_init__(self) -> None:
        """Refuse a limit that no picture could keep.

        Raises:
            OptionError: `max_pixels` is not a whole number of 1 or more.
        """
        if not _is_whole(self.max_pixels) or self.max_pixels < 1:
            raise OptionError(
                f"max_pixels is {self.max_pixels!r}; it must be a whole number of 1 or more"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """How a result is written."""

    format: str | None = None
    """Name of a format ("png", "jpeg", "webp", "tiff", "bmp"); None: by the file's extension."""

    quality: int = 95
    """1 to 100, for JPEG and WebP: JPEG keeps full colour resolution (4:4:4) from 90 on, and
    WebP is lossless at 100; the other formats are always lossless."""

    strip_metadata: bool = False
    """Leave out EXIF, XMP and DPI. The ICC profile stays even so: without it the numbers in the
    file would mean other colours."""

    def __post_init__(self) -> None:
        """Refuse a quality out of range; a format is looked up where it is used.

        Raises:
            OptionError: `quality` is not a whole number from 1 to 100, or `format` is empty.
        """
        if not _is_whole(self.quality) or not 1 <= self.quality <= 100:
            raise OptionError(
                f"quality is {self.quality!r}; it must be a whole number from 1 to 100"
            )
        if self.format is not None and not self.format:
            raise OptionError(
                "format is empty; give a name such as png, or none to go by extension"
            )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
