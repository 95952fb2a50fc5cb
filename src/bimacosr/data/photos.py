"""Clean pictures from the disk: which there are, and their pixels as training sees them.

Shapes: H height, W width (HWC, RGB, uint8).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bimacosr.config.picture import PictureLimits
from bimacosr.errors import ReadError
from bimacosr.io.color import convert_depth, to_rgb
from bimacosr.io.failures import reading, shown
from bimacosr.io.formats import is_picture_name
from bimacosr.io.picture import Picture, read_picture
from bimacosr.io.profiles import to_srgb

__all__ = ["Pixels", "find_pictures", "pictures_below", "read_photo"]

Pixels = npt.NDArray[np.uint8]

_TRAIN = "train"
_LIST = ".txt"


def find_pictures(sources: Iterable[Path]) -> list[Path]:
    """The pictures of a training set, each once, in the order of the sources and then of name.

    Args:
        sources: Folders, searched with all below them (of one that `bimacosr data prepare` made
            its `train/` alone), pictures, and text files with the path of a picture in each line,
            which is relative to the text file.

    Raises:
        ReadError: a source is not there or cannot be listed, or there is no picture in all of them.
    """
    named = list(sources)
    found = [path for source in named for path in _expand(source)]
    if not found:
        text = ", ".join(str(source) for source in named) or "the settings"
        raise ReadError(f"there is no picture in {shown(text)} (PNG, JPEG, WebP, TIFF, BMP)")
    return list({os.path.realpath(path): path for path in reversed(found)}.values())[::-1]


def pictures_below(folder: Path) -> Iterator[Path]:
    """The pictures of a folder and all below it, sorted; hidden ones are left out.

    Raises:
        ReadError: the folder, or one below it, cannot be listed.
    """

    def refused(error: OSError) -> None:
        with reading(Path(error.filename)):
            raise error

    for place, folders, names in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted(names) if is_picture_name(name))


def read_photo(path: Path, limits: PictureLimits) -> Pixels:
    """A picture as training sees it: upright, RGB, 8 bits, sRGB.

    Args:
        path: A PNG, JPEG, WebP, TIFF or BMP file.
        limits: How large it may be.

    Raises:
        ReadError: it is missing, damaged, or partly transparent.
        LimitError: it is larger than the limits allow.
    """
    picture = read_picture(path, limits)
    if picture.alpha is not None and int(picture.alpha.min()) != np.iinfo(picture.alpha.dtype).max:
        raise ReadError(f"{shown(path)} is partly transparent; training needs whole photographs")
    return _in_srgb(picture)


def _in_srgb(picture: Picture) -> Pixels:
    pixels = convert_depth(picture.pixels, np.uint8)
    convert = to_srgb(picture.metadata.icc, "L" if pixels.shape[2] == 1 else "RGB")
    if convert is None:
        return np.ascontiguousarray(to_rgb(pixels))
    grey = pixels.shape[2] == 1
    return np.array(convert(Image.fromarray(pixels[..., 0] if grey else pixels)))


def _expand(source: Path) -> Iterator[Path]:
    if source.is_dir():
        train = source / _TRAIN
        yield from pictures_below(train if train.is_dir() else source)
    elif source.suffix.lower() == _LIST:
        with reading(source):
            lines = source.read_text().splitlines()
        yield from (source.parent / line.strip() for line in lines if line.strip())
    elif source.exists():
        yield source
    else:
        raise ReadError(f"{shown(source)} does not exist; check the path")
