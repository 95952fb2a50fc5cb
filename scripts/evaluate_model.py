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
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from bimacosr.config.evaluate import EvaluateSettings, MetricSettings
from bimacosr.errors import BimacosrError, OptionError
from bimacosr.evaluate.choice import Choice, choose
from bimacosr.evaluate.measure import ORIGINAL, Task, measure_set
from bimacosr.evaluate.pairing import pair
from bimacosr.evaluate.pictures import (
    BICUBIC,
    Method,
    Picture,
    bicubic_of,
    read_rgb,
    results_in,
)
from bimacosr.evaluate.sheet import contact_sheet
from bimacosr.evaluate.tables import columns_of, markdown, plain, rows_of
from bimacosr.evaluate.tally import Tally
from bimacosr.metrics.registry import METRICS

PAIRED_SETS = ("RealSR_half", "DRealSR_half")
USUAL = ("psnr_y", "ssim_y", "lpips_alex", "lpips_squeeze", "niqe")
PRINTS = ("lines", "lattice", "colour_lattice")
Enlarge = Callable[[Picture], Picture]


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
    add("--metrics", default=",".join(USUAL), help="names by comma (default: %(default)s)")
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


def load_models(arguments: argparse.Namespace) -> dict[str, Enlarge]:
    """The models of the catalogue, or files, by name."""
    import bimacosr

    models: dict[str, Enlarge] = {}
    for model in arguments.model:
        name = Path(model).stem if Path(model).is_file() else model
        if name in (*models, BICUBIC, ORIGINAL):
            raise OptionError(f"two methods are called {name}")
        models[name] = bimacosr.load(model=model)
    return models


def find_methods(
    files: dict[str, dict[str, Path]], models: dict[str, Enlarge], sr: Path | None
) -> dict[str, Method]:
    """What makes the pictures: bicubic, the models, the folder of results."""
    methods = {}
    if "lr" in files:
        small = files["lr"]
        methods[BICUBIC] = bicubic_of(small)
        for name, enlarge in models.items():
            methods[name] = Method(
                make=lambda stem, enlarge=enlarge: np.asarray(enlarge(read_rgb(small[stem]))),
                names=small.keys(),
            )
    if sr is not None:
        name = sr.resolve().name
        if name in (*methods, ORIGINAL):
            raise OptionError(f"two methods are called {name}")
        methods[name] = results_in(files["sr"])
    return methods


def choose_metrics(arguments: argparse.Namespace, originals: bool) -> Choice:
    """The metrics asked for, without those that need originals where there are none."""
    names = [*arguments.metrics.split(","), *PRINTS]
    if not originals:
        names = [n for n in names if n not in METRICS or not METRICS[n].needs_reference]
    metric = MetricSettings(weights_dir=arguments.metric_weights)
    return choose(EvaluateSettings(metrics=tuple(names), metric=metric), originals)


def main() -> int:
    """Run what the command line asks for; 1 where a picture could not be measured."""
    arguments = parse_arguments()
    problems: list[str] = []

    def tell(sentence: str) -> None:
        problems.append(sentence)
        print(sentence, file=sys.stderr)

    models = load_models(arguments)
    gallery = Gallery(arguments.save, arguments.sheet_pictures if arguments.contact_sheet else 0)
    results: dict[str, dict[str, Tally]] = {}
    rows, metrics = [], {}
    for name, folders in find_sets(arguments).items():
        files = pair(folders, tell)
        stems = [s for s in next(iter(files.values())) if all(s in f for f in files.values())]
        stems = stems[: arguments.limit]
        choice = choose_metrics(arguments, "hr" in folders)
        task = Task(
            methods=find_methods(files, models, arguments.sr),
            metrics=choice.metrics,
            scores=choice.load(MetricSettings(weights_dir=arguments.metric_weights))[0],
            originals=files.get("hr"),
        )
        gallery.open_set(name, stems)
        results[name] = measure_set(task, stems, tell=tell, show=gallery.show)
        rows += rows_of(results[name], None, name)
        metrics |= choice.all
        for method, tally in results[name].items() if arguments.each else ():
            for stem in tally.pictures:
                values = tally.figures(stem).items()
                print(name, method, stem, *(f"{k}={v:.4f}" for k, v in values))
    print(markdown(("set", "method", "n"), columns_of(metrics, rows), rows, best=False))
    if arguments.json:
        plainly = {n: {m: plain(t) for m, t in tallies.items()} for n, tallies in results.items()}
        arguments.json.write_text(json.dumps(plainly, indent=1) + "\n")
    if arguments.contact_sheet:
        contact_sheet(gallery.sheet).save(arguments.contact_sheet)
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except BimacosrError as error:
        raise SystemExit(f"evaluate_model: {error}") from error
