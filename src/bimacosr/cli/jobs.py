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

__all__ = ["Job", "Source", "find_sources", "is_there", "plan_jobs"]

_NOT_WRITTEN = (".avif", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".pdf", ".psd", ".svg")


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
    seen: set[str] = set()
    for text in inputs:
        found = False
        for source in _expand(text, output):
            found = True
            if isinstance(source, ReadError):
                yield source
                continue
            resolved = _real(source.path)
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
        A job for each picture, or an error where two results would meet in one file, a result
        would replace its own input, or a picture is itself the result of another.

    Raises:
        OptionError: `output` names a file, but there are several pictures or it cannot be one.
    """
    to_file = output is not None and _is_output_file(output, format_name)
    if to_file and len(sources) > 1:
        raise OptionError(
            f"-o {output} is one file, but there are {len(sources)} pictures; give a folder"
        )
    targets = []
    for source in sources:
        target = output if to_file else _target(source, output, format_name, settings, scale)
        assert target is not None
        targets.append(target)
    results = {_real(target): s.path for s, target in zip(sources, targets, strict=True)}
    kept = {
        _real(s.path) for s, t in zip(sources, targets, strict=True) if _real(t) == _real(s.path)
    }
    taken: dict[str, Path] = {}
    for source, target in zip(sources, targets, strict=True):
        key, own = _real(target), _real(source.path)
        if key == own:
            yield OptionError(
                f"the result of {source.path} would replace it; give another folder with -o"
            )
        elif key in kept:
            yield OptionError(
                f"the result of {source.path} would replace the input {target}; "
                "give another folder with -o"
            )
        elif own in results:
            yield OptionError(
                f"{source.path} is where the result of {results[own]} goes, so it is not enlarged "
                "itself; give another folder with -o"
            )
        elif key in taken:
            way = "enlarge it into another folder" if format_name is None else "leave out --format"
            yield OptionError(
                f"the results of {taken[key]} and {source.path} would both be {target}; "
                f"rename one of them or {way}"
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


def is_there(path: Path) -> bool:
    """Whether something lies at `path`; what may not be looked at is reported when it is used."""
    try:
        return path.exists()
    except OSError:
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _real(path: Path) -> str:
    """Where `path` leads to; unlike `Path.resolve`, a link to itself does not raise."""
    return os.path.realpath(path)


def _is_output_file(output: Path, format_name: str | None) -> bool:
    """Whether -o names a file rather than a folder.

    Raises:
        OptionError: it names a picture of a format that is not written, or of another than
            --format.
    """
    if _is_folder(output):
        return False
    if output.suffix.lower() in _NOT_WRITTEN:
        format_for(output)
    if not is_picture_name(output):
        return False
    if format_name is not None and format_for(output) is not format_for(format_name):
        raise OptionError(
            f"-o {output} and --format {format_name} contradict each other; leave out --format"
        )
    return True


def _expand(text: str, output: Path | None) -> Iterator[Source | ReadError]:
    path = Path(text)
    if not text:  # an unset variable of the shell is not the current folder
        return
    if _is_folder(path):
        yield from _sources_below(path, output)
    elif is_there(path) or not glob.has_magic(text):
        yield Source(path, None)  # a missing file is reported when it is read
    else:
        for name in sorted(glob.glob(text, recursive=True)):  # noqa: PTH207 (absolute patterns too)
            match = Path(name)
            if _is_folder(match):
                if output is not None and _real(match) == _real(output):
                    continue
                yield from _sources_below(match, output)
            elif is_picture_name(match):
                yield Source(match, None)


def _sources_below(folder: Path, output: Path | None) -> Iterator[Source | ReadError]:
    skip = None if output is None else _real(output)
    if skip == _real(folder):
        skip = None
    unlisted: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=unlisted.append):
        here = Path(place)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and _real(here / name) != skip
        )
        for name in sorted(names):
            if not name.startswith(".") and is_picture_name(name):
                yield Source(here / name, folder)
    for error in unlisted:
        yield ReadError(
            f"the folder {error.filename} cannot be listed ({error.strerror}); change its "
            "permissions or leave it out"
        )


def _nothing(text: str) -> ReadError:
    if not text:
        return ReadError("an input is empty; give a file, a folder or a pattern")
    if _is_folder(Path(text)):
        return ReadError(f"the folder {text} holds no pictures (PNG, JPEG, WebP, TIFF, BMP)")
    return ReadError(f"no picture matches {text}; check the path")
