"""Which result belongs to which original: by the name of the file, and nothing else.

A result belongs to the original of the same stem, whatever the extensions: `a.png` to `a.webp`.
What is left then is compared without the marks that programs append (`_x4`, `-4x`, `_out`, `_sr`,
`_hr`, `_lr4`...): `a_LR4_x4.png` belongs to `a_HR.png`. Two files that come to one name belong to
none. Only pictures directly in the folder count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from bimacosr.errors import OptionError
from bimacosr.io.failures import reading, shown
from bimacosr.io.formats import is_picture_name

__all__ = ["list_pictures", "match", "pair", "without_marks"]

_FACTOR = r"x\d+(\.\d+)?|\d+(\.\d+)?x"
_MARK = re.compile(rf"[_-]({_FACTOR}|(sr|hr|lr|gt|hq|lq)\d*|out|rlt)$", re.IGNORECASE)

Tell = Callable[[str], None]
Role = TypeVar("Role")


def list_pictures(folder: Path, tell: Tell) -> dict[str, Path]:
    """Find the pictures in `folder`: stem to file, in order of name.

    Args:
        folder: Searched itself, but not what lies in folders inside it.
        tell: Gets a sentence about each stem that two files share; both are left out.

    Raises:
        OptionError: "results is not a folder of pictures", or it holds none.
        ReadError: the folder may not be read.
    """
    if not folder.is_dir():
        raise OptionError(f"{shown(folder)} is not a folder of pictures")
    with reading(folder):
        files = sorted(path for path in folder.iterdir() if is_picture_name(path))
    if not files:
        raise OptionError(f"{shown(folder)} holds no pictures (PNG, JPEG, WebP, TIFF, BMP)")
    single, shared = _keyed(files, lambda path: path.stem)
    for stem, several in shared.items():
        tell(
            f"{shown(folder)} has several pictures called {shown(stem)} ({_names(several)}), so "
            "none is measured; keep one of them"
        )
    return single


def pair(folders: Mapping[Role, Path], tell: Tell) -> dict[Role, dict[str, Path]]:
    """Find what belongs together in `folders`: role to name to file.

    Files instead of folders are one picture, whatever their names.

    Args:
        folders: Role to folder; the first gives the names: the stems of its pictures.
        tell: Gets a sentence about each picture without a partner.

    Raises:
        OptionError: a folder is none, holds no pictures, or none that belongs to the first.
    """
    roles = iter(folders.items())
    first, reference = next(roles)
    files = [path for path in folders.values() if path.is_file()]
    if len(files) == len(folders):
        return {role: {reference.stem: path} for role, path in folders.items()}
    if files:
        raise OptionError(f"{shown(files[0])} is a file; give files or folders, not both")
    paired = {first: list_pictures(reference, tell)}
    for role, folder in roles:
        paired[role] = match(
            paired[first], list_pictures(folder, tell), shown(folder), shown(reference), tell
        )
        if not paired[role]:
            raise OptionError(
                f"no picture in {shown(folder)} has the name of one in {shown(reference)}"
            )
    return paired


def match(
    originals: Mapping[str, Path], results: Mapping[str, Path], where: str, whose: str, tell: Tell
) -> dict[str, Path]:
    """Find the result of each original: the original's stem to the result's file.

    Args:
        originals: Stem to file.
        results: Stem to file.
        where: What the results are called in sentences, such as their folder.
        whose: The same of the originals.
        tell: Gets a sentence about each original without a result, and each result without an
            original; not where there is no pair at all.
    """
    found = {stem: results[stem] for stem in originals if stem in results}
    wanted = [path for stem, path in originals.items() if stem not in found]
    left = [path for stem, path in results.items() if stem not in found]
    cores, _ = _keyed(wanted, lambda path: without_marks(path.stem))
    by_core, shared = _keyed(left, lambda path: without_marks(path.stem))
    found |= {cores[core].stem: by_core[core] for core in cores if core in by_core}
    if found:
        for core in (core for core in cores if core in shared):
            tell(f"{where}: {_names(shared[core])} all mean {shown(core)}; keep one of them")
        for path in (path for path in wanted if path.stem not in found):
            tell(f"{where} has no picture for {shown(path.name)} of {whose}")
        taken = set(found.values())
        for path in (path for path in left if path not in taken):
            tell(f"{where}: {shown(path.name)} belongs to no picture of {whose}")
    return {stem: found[stem] for stem in originals if stem in found}


def without_marks(stem: str) -> str:
    """Take what programs append off a stem: "a_LR4_x4" becomes "a"."""
    while (shorter := _MARK.sub("", stem)) and shorter != stem:
        stem = shorter
    return stem


def _keyed(
    paths: Iterable[Path], key: Callable[[Path], str]
) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    """The paths that are alone with their key, and those that are not."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(key(path), []).append(path)
    single = {name: group[0] for name, group in groups.items() if len(group) == 1}
    return single, {name: group for name, group in groups.items() if len(group) > 1}


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(shown(path.name) for path in paths)
