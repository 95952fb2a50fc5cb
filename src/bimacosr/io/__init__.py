"""Pictures in and out: files, depth, colours, metadata; numpy and Pillow only."""

from __future__ import annotations

from bimacosr.io.color import (
    bleed_edges,
    convert_depth,
    from_float01,
    resize,
    to_float01,
    to_grey,
    to_rgb,
)
from bimacosr.io.formats import FORMATS, PictureFormat, format_for, is_picture_name
from bimacosr.io.metadata import Metadata
from bimacosr.io.picture import Picture, read_picture
from bimacosr.io.writer import write_picture

__all__ = [
    "FORMATS",
    "Metadata",
    "Picture",
    "PictureFormat",
    "bleed_edges",
    "convert_depth",
    "format_for",
    "from_float01",
    "is_picture_name",
    "read_picture",
    "resize",
    "to_float01",
    "to_grey",
    "to_rgb",
    "write_picture",
]
