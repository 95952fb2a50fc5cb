"""The native 1-bit engine: packed models on any processor, without PyTorch."""

from __future__ import annotations

from bimacosr.engine.backend import NativeBackend
from bimacosr.engine.native import instruction_sets, is_available

__all__ = ["NativeBackend", "instruction_sets", "is_available"]
