"""What a figure and a page show of one picture: its versions, their scores, and where to look."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bimacosr.config.evaluate import FigureSettings
from bimacosr.errors import PictureError
from bimacosr.evaluate.measure import ORIGINAL, Task, measure_set
from bimacosr.evaluate.pictures import Picture
from bimacosr.evaluate.region import Region, check_region, find_region
from bimacosr.metrics.metric import Metric

__all__ = ["Exhibit", "exhibit"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Exhibit:
    """One picture by every method."""

    name: str
    """Of the picture."""
    original: Picture
    """What the others should be."""
    results: dict[str, Picture]
    """By method, of the original's size."""
    scores: dict[str, dict[str, float]]
    """Method to metric to its figure for the whole picture."""
    metrics: dict[str, Metric]
    """Those metrics."""
    region: Region
    """Where to look."""

    def score_lines(self) -> dict[str, list[tuple[str, bool]]]:
        """Method to the figures as shown, and whether each is the best of all."""
        lines: dict[str, list[tuple[str, bool]]] = {method: [] for method in self.results}
        for key, metric in self.metrics.items():
            shown = {m: f"{self.scores[m][key]:.{metric.digits}f}" for m in self.results}
            known = {m: self.scores[m][key] for m in self.results}
            best = (max if metric.higher_is_better else min)(known.values())
            for method, text in shown.items():
                lines[method].append((text, text == f"{best:.{metric.digits}f}"))
        return lines


def exhibit(
    task: Task, name: str, settings: FigureSettings, tell: Callable[[str], None]
) -> Exhibit:
    """Measure one picture by every method, and find where to look.

    Args:
        task: Has originals.
        name: Of the picture.
        settings: The region, or its size.
        tell: Gets a sentence about each method whose picture cannot be shown.

    Raises:
        OptionError: the region is not inside the picture.
        PictureError: no method has a picture to show.
    """
    pictures: dict[str, Picture] = {}

    def keep(method: str, _: str, picture: Picture) -> None:
        pictures[method] = picture

    tallies = measure_set(task, [name], tell=tell, show=keep)
    original = pictures.pop(ORIGINAL, None)
    if original is None or not pictures:
        raise PictureError(f"there is nothing to compare of {name}; check the names of its files")
    if settings.region is None:
        region = find_region(original, list(pictures.values()), settings.region_px)
    else:
        region = Region(*settings.region)
    check_region(region, original)
    return Exhibit(
        name=name,
        original=original,
        results=pictures,
        scores={method: tallies[method].figures(name) for method in pictures},
        metrics=dict(task.metrics),
        region=region,
    )
