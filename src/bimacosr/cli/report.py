"""What the user sees while pictures are enlarged: a line each, a bar with the time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from bimacosr.io.failures import shown
from bimacosr.upscale import Progress as TileProgress

__all__ = ["Report"]


class Report:
    """Results to standard output, errors and progress to standard error.

    Args:
        quiet: Print errors only.
        go_on: How to continue after an interruption.
    """

    def __init__(
        self, *, quiet: bool = False, go_on: str = "continue with --skip-existing"
    ) -> None:
        self.quiet = quiet
        self.go_on = go_on
        self.failures = 0
        self.done = 0
        self.skips = 0
        self._out = Console(soft_wrap=True, highlight=False)
        self._err = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._pictures_done = 0

    @contextmanager
    def progress(self, pictures: int) -> Iterator[None]:
        """Show a bar over all pictures while inside; nothing where there is no terminal."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        hidden = self.quiet or not self._err.is_terminal or pictures == 0
        with Progress(*columns, console=self._err, disable=hidden, transient=True) as bar:
            self._pictures_done = 0  # what failed before is not among these pictures
            self._bar, self._task = bar, bar.add_task("starting", total=max(1, pictures))
            try:
                yield
            finally:
                self._bar = None

    def tiles_of(self, source: Path) -> TileProgress:
        """A callback that moves the bar with the tiles of this picture."""

        def moved(done: int, total: int) -> None:
            if self._bar is not None and self._task is not None:
                at = self._pictures_done + done / total
                self._bar.update(self._task, completed=at, description=shown(source.name))

        return moved

    def advance(self, source: Path) -> None:
        """One more of the pictures has been dealt with; the bar shows it, no line is printed."""
        self.done += 1
        self._pictures_done += 1
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task, completed=self._pictures_done, description=shown(source.name)
            )

    def written(self, source: Path, target: Path, size: tuple[int, int], seconds: float) -> None:
        """A picture is done."""
        self.done += 1
        self._finish_one(f"{source} -> {target}  {size[0]}x{size[1]}, {seconds:.1f} s")

    def planned(self, source: Path, target: Path) -> None:
        """A picture would be done."""
        self._finish_one(f"would write {source} -> {target}")

    def skipped(self, source: Path, target: Path) -> None:
        """A result was there already."""
        self.skips += 1
        self._finish_one(f"{source}: {target} exists, skipped")

    def failed(self, message: str) -> None:
        """Something could not be done."""
        self.failures += 1
        self._pictures_done += 1
        self._err.print(Text.assemble(("error: ", "bold red"), shown(message)))

    def interrupted(self) -> None:
        """The user stopped the batch."""
        self._err.print(f"interrupted: {self.done} done and whole; {self.go_on}")

    def finish(self) -> None:
        """The last line, where there was more than one picture."""
        total = self.done + self.skips + self.failures
        if total > 1 and not self.quiet:
            self._err.print(f"{self.done} done, {self.skips} skipped, {self.failures} failed")

    def _finish_one(self, line: str) -> None:
        self._pictures_done += 1
        if not self.quiet:
            self._out.print(Text(shown(line)))
