"""TIFF files: what their directories say, and the kinds that Pillow alone would not read right.

Pillow knows no grey with alpha in 16 bits, and opens camera raw files as their small preview.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from PIL.TiffImagePlugin import TiffImageFile

from bimacosr.io.exif_tags import ExifTags, collect_tags, resolution_of
from bimacosr.io.ifd import Entry, Layout, open_layout

__all__ = ["TiffFacts", "TiffFile"]

_NEW_SUBFILE_TYPE, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR = 254, 258, 262, 277, 284
_SUB_IFDS, _EXTRA_SAMPLES, _DNG_VERSION = 330, 338, 50706
_REDUCED, _MASK = 1, 4
_SEPARATE_PLANES = 2
_MAX_PAGES = 10_000


@dataclass(frozen=True, slots=True)
class TiffFacts:
    """What the directories of a TIFF file say."""

    tags: ExifTags
    """Those of the first page."""
    pages: int
    """Pictures in the file, without small versions of others and masks."""
    raw: bool
    """It is a camera raw file, and its first page a preview."""
    bits: int
    """Bits per channel; of several different ones, the first."""
    photometric: int
    """What a value means: 0 white is zero, 1 black is zero, 2 RGB, ..."""
    separate: bool
    """Each channel lies for itself, more than one of them."""
    extra: tuple[int, ...]
    """Kinds of the channels after the colours: 0 unknown, 1 premultiplied alpha, 2 alpha."""
    resolution: tuple[float, float] | None
    """Pixels per inch."""
    order: str
    """Byte order: "<" or ">"."""


def read_facts(file: BinaryIO) -> TiffFacts:
    """Walk the directories of an open TIFF file.

    Raises:
        ValueError: the first of them cannot be read.
    """

    def fetch(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    layout, first = open_layout(fetch)
    main, following = layout.read(fetch, first)
    kinds, seen = [_kind(layout, main)], {first}
    while following and following not in seen and len(seen) < _MAX_PAGES:
        seen.add(following)
        try:
            page, following = layout.read(fetch, following)
        except ValueError:
            break
        kinds.append(_kind(layout, page))
    raw = _DNG_VERSION in main or (bool(kinds[0] & _REDUCED) and _SUB_IFDS in main)
    samples = layout.number(main.get(_SAMPLES)) or 1
    return TiffFacts(
        tags=collect_tags(fetch, layout, main),
        pages=1 + sum(not kind & (_REDUCED | _MASK) for kind in kinds[1:]),
        raw=raw,
        bits=layout.number(main.get(_BITS)) or 1,
        photometric=layout.number(main.get(_PHOTOMETRIC)) or 0,
        separate=samples > 1 and layout.number(main.get(_PLANAR)) == _SEPARATE_PLANES,
        extra=layout.numbers(main.get(_EXTRA_SAMPLES)),
        resolution=resolution_of(layout, main),
        order=layout.order,
    )


def _kind(layout: Layout, main: dict[int, Entry]) -> int:
    return layout.number(main.get(_NEW_SUBFILE_TYPE)) or 0


class TiffFile(TiffImageFile):
    """Pillow's TIFF reader, with 16-bit grey and alpha shown to it as four 8-bit channels."""

    facts: TiffFacts

    def _open(self) -> None:
        assert self.fp is not None
        self.facts = read_facts(self.fp)  # type: ignore[arg-type]
        self.fp.seek(0)
        super()._open()

    @property
    def is_wide_grey_alpha(self) -> bool:
        """Whether the four 8-bit channels are truly grey and alpha of 16 bits."""
        facts = self.facts
        return facts.bits == 16 and facts.photometric == 1 and len(facts.extra) == 1

    def _setup(self) -> None:
        if not self.is_wide_grey_alpha:
            super()._setup()
            return
        disguise = {_BITS: (8, 8, 8, 8), _PHOTOMETRIC: 2, _SAMPLES: 4, _EXTRA_SAMPLES: (2,)}
        truth = {tag: self.tag_v2[tag] for tag in disguise}
        for tag, value in disguise.items():
            self.tag_v2[tag] = value
        super()._setup()
        for tag, value in truth.items():
            self.tag_v2[tag] = value
