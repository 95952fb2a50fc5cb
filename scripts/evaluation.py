"""How `evaluate_model.py` pairs, measures and averages pictures, and shows what it found.

Shapes: pictures are HxWx3 RGB uint8; rows of figures are dicts of floats by the keys of `COLUMNS`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

from bimacosr.errors import OptionError
from bimacosr.metrics.grid import PicturePeaks, picture_peaks, summarize
from bimacosr.metrics.registry import METRICS, Score

Picture = NDArray[np.uint8]  # HxWx3 RGB
Case = dict[str, Picture]  # "lr", "hr", "sr": what there is of one picture
Enlarge = Callable[[Case], Picture]

SCALE = 4
BICUBIC = "bicubic"
ORIGINAL = "original"
KINDS = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
RGB = ("R", "G", "B")
COLUMNS = {  # key of a summary: head, format; a column without values is left out
    "psnr_y": ("PSNR-Y", ".2f"),
    "psnr_y_gain": ("+dB", "+.2f"),
    "ssim_y": ("SSIM-Y", ".4f"),
    "lpips_alex": ("LPIPS-alex", ".4f"),
    "lpips_alex_change": ("%", "+.1f"),
    "lpips_squeeze": ("LPIPS-squeeze", ".4f"),
    "lpips_squeeze_change": ("%", "+.1f"),
    "niqe": ("NIQE", ".2f"),
    "niqe_gray": ("NIQE-gray", ".2f"),
    "lines": ("lines", ".1f"),
    "lattice": ("lattice", ".1f"),
    "colour_lattice": ("colour lattice", ".1f"),
    **{f"shift_{c}": (f"shift {c}", "+.2f") for c in RGB},
    **{f"mean_{c}": (f"mean {c}", ".1f") for c in RGB},
    "seconds": ("s/picture", ".2f"),
}


@dataclass(slots=True)
class Tally:
    """What was measured of one method on one set."""

    pictures: dict[str, dict[str, float]] = field(default_factory=dict)
    peaks: list[PicturePeaks] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """The means over the pictures, and the grid peaks of the set."""
        summary = average(self.pictures.values())
        if self.peaks:
            grid = summarize(self.peaks)
            summary |= {k: getattr(grid, k) for k in ("lines", "lattice", "colour_lattice")}
        return summary


def pair_files(folders: dict[str, Path], limit: int | None = None) -> dict[str, dict[str, Path]]:
    """Find the files of one stem in `folders` (role to folder): stem to role to file.

    Stems that a folder lacks are reported to stderr and left out; `limit` keeps the first ones.

    Raises:
        OptionError: Two files of a folder share a stem, or no stem is in every folder.
    """
    files: dict[str, dict[str, Path]] = {}
    for role, folder in folders.items():
        if not folder.is_dir():
            raise OptionError(f"{folder} is not a folder of pictures")
        for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in KINDS):
            if role in files.setdefault(path.stem, {}):
                raise OptionError(f"{folder} has two pictures called {path.stem}")
            files[path.stem][role] = path
    for role, folder in folders.items():
        if missing := [stem for stem in sorted(files) if role not in files[stem]]:
            print(f"{folder} lacks {len(missing)}: {', '.join(missing[:5])}", file=sys.stderr)
    whole = [stem for stem in sorted(files) if len(files[stem]) == len(folders)]
    if not whole:
        raise OptionError(f"no picture is in all of {', '.join(map(str, folders.values()))}")
    return {stem: files[stem] for stem in whole[:limit]}


def average(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    """The mean of each key over the rows where it is a number; nan where it never is."""
    columns: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            columns.setdefault(key, []).extend([] if math.isnan(value) else [value])
    return {k: sum(v) / len(v) if v else math.nan for k, v in columns.items()}


def compare(summary: dict[str, float], bicubic: dict[str, float]) -> dict[str, float]:
    """The differences to bicubic: PSNR in dB, LPIPS in %; none without a bicubic row."""
    gains = {}
    if "psnr_y" in summary and "psnr_y" in bicubic:
        gains["psnr_y_gain"] = summary["psnr_y"] - bicubic["psnr_y"]
    for key in ("lpips_alex", "lpips_squeeze"):
        if key in summary and bicubic.get(key):
            gains[f"{key}_change"] = 100 * (summary[key] / bicubic[key] - 1)
    return gains


def read(path: Path) -> Picture:
    """Decode a file to RGB, upright."""
    with Image.open(path) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def enlarge_bicubic(lq: Picture) -> Picture:
    """Pillow's bicubic x4."""
    height, width = lq.shape[:2]
    size = (width * SCALE, height * SCALE)
    return np.asarray(Image.fromarray(lq).resize(size, Image.Resampling.BICUBIC))


def measure(
    sr: Picture, case: Case, bicubic: Picture | None, scores: dict[str, Score]
) -> dict[str, float]:
    """All figures of one result; those that compare are left out without the other picture."""
    batches = {
        name: torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
        for name, picture in (("sr", sr), ("hr", case.get("hr")))
        if picture is not None
    }
    values = {}
    with torch.no_grad():
        for name, score in scores.items():
            if "hr" in case or not METRICS[name].needs_reference:
                values[name] = float(score(batches["sr"], batches.get("hr")))
    means = sr.mean((0, 1))
    if "hr" not in case:
        values |= {f"mean_{c}": float(m) for c, m in zip(RGB, means, strict=True)}
    if bicubic is not None:
        shift = means - bicubic.mean((0, 1))
        values |= {f"shift_{c}": float(s) for c, s in zip(RGB, shift, strict=True)}
    return values


def evaluate_set(
    files: dict[str, dict[str, Path]],
    methods: dict[str, Enlarge],
    scores: dict[str, Score],
    show: Callable[[str, str, Picture], None],
) -> dict[str, Tally]:
    """Run every method on every picture; `show` is told method, stem, result; `ORIGINAL` last."""
    tallies = {method: Tally() for method in methods}
    for stem, paths in files.items():
        case = {role: read(path) for role, path in paths.items()}
        bicubic = enlarge_bicubic(case["lr"]) if "lr" in case else None
        for method, enlarge in methods.items():
            start = time.perf_counter()
            sr = enlarge(case)
            seconds = time.perf_counter() - start
            for name, other in (("its original", case.get("hr")), ("bicubic x4", bicubic)):
                if other is not None and other.shape != sr.shape:
                    raise OptionError(f"{stem} by {method}: {sr.shape}, {name}: {other.shape}")
            base = None if method == BICUBIC else bicubic
            values = measure(sr, case, base, scores)
            tallies[method].pictures[stem] = values | {"seconds": seconds}
            if min(sr.shape[:2]) >= 64:
                tallies[method].peaks.append(picture_peaks(sr))
            show(method, stem, sr)
        if "hr" in case:
            show(ORIGINAL, stem, case["hr"])
    return tallies


def markdown(results: dict[str, dict[str, Tally]]) -> str:
    """One table of all sets and methods."""
    rows = []
    for name, tallies in results.items():
        summaries = {method: tally.summary() for method, tally in tallies.items()}
        for method, summary in summaries.items():
            gains = compare(summary, summaries.get(BICUBIC, {})) if method != BICUBIC else {}
            rows.append((name, method, len(tallies[method].pictures), summary | gains))
    keys = [k for k in COLUMNS if any(k in row[3] for row in rows)]
    lines = [["set", "method", "n", *(COLUMNS[k][0] for k in keys)], ["---"] * (len(keys) + 3)]
    for name, method, count, row in rows:
        cells = [format(row[k], COLUMNS[k][1]) if k in row else "" for k in keys]
        lines.append([name, method, str(count), *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(tally: Tally) -> dict[str, dict[str, object]]:
    """The summary and the values of each picture for JSON; null for what is not finite."""

    def finite(values: dict[str, float]) -> dict[str, object]:
        return {k: v if math.isfinite(v) else None for k, v in values.items()}

    pictures: dict[str, object] = {stem: finite(v) for stem, v in tally.pictures.items()}
    return {"mean": finite(tally.summary()), "pictures": pictures}


def contact_sheet(rows: dict[str, dict[str, Picture]]) -> Image.Image:
    """A row for each picture, its versions side by side at 100 %, with a caption above."""
    bar = 14
    heights = [max(p.shape[0] for p in row.values()) + bar for row in rows.values()]
    widths = [sum(p.shape[1] for p in row.values()) for row in rows.values()]
    sheet = Image.new("RGB", (max(widths), sum(heights)))
    draw, top = ImageDraw.Draw(sheet), 0
    for (stem, row), height in zip(rows.items(), heights, strict=True):
        left = 0
        for method, picture in row.items():
            draw.text((left + 2, top + 1), f"{method}  {stem}", fill="white")
            sheet.paste(Image.fromarray(picture), (left, top + bar))
            left += picture.shape[1]
        top += height
    return sheet
