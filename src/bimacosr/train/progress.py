"""The bar that a person looks at: steps, loss, speed, time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from bimacosr.train.watch import Line, Sampled, Stepped, Watcher

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(stage: str, step: int, steps: int) -> Iterator[Watcher]:
    """A bar on a terminal, else a line of text for each line of the log; on standard error.

    Args:
        stage: What is trained.
        step: Where it begins.
        steps: Where it ends.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    columns = (
        TextColumn(stage),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=steps, completed=step)

        def watch(event: Stepped | Line | Sampled) -> None:
            if isinstance(event, Stepped):
                bar.update(task, completed=event.step)
            elif isinstance(event, Line) and console.is_terminal:
                bar.update(task, description=figures(event))
            elif isinstance(event, Line):
                left = event.seconds_left / 60
                console.print(f"step {event.step}/{steps} {figures(event)}, {left:.1f} min left")

        yield watch


def figures(line: Line) -> str:
    """The figures of a line that matter at a glance."""
    return (
        f"{line.phase}: loss {line.terms['loss']:.5f}, {line.images_per_second:.1f} images/s,"
        f" waiting {line.waiting:.0%}"
    )
