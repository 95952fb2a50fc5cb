"""The logs of a run: a JSON object a line, sample pictures as PNG, and the same for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bimacosr.config.picture import OutputSettings
from bimacosr.io.atomic import atomic_file
from bimacosr.io.failures import writing
from bimacosr.io.picture import Picture
from bimacosr.io.writer import write_picture
from bimacosr.train.watch import Line, Sampled, Stepped, Watcher

__all__ = ["JsonLog", "has_tensorboard", "sample_folder", "tensorboard_log"]


class JsonLog:
    """`log.jsonl` of a run; a resumed run forgets the lines after the step it resumes at.

    Args:
        run: Folder of the run.
        step: Where the run begins.

    Raises:
        WriteError: the file cannot be written.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.path = run / "log.jsonl"
        before = self.path.read_text("utf-8", "replace") if self.path.exists() else ""
        kept = [line for line in before.splitlines() if step_of(line) <= step]
        with atomic_file(self.path) as file:
            file.write("".join(f"{line}\n" for line in kept).encode())

    def __call__(self, event: Stepped | Line | Sampled) -> None:
        """Append a line."""
        if not isinstance(event, Line):
            return
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rounded(asdict(event))) + "\n")


def rounded(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts with 7 significant digits."""
    return {
        name: rounded(fact)
        if isinstance(fact, dict)
        else float(f"{fact:.7g}")
        if isinstance(fact, float)
        else fact
        for name, fact in facts.items()
    }


def step_of(line: str) -> int:
    """The step of a line of the log; a torn line, of a process that was killed, counts as late."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 1 << 62


def sample_folder(run: Path) -> Watcher:
    """`samples/` of a run: what the averaged network makes of the first pairs, as PNG."""

    def watch(event: Stepped | Line | Sampled) -> None:
        if isinstance(event, Sampled):
            pixels = (event.strip.permute(1, 2, 0) * 255).round().byte().cpu().contiguous().numpy()
            path = run / "samples" / f"step_{event.step:08d}.png"
            write_picture(path, Picture(pixels), settings=OutputSettings())

    return watch


def has_tensorboard() -> bool:
    """Whether TensorBoard is installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401  only to know
    except ImportError:
        return False
    return True


@contextmanager
def tensorboard_log(run: Path, step: int) -> Iterator[Watcher]:
    """Lines and pictures in `tensorboard/`; what an earlier run told after `step` is hidden.

    Needs TensorBoard, see `has_tensorboard`.
    """
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run / "tensorboard"), purge_step=step + 1) as writer:

        def watch(event: Stepped | Line | Sampled) -> None:
            if isinstance(event, Line):
                for name, value in event.terms.items():
                    writer.add_scalar(f"loss/{name}", value, event.step)
                for name in ("rate", "gradient_norm", "images_per_second", "waiting"):
                    writer.add_scalar(f"course/{name}", getattr(event, name), event.step)
            elif isinstance(event, Sampled):
                writer.add_image("samples", event.strip.cpu().numpy(), event.step)

        yield watch
