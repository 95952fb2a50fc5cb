"""Everything a training needs to go on to the same weights, in one file, whole or not at all.

A file is written beside its place and moved into it, and the newest few are kept; so after a
kill -9 or a full disk the last good one is still there.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from bimacosr.errors import ModelError
from bimacosr.io.atomic import atomic_file

__all__ = [
    "CHECKPOINTS",
    "is_checkpoint",
    "list_checkpoints",
    "newest_checkpoint",
    "prune_checkpoints",
    "read_checkpoint",
    "write_checkpoint",
]

FORMAT = "bimacosr-training"
VERSION = 1
CHECKPOINTS = "checkpoints"
"""Folder of a run that holds them."""

_PARTS = ("recipe", "step", "samples", "network", "average", "helpers", "optimisers", "rng")


def write_checkpoint(run: Path, parts: dict[str, Any], keep: int) -> Path:
    """Write `parts` as the checkpoint of their step in the folder of a run; prune older ones.

    Args:
        run: Folder of the run.
        parts: recipe (plain values), step, samples (how many were seen), network, average and
            helpers (state dicts), optimisers (a list of theirs), rng (of PyTorch).
        keep: How many checkpoints stay.

    Raises:
        WriteError: "the disk is full while writing ..."; older checkpoints are as they were.
    """
    assert set(parts) == set(_PARTS)
    path = run / CHECKPOINTS / f"step_{parts['step']:08d}.pt"
    with atomic_file(path) as file:
        torch.save({"format": FORMAT, "version": VERSION, **parts}, file)
    prune_checkpoints(run, keep)
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The parts of a checkpoint, on the CPU, read without running code of the file.

    Raises:
        ModelError: the file is missing, damaged, or no checkpoint of this trainer.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # PyTorch looks at no checksum
        if damaged is not None:
            raise ModelError(f"the checkpoint {path} is damaged (in {damaged}); take another one")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError:
        raise
    except FileNotFoundError as error:
        raise ModelError(f"there is no checkpoint {path}; give a file or a run's folder") from error
    except Exception as error:  # a damaged file can fail in any way
        raise ModelError(
            f"the checkpoint {path} is cut short, damaged, or no checkpoint of `bimacosr train`"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{path} is no checkpoint of `bimacosr train`")
    if content.get("version") != VERSION or any(part not in content for part in _PARTS):
        raise ModelError(
            f"the checkpoint {path} is of version {content.get('version')}; this bimacosr reads"
            f" version {VERSION}"
        )
    return content


def is_checkpoint(path: Path) -> bool:
    """Whether `path` looks like a checkpoint of this trainer, or a run that has one."""
    if path.is_dir():
        return bool(list_checkpoints(path))
    try:
        content = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except Exception:  # whatever it is, another reader will say it better
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def list_checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, the oldest first."""
    return sorted((run / CHECKPOINTS).glob("step_*.pt"))


def newest_checkpoint(run: Path) -> tuple[Path, dict[str, Any], list[str]] | None:
    """The newest readable checkpoint of a run, its parts, and what is wrong with newer ones.

    None if the run has no checkpoint.

    Raises:
        ModelError: it has some, but none can be read.
    """
    complaints: list[str] = []
    for path in reversed(list_checkpoints(run)):
        try:
            return path, read_checkpoint(path), complaints
        except ModelError as error:
            complaints.append(str(error))
    if complaints:
        raise ModelError(f"no checkpoint of {run} can be used: {complaints[0]}")
    return None


def prune_checkpoints(run: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints of a run."""
    for path in list_checkpoints(run)[:-keep]:
        path.unlink(missing_ok=True)
