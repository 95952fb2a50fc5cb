"""The table of crops: one CSV line for each, written when its files are on the disk.

It is also what a later run goes on from: photos that are in it are done.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bimacosr.errors import OptionError, ReadError
from bimacosr.io.atomic import atomic_file
from bimacosr.io.failures import reading, shown, writing

__all__ = ["Manifest", "Row", "check_settings"]

_TABLE = "manifest.csv"
_SETTINGS = "settings.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A crop; its texts hold no line breaks."""

    file: str
    """Path below the folder, with slashes; of a validation pair that of its HR half."""

    source: str
    """Path of the photo, as it was given; what cannot be printed is '?'."""

    photo: str
    """Hash of the photo's bytes, 16 hexadecimal digits."""

    top: int
    """First row of the crop in the photo, after it was reduced by `reduce`."""

    left: int
    """First column."""

    size: int
    """Side, pixels."""

    reduce: float
    """How much the photo was reduced first."""

    sharpness: float
    """See `data.crops.sharpness`."""

    flat_share: float
    """See `data.crops.flat_share`."""

    likeness: str
    """Hash of what the crop shows, 32 hexadecimal digits."""

    photo_likeness: str
    """The same of the whole photo."""

    licence: str
    """What the user said it is."""


_NAMES = [field.name for field in fields(Row)]


class Manifest:
    """The table in a folder. A line that a crash cut short is taken back, with its photo.

    Args:
        folder: Where crops go.

    Raises:
        ReadError: the table is damaged, or not one of ours.
        WriteError: it cannot be mended.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _TABLE
        self.rows: list[Row] = []
        if self._path.exists():
            self._read()

    def append(self, rows: Sequence[Row]) -> None:
        """Add the crops of one photo, all of them or, where that fails, none.

        Raises:
            WriteError: the disk is full, or the file cannot be written.
        """
        data = _as_csv(rows, header=not self._path.exists())
        with writing(self._path), self._path.open("ab", buffering=0) as file:
            end = file.seek(0, io.SEEK_END)
            try:
                while data:
                    data = data[file.write(data) :]
            except BaseException:
                file.truncate(end)
                raise
        self.rows += rows

    def _read(self) -> None:
        with reading(self._path):
            text = self._path.read_bytes().decode("utf-8", "replace")
        whole = text[: text.rfind("\n") + 1]
        try:
            self.rows = _from_csv(whole)
        except (ValueError, TypeError, csv.Error) as error:
            raise ReadError(
                f"{shown(self._path)} is damaged or no table of crops; repair it, or give another "
                "folder"
            ) from error
        if whole != text:
            last = self.rows[-1].photo if self.rows else ""
            self.rows = [row for row in self.rows if row.photo != last]
            with atomic_file(self._path) as file:
                file.write(_as_csv(self.rows, header=True))


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write down what a folder is made with, or compare it with what is written there.

    Args:
        folder: Where results go; made if it is not there.
        settings: What decides over them, as JSON can hold it.

    Raises:
        OptionError: the folder was made with other settings.
        ReadError: what is written there cannot be read.
        WriteError: the folder cannot be written.
    """
    path, new = folder / _SETTINGS, json.loads(json.dumps(settings))
    if not path.exists():
        with atomic_file(path) as file:
            file.write((json.dumps(new, indent=1) + "\n").encode())
        return
    with reading(path):
        text = path.read_text(errors="replace")
    try:
        old = json.loads(text)
    except ValueError:
        old = None
    if not isinstance(old, dict):
        raise ReadError(f"{shown(path)} is damaged; remove it, or give another folder")
    if differing := [key for key in new if old.get(key) != new[key]]:
        raise OptionError(
            f"{shown(folder)} was made with another {', '.join(differing)}; give the settings in "
            f"its {_SETTINGS}, or another folder"
        )


def _as_csv(rows: Sequence[Row], *, header: bool) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, _NAMES, lineterminator="\n")
    if header:
        table.writeheader()
    table.writerows(asdict(row) for row in rows)
    return text.getvalue().encode()


def _from_csv(text: str) -> list[Row]:
    table = csv.DictReader(io.StringIO(text))
    if table.fieldnames is not None and table.fieldnames != _NAMES:
        raise ValueError("other columns")
    kinds: dict[str, type] = {"int": int, "float": float, "str": str}
    found = list(table)
    if any(None in row for row in found):
        raise ValueError("too many columns")
    types = {field.name: kinds[str(field.type)] for field in fields(Row)}
    return [Row(**{name: kind(row[name]) for name, kind in types.items()}) for row in found]
