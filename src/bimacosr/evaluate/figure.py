"""The figure of a paper: the original with a framed region, and that region by every method.

All lengths are inches. Text is text in a PDF, and crops are the pictures' own pixels, enlarged by
repeating them: nothing smooths what is to be judged.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bimacosr.config.evaluate import FigureSettings
from bimacosr.errors import BackendError, OptionError
from bimacosr.evaluate.exhibit import Exhibit
from bimacosr.evaluate.pictures import Picture
from bimacosr.evaluate.region import Region, crop
from bimacosr.io.atomic import atomic_file
from bimacosr.metrics.metric import ARROWS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_figure", "draw"]

_ENDINGS = (".png", ".pdf")
_MARGIN, _GAP, _GUTTER, _LEADING = 0.04, 0.06, 0.12, 0.15
_LEAST_WIDTH = 0.4  # of a crop, of which less is seen than of its name
_FRAME = "#e01b24"
_STYLE: Any = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],  # one like a paper's, one with most letters
    "font.size": 9.0,
    "pdf.fonttype": 42,  # whole TrueType fonts, as conferences ask for
}


@dataclass(frozen=True, slots=True)
class _Block:
    """Where the parts of one exhibit go."""

    exhibit: Exhibit
    rows: int
    columns: int
    cell: tuple[float, float]
    """Width and height of a crop."""
    band: float
    """Height of the text below it."""

    @property
    def height(self) -> float:
        return self.rows * (self.cell[1] + self.band) + (self.rows - 1) * _GAP

    @property
    def picture(self) -> tuple[float, float]:
        """Width and height of the whole picture: its foot is level with the last crops'."""
        height = self.height - self.band
        return height * _aspect(self.exhibit.original), height


def check_figure(path: Path) -> None:
    """Say before the work what would fail after it.

    Raises:
        OptionError: the ending is not one that can be drawn.
        BackendError: matplotlib is not installed.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise OptionError(f"{path} cannot be drawn; name a file of {' or '.join(_ENDINGS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BackendError("a figure needs matplotlib: pip install 'bimacosr[figures]'") from error


def draw(exhibits: Sequence[Exhibit], path: Path, settings: FigureSettings) -> None:
    """Draw exhibits below one another into a .png or .pdf file.

    Raises:
        OptionError: so many methods leave no room for crops.
        WriteError: the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    blocks = [_block(item, settings) for item in exhibits]
    height = sum(block.height for block in blocks) + _GUTTER * (len(blocks) - 1) + 2 * _MARGIN
    vector = path.suffix.lower() == ".pdf"
    with rc_context(_STYLE):
        figure = Figure(figsize=(settings.width_in, height))
        top = height - _MARGIN
        for block in blocks:
            _draw_block(figure, block, top, smooth=not vector)
            top -= block.height + _GUTTER
        file = io.BytesIO()
        if vector:
            figure.savefig(file, format="pdf", metadata={"CreationDate": None})
        else:
            figure.savefig(file, format="png", dpi=settings.dpi)
    with atomic_file(path) as target:
        target.write(file.getvalue())


def _block(item: Exhibit, settings: FigureSettings) -> _Block:
    """The largest crops that fit beside the picture in the width of the figure."""
    cells = len(item.results) + 1
    rows = min(settings.rows, cells)
    columns = math.ceil(cells / rows)
    band = _LEADING * (1 + bool(item.metrics)) + 0.04
    around, between = _aspect(item.original), item.region.width / item.region.height
    fixed = 2 * _MARGIN + _GUTTER + (columns - 1) * _GAP
    fixed += (rows - 1) * (band + _GAP) * around
    width = (settings.width_in - fixed) / (rows * around / between + columns)
    if width < _LEAST_WIDTH:
        raise OptionError(
            f"{cells} crops leave no room in {settings.width_in:g} inches; take more --rows or "
            "a larger --width"
        )
    return _Block(item, rows, columns, (width, width / between), band)


def _draw_block(figure: Figure, block: _Block, top: float, *, smooth: bool) -> None:
    item = block.exhibit
    width, height = block.picture
    axes = _show(figure, item.original, (_MARGIN, top - height, width, height), smooth)
    _frame(axes, item.region)
    _write(figure, (_MARGIN + width / 2, top - height), [(item.name, False)])
    heads = [(f"{m.title} {ARROWS[m.higher_is_better]}", False) for m in item.metrics.values()]
    cells: list[tuple[str, Picture, list[tuple[str, bool]]]] = [("Original", item.original, heads)]
    scores = item.score_lines()
    cells += [(method, picture, scores[method]) for method, picture in item.results.items()]
    left = _MARGIN + width + _GUTTER
    for i, (title, picture, line) in enumerate(cells):
        row, column = divmod(i, block.columns)
        x = left + column * (block.cell[0] + _GAP)
        y = top - row * (block.cell[1] + block.band + _GAP) - block.cell[1]
        axes = _show(figure, crop(picture, item.region), (x, y, *block.cell), smooth)
        if picture is item.original:
            _frame(axes, Region(0, 0, *item.region[2:]))
        _write(figure, (x + block.cell[0] / 2, y), [(title, False)], line)


def _show(
    figure: Figure, picture: Picture, box: tuple[float, float, float, float], smooth: bool
) -> Any:
    """A picture without axes in a box of left, bottom, width, height."""
    width, height = figure.get_size_inches()
    left, bottom, across, up = box
    axes = figure.add_axes((left / width, bottom / height, across / width, up / height))
    axes.set_axis_off()
    factor = max(1, math.ceil(1200 / max(picture.shape)))
    large = np.repeat(np.repeat(picture, factor, 0), factor, 1)
    extent = (0, picture.shape[1], picture.shape[0], 0)
    axes.imshow(large, extent=extent, aspect="auto", interpolation="auto" if smooth else "none")
    return axes


def _frame(axes: Any, region: Region) -> None:
    """The region on a picture; white below red, so that it shows on any ground."""
    from matplotlib.patches import Rectangle

    x, y, width, height = region
    for colour, points in (("white", 3.0), (_FRAME, 1.6)):
        axes.add_patch(
            Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=points)
        )


def _write(figure: Figure, at: tuple[float, float], *lines: Sequence[tuple[str, bool]]) -> None:
    """Centred lines below a place; the parts of a line stand apart by " / ", some in bold."""
    from matplotlib.offsetbox import AnchoredOffsetbox, HPacker, TextArea, VPacker

    packed: list[Any] = []
    for line in lines:
        parts: list[Any] = []
        for i, (text, bold) in enumerate(line):
            weight = "bold" if bold else "normal"
            parts += [TextArea(" / ")] if i else []
            parts.append(TextArea(text, textprops={"weight": weight, "parse_math": False}))
        packed.append(HPacker(children=parts, pad=0, sep=0, align="baseline"))
    width, height = figure.get_size_inches()
    box = AnchoredOffsetbox(
        "upper center",
        child=VPacker(children=packed, pad=0, sep=1.5, align="center"),
        pad=0.15,
        borderpad=0,
        frameon=False,
        bbox_to_anchor=(at[0] / width, at[1] / height),
        bbox_transform=figure.transFigure,
    )
    figure.add_artist(box)


def _aspect(picture: Picture) -> float:
    height, width = map(int, picture.shape[:2])
    return width / height
