"""Cutting a picture into overlapping tiles and joining the enlarged ones: two ways."""

from __future__ import annotations

from bimacosr.tiling.feathered import Block, Feathered, Span, Tile, blend, plan
from bimacosr.tiling.official import Official, average, plan_official

__all__ = [
    "Block",
    "Feathered",
    "Official",
    "Span",
    "Tile",
    "average",
    "blend",
    "plan",
    "plan_official",
]
