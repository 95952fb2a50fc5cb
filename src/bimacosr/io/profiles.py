"""ICC colour profiles: which to keep, and pixels moved from them to sRGB."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageCms

__all__ = ["profile_space", "srgb_profile", "to_srgb"]

_HEADER_BYTES = 128
_DATE = slice(24, 36)
_FIXED_DATE = bytes.fromhex("07E4 0001 0001 0000 0000 0000")


def profile_space(profile: object) -> str | None:
    """Tell the colour space a profile is for: "RGB", "GRAY", "CMYK", ...; None if it is none."""
    if not isinstance(profile, bytes) or len(profile) <= _HEADER_BYTES:
        return None
    if profile[36:40] != b"acsp":
        return None
    return profile[16:20].decode("latin-1").strip()


def srgb_profile() -> bytes:
    """Give the sRGB profile, the same bytes at every call: its date is not today's."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_DATE] = _FIXED_DATE
    return bytes(profile)


def to_srgb(profile: object, mode: str) -> Callable[[Image.Image], Image.Image] | None:
    """Prepare the way from a profile to 8-bit sRGB.

    Relative colorimetric with black point compensation, as photo editors convert.

    Args:
        profile: The profile that the pixels are in; for "LAB" none is needed.
        mode: Pillow's mode of the pixels: "L", "RGB", "CMYK" or "LAB".

    Returns:
        A function of pictures of that mode; None when the profile is missing, broken or for
        another space.
    """
    if mode != "LAB" and profile_space(profile) != {"L": "GRAY"}.get(mode, mode):
        return None
    held = profile if isinstance(profile, bytes) else b""
    try:
        source = (
            ImageCms.createProfile("LAB")
            if mode == "LAB"
            else ImageCms.ImageCmsProfile(io.BytesIO(held))
        )
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError):
        return None

    def converted(picture: Image.Image) -> Image.Image:
        result = ImageCms.applyTransform(picture, transform)
        assert result is not None  # only `inPlace` gives none
        return result

    return converted
