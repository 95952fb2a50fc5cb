"""A page that lays two versions of a picture over each other, with a line to move between them.

One file that loads nothing: the pictures are in it, without loss, and it works by keyboard.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from bimacosr.evaluate.exhibit import Exhibit
from bimacosr.evaluate.pictures import Picture
from bimacosr.io.atomic import atomic_file

__all__ = ["write_page"]


def write_page(exhibits: Sequence[Exhibit], path: Path) -> None:
    """Write exhibits into an .html file.

    Raises:
        WriteError: the file cannot be written.
    """
    data = json.dumps([_plain(item) for item in exhibits], ensure_ascii=False)
    data = data.replace("<", "\\u003c")  # a name cannot end the script it stands in
    template = files("bimacosr.evaluate").joinpath("page.html").read_text(encoding="utf-8")
    with atomic_file(path) as file:
        file.write(template.replace("@DATA@", data).encode())


def _plain(item: Exhibit) -> dict[str, Any]:
    versions = [{"name": "Original", "scores": "", "source": _source(item.original)}]
    lines = item.score_lines()
    titles = [metric.title for metric in item.metrics.values()]
    for method, picture in item.results.items():
        figures = zip(titles, lines[method], strict=True)
        scores = ", ".join(f"{title} {figure}" for title, (figure, _) in figures)
        versions.append({"name": method, "scores": scores, "source": _source(picture)})
    return {
        "name": item.name,
        "width": item.original.shape[1],
        "region": list(item.region),
        "versions": versions,
    }


def _source(picture: Picture) -> str:
    """The picture as an address that holds it: WebP without loss."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True, quality=60)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
