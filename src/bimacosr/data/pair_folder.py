"""Pairs as picture files: clean pictures to HR/ and LR/, by name.

    picture -> cut to multiples of the scale -> halves -> HR/NAME.png, LR/NAME.png, LR_2/NAME.png

A pair depends on the settings, the seed, the name and the number of the variant alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bimacosr.config.data import LowQualitySettings
from bimacosr.config.picture import PictureLimits
from bimacosr.data.draws import Draws, seed_for
from bimacosr.data.halves import make_halves
from bimacosr.data.manifest import check_settings
from bimacosr.data.photos import read_photo
from bimacosr.data.pixels import encode_png, to_pixels, to_tensor
from bimacosr.data.threads import compute_alone
from bimacosr.errors import OptionError, PictureError, ReadError, WriteError
from bimacosr.io.atomic import atomic_file
from bimacosr.io.failures import shown
from bimacosr.io.parallel import in_order

__all__ = ["PairWriter", "write_pairs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PairWriter:
    """Writes all variants of one picture, as far as they are not there."""

    folder: Path
    """Gets HR, LR, LR_2, ..."""

    settings: LowQualitySettings
    """How low-quality halves are made."""

    seed: int = 0
    """Decides their randomness, with the name."""

    variants: int = 1
    """Low-quality halves of each picture, at least 1."""

    limits: PictureLimits = field(default_factory=PictureLimits)
    """How large a picture may be."""

    def __post_init__(self) -> None:
        if self.variants < 1:
            raise OptionError(f"variants is {self.variants}; it must be at least 1")

    def write(self, source: Path, name: Path) -> bool:
        """Write the pairs of `source` as `name` (with .png); False if all were there.

        Raises:
            ReadError: the picture cannot be read, or is too small for the degradation.
            LimitError: it is larger than the limits allow.
            WriteError: a file cannot be written.
        """
        name = name.with_suffix(".png")
        halves = ["LR" if n == 0 else f"LR_{n + 1}" for n in range(self.variants)]
        missing = [n for n in range(self.variants) if not (self.folder / halves[n] / name).exists()]
        target = self.folder / "HR" / name
        if not missing and target.exists():
            return False
        k = self.settings.scale
        pixels = read_photo(source, self.limits)
        clean = to_tensor(pixels[: len(pixels) // k * k, : pixels.shape[1] // k * k])
        for n in missing or [0]:
            draws = Draws(seed_for("file", self.seed, name.as_posix(), n))
            try:
                lq, hq = make_halves(clean, self.settings, draws)
            except OptionError as error:
                raise ReadError(f"{shown(source)} cannot be degraded: {error}") from error
            if not target.exists():
                _save(target, encode_png(to_pixels(hq)))
            _save(self.folder / halves[n] / name, encode_png(to_pixels(lq)))
        return True


def write_pairs(
    pictures: Sequence[tuple[Path, Path]],
    writer: PairWriter,
    *,
    threads: int = 1,
    failed: Callable[[str], None] = lambda _: None,
    done: Callable[[Path], None] = lambda _: None,
) -> tuple[int, int]:
    """Write the pairs of some pictures; files that are there are kept.

    Args:
        pictures: Each with its path below HR and LR.
        writer: How and where.
        threads: Pictures worked on at once.
        failed: Told in one sentence of each picture that cannot be used.
        done: Told of each picture that has been dealt with.

    Returns:
        Pictures whose pairs were written, and pictures whose pairs were there.

    Raises:
        OptionError: the folder was made with other settings.
        WriteError: the disk is full or cannot be written; files that are there are whole.
    """
    check_settings(writer.folder, {"low_quality": asdict(writer.settings), "seed": writer.seed})

    def work(picture: tuple[Path, Path]) -> tuple[Path, bool, str]:
        source, name = picture
        try:
            return source, writer.write(source, name), ""
        except WriteError:
            raise  # it would meet all others as well
        except PictureError as error:
            return source, False, str(error)

    written = there = 0
    with closing(
        in_order(work, _distinct(pictures, failed), threads, initializer=compute_alone)
    ) as results:
        for source, new, trouble in results:
            if trouble:
                failed(trouble)
            else:
                written, there = written + new, there + (not new)
            done(source)
    return written, there


def _distinct(
    pictures: Sequence[tuple[Path, Path]], failed: Callable[[str], None]
) -> list[tuple[Path, Path]]:
    """Without those whose pairs would replace those of another picture."""
    taken: dict[Path, Path] = {}
    for source, name in pictures:
        target = name.with_suffix(".png")
        if target in taken:
            failed(
                f"the pairs of {shown(taken[target])} and {shown(source)} would both be "
                f"{shown(target)}; rename one of them"
            )
        else:
            taken[target] = source
    return [(source, name) for name, source in taken.items()]


def _save(path: Path, data: bytes) -> None:
    with atomic_file(path) as file:
        file.write(data)
