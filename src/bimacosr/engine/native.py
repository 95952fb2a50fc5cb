"""The compiled module, or one sentence why it cannot be had."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from bimacosr.errors import BackendError

__all__ = ["choose_instruction_set", "instruction_sets", "is_available", "open_native"]


def open_native() -> ModuleType:
    """The extension module.

    Raises:
        BackendError: it is not built for this Python, or it cannot be loaded.
    """
    try:
        return import_module("bimacosr.engine._native")
    except ImportError as error:
        raise BackendError(
            f"the native engine is not in this installation ({error}); install bimacosr anew, or "
            "use the torch backend: pip install 'bimacosr[torch]' and --backend torch"
        ) from error


def is_available() -> bool:
    """Whether the extension module is there for this Python."""
    return find_spec("bimacosr.engine._native") is not None


def instruction_sets() -> list[str]:
    """What this machine can run, best first: of amx, avx512, avx2, neon, scalar.

    Raises:
        BackendError: there is no engine.
    """
    names: list[str] = open_native().instruction_sets()
    return names


def choose_instruction_set(name: str | None = None) -> str:
    """The instruction set to use: `name`, else BIMACOSR_ISA, else "auto", the best for each layer.

    Raises:
        BackendError: this machine does not have it.
    """
    wanted = name or os.environ.get("BIMACOSR_ISA") or "auto"
    found = instruction_sets()
    if wanted not in ("auto", *found):
        raise BackendError(
            f"this machine cannot run the instruction set {wanted!r}; it has {', '.join(found)}"
        )
    return wanted
