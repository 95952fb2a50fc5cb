#!/usr/bin/env python3
"""Measures enlarged pictures against their originals and against bicubic; prints a markdown table.

    evaluate_model.py --metric-weights W --data EVAL --model edge-x4 --model trial.safetensors
    evaluate_model.py --metric-weights W --data EVAL --model edge-x4 --unpaired
    evaluate_model.py --metric-weights W --sr RESULTS --hr ORIGINALS [--lr SMALL]
    evaluate_model.py --metric-weights W --lr SMALL [--hr ORIGINALS] --model edge-x4

EVAL holds `paired/<set>/{lr,hr}` and `unpaired/<set>`. Files of one stem belong together; bicubic
is Pillow's. `shift` is the mean of a result less that of bicubic, for R, G, B, of 255.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from evaluation import (
    BICUBIC,
    ORIGINAL,
    Enlarge,
    Picture,
    Tally,
    contact_sheet,
    enlarge_bicubic,
    evaluate_set,
    markdown,
    pair_files,
    plain,
)
from PIL import Image

from bimacosr.errors import BimacosrError, OptionError
from bimacosr.metrics.registry import load_metrics

PAIRED_SETS = ("RealSR_half", "DRealSR_half")
METRICS = ("psnr_y", "ssim_y", "lpips_alex", "lpips_squeeze", "niqe")


class Gallery:
    """Keeps results as files, and some of them for the contact sheet."""

    def __init__(self, folder: Path | None, wanted: int) -> None:
        self.folder = folder
        self.wanted = wanted  # pictures of each set on the sheet
        self.sheet: dict[str, dict[str, Picture]] = {}

    def open_set(self, name: str, stems: list[str]) -> None:
        """Choose the set's pictures for the sheet, evenly spread."""
        self.name = name
        step = max(1, math.ceil(len(stems) / max(self.wanted, 1)))
        self.chosen = stems[::step][: self.wanted]

    def show(self, method: str, stem: str, picture: Picture) -> None:
        """Take one result, or an original under that name."""
        if self.folder and method not in (BICUBIC, ORIGINAL):
            path = self.folder / method / self.name / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
        if stem in self.chosen:
            self.sheet.setdefault(f"{self.name} {stem}", {})[method] = picture


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--metric-weights", type=Path, required=True, help="directory of the weight files")
    add("--data", type=Path, help="directory of evaluation sets")
    add("--unpaired", action="store_true", help="the sets of --data without originals")
    add("--lr", type=Path, help="folder of small pictures")
    add("--hr", type=Path, help="folder of originals")
    add("--sr", type=Path, help="folder of results to measure")
    add("--model", action="append", default=[], help="name or file; may be repeated")
    add("--metrics", default=",".join(METRICS), help="names by comma (default: %(default)s)")
    add("--limit", type=int, help="only the first N names of each set")
    add("--each", action="store_true", help="print the figures of each picture too")
    add("--json", type=Path, help="write all figures to this file")
    add("--save", type=Path, help="keep the results below this directory")
    add("--contact-sheet", type=Path, help="write bicubic | results | original side by side")
    add("--sheet-pictures", type=int, default=4, help="pictures of each set on the sheet")
    arguments = parser.parse_args()
    if bool(arguments.data) == bool(arguments.lr or arguments.sr):
        parser.error("give either --data, or --lr or --sr")
    if arguments.model and not (arguments.data or arguments.lr):
        parser.error("--model needs --data or --lr")
    if arguments.data and arguments.hr:
        parser.error("--hr goes with --lr or --sr")
    if arguments.unpaired and not arguments.data:
        parser.error("--unpaired goes with --data")
    return arguments


def find_sets(arguments: argparse.Namespace) -> dict[str, dict[str, Path]]:
    """The folders of each set: name to role to folder."""
    if not arguments.data:
        given = {role: getattr(arguments, role) for role in ("lr", "hr", "sr")}
        return {"pictures": {role: folder for role, folder in given.items() if folder}}
    if arguments.unpaired:
        folders = sorted(f for f in (arguments.data / "unpaired").glob("*") if f.is_dir())
        return {folder.name: {"lr": folder} for folder in folders}
    paired = arguments.data / "paired"
    return {name: {"lr": paired / name / "lr", "hr": paired / name / "hr"} for name in PAIRED_SETS}


def find_methods(arguments: argparse.Namespace) -> dict[str, Enlarge]:
    """What makes the pictures: bicubic, the models, the folder of results."""
    methods: dict[str, Enlarge] = {}
    if arguments.data or arguments.lr:
        methods[BICUBIC] = lambda case: enlarge_bicubic(case["lr"])
    for model in arguments.model:
        name = Path(model).stem if Path(model).is_file() else model
        if name in methods:
            raise OptionError(f"two methods are called {name}")
        methods[name] = load_model(model)
    if arguments.sr:
        methods[arguments.sr.resolve().name] = lambda case: case["sr"]
    if ORIGINAL in methods:
        raise OptionError(f"a method cannot be called {ORIGINAL}")
    return methods


def load_model(model: str) -> Enlarge:
    """A model of the catalogue, or a file, as a method."""
    import bimacosr

    enlarge = bimacosr.load(model=model)
    return lambda case: np.asarray(enlarge(case["lr"]))


def write_json(path: Path, results: dict[str, dict[str, Tally]]) -> None:
    """Write set to method to figures."""
    sets = {name: {m: plain(t) for m, t in tallies.items()} for name, tallies in results.items()}
    path.write_text(json.dumps(sets, indent=1) + "\n")


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse_arguments()
    scores = load_metrics(arguments.metrics.split(","), arguments.metric_weights)
    methods = find_methods(arguments)
    gallery = Gallery(arguments.save, arguments.sheet_pictures if arguments.contact_sheet else 0)
    results = {}
    for name, folders in find_sets(arguments).items():
        files = pair_files(folders, arguments.limit)
        gallery.open_set(name, list(files))
        results[name] = evaluate_set(files, methods, scores, gallery.show)
        for method, tally in results[name].items() if arguments.each else ():
            for stem, values in tally.pictures.items():
                print(name, method, stem, *(f"{k}={v:.4f}" for k, v in values.items()))
    print(markdown(results))
    if arguments.json:
        write_json(arguments.json, results)
    if arguments.contact_sheet:
        contact_sheet(gallery.sheet).save(arguments.contact_sheet)


if __name__ == "__main__":
    try:
        main()
    except BimacosrError as error:
        raise SystemExit(f"evaluate_model: {error}") from error
