"""A contact sheet: pictures at their own size, the versions of each side by side."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw

from bimacosr.evaluate.pictures import Picture

__all__ = ["contact_sheet"]

_BAR_PX = 14  # a line of Pillow's own small letters


def contact_sheet(rows: Mapping[str, Mapping[str, Picture]]) -> Image.Image:
    """A row for each picture, with a caption above each version; one row at least."""
    heights = [max(p.shape[0] for p in row.values()) + _BAR_PX for row in rows.values()]
    widths = [sum(p.shape[1] for p in row.values()) for row in rows.values()]
    sheet = Image.new("RGB", (max(widths), sum(heights)))
    draw, top = ImageDraw.Draw(sheet), 0
    for (name, row), height in zip(rows.items(), heights, strict=True):
        left = 0
        for method, picture in row.items():
            draw.text((left + 2, top + 1), f"{method}  {name}", fill="white")
            sheet.paste(Image.fromarray(picture), (left, top + _BAR_PX))
            left += picture.shape[1]
        top += height
    return sheet
