"""The models that ship inside the package. A new one is a file beside this and a row here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bimacosr.errors import ModelError

__all__ = ["DEFAULT_MODEL", "MODELS", "ModelEntry", "find_model"]

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    """A model in the catalogue."""

    name: str
    """What the user calls it."""

    file: str
    """Packed file in this folder; its card is the same name with `.md`."""

    summary: str
    """One line for `bimacosr info`."""

    @property
    def path(self) -> Path:
        """Where the packed file lies."""
        return _FOLDER / self.file


MODELS = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="edge-x4",
            file="edge-x4.safetensors",
            summary="photographs, 4x, one step, 1-bit",
        ),
    )
}

DEFAULT_MODEL = "edge-x4"


def find_model(name_or_file: str | Path) -> Path:
    """Path of a packed model: a name of the catalogue, or a file.

    Raises:
        ModelError: neither.
    """
    name = str(name_or_file)
    if name == "default":
        name = DEFAULT_MODEL
    if name in MODELS:
        return MODELS[name].path
    try:
        if Path(name).is_file():
            return Path(name)
    except (OSError, ValueError) as error:
        raise ModelError(f"the model {name} cannot be read: {error}") from error
    raise ModelError(
        f"there is no model {name!r}: give one of {', '.join(MODELS)}, or a packed model file"
    )
