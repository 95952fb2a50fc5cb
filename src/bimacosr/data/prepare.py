"""Photographs to a training set on disk.

    photo -> reduce -> crops -> without flat and blurry ones -> without copies
          -> train/NAME.png, or val/HR/NAME.png and val/LR/NAME.png -> a line of manifest.csv

Photos are worked on by threads, but judged and written in the order they were given: the result
does not depend on how many. A photo belongs to validation as a whole or not at all, by its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bimacosr.config.data import PrepareSettings
from bimacosr.config.picture import PictureLimits
from bimacosr.data.crops import Crop, crops_of, likeness
from bimacosr.data.draws import Draws, seed_for
from bimacosr.data.halves import make_halves
from bimacosr.data.manifest import Manifest, Row, check_settings
from bimacosr.data.photos import Pixels, read_photo
from bimacosr.data.pixels import encode_png, to_pixels, to_tensor
from bimacosr.data.threads import compute_alone
from bimacosr.errors import PictureError
from bimacosr.io.atomic import atomic_file
from bimacosr.io.color import resize
from bimacosr.io.failures import reading, shown
from bimacosr.io.parallel import in_order

__all__ = ["Summary", "prepare"]

_STEM_LETTERS = 40


@dataclass(slots=True)
class Summary:
    """What became of the photos."""

    train: int = 0
    """Crops written for training."""
    val: int = 0
    """Pairs written for validation."""
    flat: int = 0
    """Crops left out because they are flat."""
    blurry: int = 0
    """Crops left out because they are blurry."""
    copies: int = 0
    """Photos and crops left out because they look like an earlier one."""
    small: int = 0
    """Photos that hold no crop of that size."""
    there: int = 0
    """Photos that an earlier run had done."""
    failed: int = 0
    """Photos that could not be read."""


@dataclass(slots=True)
class _Looked:
    """A photo as a thread has left it."""

    path: Path
    photo: str = ""
    there: bool = False
    trouble: str = ""
    likeness: int = 0
    small: bool = False
    flat: int = 0
    blurry: int = 0
    crops: list[tuple[Row, list[tuple[str, bytes]]]] = field(default_factory=list)
    """For each crop its line and its files."""


def prepare(
    photos: Sequence[Path],
    folder: Path,
    settings: PrepareSettings,
    *,
    licence: str = "",
    limits: PictureLimits | None = None,
    threads: int = 1,
    failed: Callable[[str], None] = lambda _: None,
    done: Callable[[Path], None] = lambda _: None,
) -> Summary:
    """Cut photographs into the training set at `folder`; what is there is kept and added to.

    Args:
        photos: Files; the first of two that look alike is taken.
        folder: Gets train/, val/LR, val/HR, manifest.csv and settings.json.
        settings: Crops and thresholds; those of an earlier run into the same folder.
        licence: What the manifest says of these photos.
        limits: How large a photo may be.
        threads: Photos worked on at once.
        failed: Told in one sentence of each photo that cannot be used.
        done: Told of each photo that has been dealt with.

    Raises:
        OptionError: the folder was made with other settings.
        ReadError: its manifest is damaged.
        WriteError: the disk is full or cannot be written; all that is in the manifest is whole.
    """
    check_settings(folder, asdict(settings))
    manifest = Manifest(folder)
    known = {row.photo for row in manifest.rows}
    look = _Looker(settings, licence, known, limits or PictureLimits())
    judge = _Judge(manifest, settings.same_bits)
    summary = Summary()
    with closing(in_order(look, photos, threads, initializer=compute_alone)) as results:
        for looked in results:
            kept = judge.keep(looked, summary)
            for _, files in kept:
                for name, data in files:
                    with atomic_file(folder / name) as file:
                        file.write(data)
            if kept:
                manifest.append([row for row, _ in kept])
            summary.val += sum(len(files) > 1 for _, files in kept)
            summary.train += sum(len(files) == 1 for _, files in kept)
            if looked.trouble:
                failed(looked.trouble)
            done(looked.path)
    return summary


class _Looker:
    """What a thread does with a photo: everything that concerns it alone."""

    def __init__(
        self, settings: PrepareSettings, licence: str, known: set[str], limits: PictureLimits
    ) -> None:
        self._settings, self._licence = settings, licence
        self._known, self._limits = known, limits

    def __call__(self, path: Path) -> _Looked:
        looked = _Looked(path)
        try:
            looked.photo = _hash(path)
            if looked.photo in self._known:
                looked.there = True
                return looked
            pixels = _reduced(read_photo(path, self._limits), self._settings.reduce)
        except PictureError as error:
            looked.trouble = str(error)
            return looked
        looked.likeness = likeness(pixels)
        looked.small = min(pixels.shape[:2]) < self._settings.size_px
        crops, looked.flat, looked.blurry = crops_of(pixels, self._settings)
        share = seed_for("split", self._settings.seed, looked.photo) / 2**63
        val = share < self._settings.val_share
        if val and crops:
            crops = [max(crops, key=lambda crop: crop.sharpness)]
        looked.crops = [self._files(looked, crop, val) for crop in crops]
        return looked

    def _files(self, looked: _Looked, crop: Crop, val: bool) -> tuple[Row, list[tuple[str, bytes]]]:
        stem = shown(looked.path.stem).replace("?", "_")[:_STEM_LETTERS]
        name = f"{stem}_{looked.photo[:8]}_{crop.top}_{crop.left}.png"
        if val:
            hq, lq = self._pair(crop.pixels, name)
            files = [(f"val/HR/{name}", encode_png(hq)), (f"val/LR/{name}", encode_png(lq))]
        else:
            files = [(f"train/{name}", encode_png(crop.pixels))]
        row = Row(
            file=files[0][0],
            source=shown(looked.path),
            photo=looked.photo,
            top=crop.top,
            left=crop.left,
            size=self._settings.size_px,
            reduce=self._settings.reduce,
            sharpness=round(crop.sharpness, 4),
            flat_share=round(crop.flat_share, 4),
            likeness=f"{crop.likeness:032x}",
            photo_likeness=f"{looked.likeness:032x}",
            licence=shown(self._licence),
        )
        return row, files

    def _pair(self, clean: Pixels, name: str) -> tuple[Pixels, Pixels]:
        settings = self._settings
        draws = Draws(seed_for("val", settings.seed, name))
        lq, hq = make_halves(to_tensor(clean), settings.low_quality, draws)
        return to_pixels(hq), to_pixels(lq)


def _hash(path: Path) -> str:
    with reading(path):
        # what is no file, such as a pipe, is refused by the reader
        data = path.read_bytes() if path.is_file() else b""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def _reduced(pixels: Pixels, factor: float) -> Pixels:
    if factor == 1:
        return pixels
    height, width = (max(1, round(side / factor)) for side in pixels.shape[:2])
    return resize(pixels, (width, height))


class _Judge:
    """Which photos and crops are new, in the order they come."""

    def __init__(self, manifest: Manifest, same_bits: int) -> None:
        self._bits = same_bits
        self._photos = {row.photo: int(row.photo_likeness, 16) for row in manifest.rows}
        self._crops = [int(row.likeness, 16) for row in manifest.rows]

    def keep(self, looked: _Looked, summary: Summary) -> list[tuple[Row, list[tuple[str, bytes]]]]:
        """The crops of a photo that are to be written; the others are counted."""
        summary.failed += bool(looked.trouble)
        summary.there += looked.there
        if looked.trouble or looked.there:
            return []
        if self._alike(looked.likeness, self._photos.values()):
            summary.copies += 1
            return []
        self._photos[looked.photo] = looked.likeness
        summary.small += looked.small
        summary.flat += looked.flat
        summary.blurry += looked.blurry
        kept = []
        for row, files in looked.crops:
            shows = int(row.likeness, 16)
            if self._alike(shows, self._crops):
                summary.copies += 1
                continue
            self._crops.append(shows)
            kept.append((row, files))
        return kept

    def _alike(self, shows: int, others: Iterable[int]) -> bool:
        return any((shows ^ other).bit_count() <= self._bits for other in others)
