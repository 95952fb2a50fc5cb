"""Which pictures to enlarge, and where each result goes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bimacosr.config.upscale import UpscaleSettings
from bimacosr.errors import OptionError, ReadError
from bimacosr.io.formats import format_for, is_picture_name
from bimacosr.resolver import beside

__all__ = ["Job", "Source", "find_sources", "plan_jobs"]


@dataclass(frozen=True, slots=True)
class Source:
    """A picture that was asked for."""

    path: Path
    """The file."""

    root: Path | None
    """The folder that was named, if it was found in one; its tree is kept in the output."""


@dataclass(frozen=True, slots=True)
class Job:
    """One picture and its result."""

    source: Path
    """File to read."""

    target: Path
    """File to write."""


def find_sources(inputs: tuple[str, ...], output: Path | None) -> Iterator[Source | ReadError]:
    """The pictures that `inputs` name: files, folders with all below them, and patterns.

    Args:
        inputs: What the user typed.
        output: Folder of results, which is not searched when it lies inside an input folder.

    Yields:
        Each picture once, in order of input and then of name; an error for what is not there.
    """
    seen: set[Path] = set()
    for text in inputs:
        found = False
        for source in _expand(text, output):
            found = True
            resolved = source.path.resolve()
            if resolved not in seen:
                seen.add(resolved)
                yield source
        if not found:
            yield _nothing(text)


def plan_jobs(
    sources: list[Source],
    output: Path | None,
    format_name: str | None,
    settings: UpscaleSettings,
    scale: int,
) -> Iterator[Job | OptionError]:
    """Where each result goes.

    Args:
        sources: The pictures.
        output: A file for a single picture, a folder, or None: beside the input.
        format_name: Format of all results; None keeps each picture's own.
        settings: Size of the results, which names them beside the input.
        scale: Enlargement of the model.

    Yields:
        A job for each picture, or an error where two results would meet in one file or a result
        would replace its own input.

    Raises:
        OptionError: `output` names a file, but there are several pictures.
    """
    to_file = output is not None and not output.is_dir() and is_picture_name(output)
    if to_file and len(sources) > 1:
        raise OptionError(
            f"-o {output} is one file, but there are {len(sources)} pictures; give a folder"
        )
    taken: dict[Path, Path] = {}
    for source in sources:
        target = output if to_file else _target(source, output, format_name, settings, scale)
        assert target is not None
        key = target.resolve()
        if key == source.path.resolve():
            yield OptionError(
                f"the result of {source.path} would replace it; give another folder with -o"
            )
        elif key in taken:
            yield OptionError(
                f"the results of {taken[key]} and {source.path} would both be {target}; "
                "rename one of them or give --format"
            )
        else:
            taken[key] = source.path
            yield Job(source.path, target)


def _target(
    source: Source,
    output: Path | None,
    format_name: str | None,
    settings: UpscaleSettings,
    scale: int,
) -> Path:
    if output is None:
        if source.root is None:
            target = beside(source.path, settings, scale)
        else:
            large = beside(source.root.resolve(), settings, scale)
            target = large / source.path.relative_to(source.root)
    elif source.root is None:
        target = output / source.path.name
    else:
        target = output / source.path.relative_to(source.root)
    if format_name is None:
        return target
    return target.with_suffix(format_for(format_name).extensions[0])


def _expand(text: str, output: Path | None) -> Iterator[Source]:
    path = Path(text)
    if path.is_dir():
        for file in _pictures_below(path, output):
            yield Source(file, path)
    elif path.exists() or not glob.has_magic(text):
        yield Source(path, None)  # a missing file is reported when it is read
    else:
        for name in sorted(glob.glob(text, recursive=True)):  # noqa: PTH207 (absolute patterns too)
            match = Path(name)
            if match.is_dir():
                yield from (Source(file, match) for file in _pictures_below(match, output))
            elif is_picture_name(match):
                yield Source(match, None)


def _pictures_below(folder: Path, output: Path | None) -> Iterator[Path]:
    skip = None if output is None else output.resolve()
    if skip == folder.resolve():
        skip = None
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and (here / name).resolve() != skip
        )
        for name in sorted(names):
            if not name.startswith(".") and is_picture_name(name):
                yield here / name


def _nothing(text: str) -> ReadError:
    if Path(text).is_dir():
        return ReadError(f"the folder {text} holds no pictures (PNG, JPEG, WebP, TIFF, BMP)")
    return ReadError(f"no picture matches {text}; check the path")
