"""A picture file in: recognised, measured against the limits, decoded in full depth, upright."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL.ImageFile import ImageFile

from bimacosr.config.picture import PictureLimits
from bimacosr.errors import LimitError, PictureError, ReadError
from bimacosr.io.decode import decoded, upright
from bimacosr.io.failures import KindError, decoding, reading, shown
from bimacosr.io.formats import PictureFormat
from bimacosr.io.integrity import check_jpeg_end, check_png_data
from bimacosr.io.metadata import Metadata, read_metadata
from bimacosr.io.quiet import quiet_pillow
from bimacosr.io.recognise import HEAD_BYTES, recognise
from bimacosr.io.tiff_reader import TiffFile

__all__ = ["Picture", "read_picture"]


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels with what belongs to them."""

    pixels: np.ndarray
    """Height x width x 3 (RGB) or x 1 (grey), uint8 or uint16, full range, C-contiguous."""
    alpha: np.ndarray | None = None
    """Height x width, of the same type: 0 is transparent; None is opaque everywhere."""
    metadata: Metadata = field(default_factory=Metadata)
    """ICC profile, EXIF, XMP and resolution."""
    format: str = "PNG"
    """Name of the format that the file was in."""

    def __post_init__(self) -> None:
        """Refuse arrays that are no picture.

        Raises:
            PictureError: "pixels are 4x4x2 of int32; they must be ..."
        """
        shape, kind = self.pixels.shape, self.pixels.dtype
        if len(shape) != 3 or shape[2] not in (1, 3) or kind not in (np.uint8, np.uint16):
            raise PictureError(
                f"pixels are {'x'.join(map(str, shape))} of {kind}; they must be height x width "
                "x 1 or 3 of uint8 or uint16"
            )
        if 0 in shape:
            raise PictureError(f"pixels are {shape[1]}x{shape[0]}; both sides must be 1 or more")
        if self.alpha is not None and (self.alpha.shape, self.alpha.dtype) != (shape[:2], kind):
            raise PictureError(
                f"alpha is {'x'.join(map(str, self.alpha.shape))} of {self.alpha.dtype}; it must "
                f"be {shape[0]}x{shape[1]} of {kind} like the pixels"
            )


def read_picture(path: str | Path, limits: PictureLimits) -> Picture:
    """Read a picture file.

    Palettes become RGB, CMYK and LAB become sRGB by the profile in the file, grey stays grey,
    and 16 bits stay 16 bits (but for CMYK, which is converted in 8).

    Args:
        path: A PNG, JPEG, WebP, TIFF or BMP file; its content decides, not its name.
        limits: Compared with the file's header before anything is decoded.

    Raises:
        ReadError: there is no such file, it is damaged, or no picture that can be read.
        LimitError: it has more pixels than the limits allow.
    """
    path = Path(path)
    with _opened(path) as file, quiet_pillow():
        with reading(path):
            head = file.read(HEAD_BYTES)
        form = recognise(head, path)
        if form.header_size and (size := form.header_size(head)):
            _check_size(path, size, limits)
        with decoding(path, form.name):
            image = _header(form, file)
            _check_size(path, image.size, limits)
            _check_single(image)
            if form.name == "PNG":
                check_png_data(file)
            elif form.name == "JPEG":
                check_jpeg_end(file)
            rows, icc = decoded(image, lambda: _header(form, file))
            metadata, orientation = read_metadata(image, icc)
            pixels, alpha = upright(rows, image.size, orientation)
    return Picture(pixels, alpha, metadata, form.name)


def _opened(path: Path) -> BinaryIO:
    with reading(path):
        if path.exists() and not path.is_file():
            kind = "is a folder" if path.is_dir() else "is not a file but a device or pipe"
            raise ReadError(f"{shown(path)} {kind}; give a picture file")
        return path.open("rb")


def _header(form: PictureFormat, file: BinaryIO) -> ImageFile:
    file.seek(0)
    return form.opener(file)


def _check_size(path: Path, size: tuple[int, int], limits: PictureLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise LimitError(
            f"{shown(path)} is {width}x{height} px ({width * height / 1e6:.4g} Mpx) and the limit "
            f"is {limits.max_pixels / 1e6:.4g} Mpx; raise it with --max-pixels"
        )


def _check_single(image: ImageFile) -> None:
    """Refuse several pictures in one file, of which one would be taken in silence."""
    if isinstance(image, TiffFile):
        if image.facts.raw:
            raise KindError("is a camera raw file (DNG or alike); convert it to PNG or JPEG first")
        if image.facts.pages > 1:
            raise KindError(
                f"has {image.facts.pages} pages; extract the one you want as a file of its own"
            )
    elif (frames := getattr(image, "n_frames", 1)) > 1:
        raise KindError(f"is animated ({frames} frames); extract the one you want as a PNG first")
