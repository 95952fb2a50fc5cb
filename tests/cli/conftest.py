"""Runs the command as a user does: in a folder of its own, with a real model and real files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from bimacosr.cli import main

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """`run("upscale", "a.png")`: the result has exit_code, stdout and stderr."""

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert "Traceback" not in result.output
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def photo(path: Path, size: tuple[int, int] = (24, 20), mode: str = "RGB") -> Path:
    """A small picture with some content at `path`."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    colours = np.stack([x * 255 // max(1, width), y * 255 // max(1, height), (x ^ y) % 256], -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours.astype(np.uint8)).convert(mode).save(path)
    return path
