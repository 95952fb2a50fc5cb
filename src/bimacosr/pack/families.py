"""The float networks that packed models are made of, by family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from bimacosr.networks import swin
from bimacosr.networks.edge import EdgeNet
from bimacosr.networks.unet import build_unet
from bimacosr.pack.settings import restore_edge, restore_unet

__all__ = ["COMPUTED", "FAMILIES", "compute_buffers"]

COMPUTED = (".attn_mask", ".relative_position_index")
"""Endings of buffers that follow from the settings: no file holds them."""


def _edge(settings: dict[str, Any]) -> nn.Module:
    edge = restore_edge(settings)
    return EdgeNet(edge.channels, edge.blocks, edge.scale)


def _swin(settings: dict[str, Any]) -> nn.Module:
    return build_unet(restore_unet(settings))


FAMILIES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {"edge": _edge, "swin": _swin}
"""Makes the float network of a family from its settings."""


def compute_buffers(network: nn.Module) -> None:
    """Give a network that was built on the meta device its `COMPUTED` buffers."""
    for block in network.modules():
        if isinstance(block, swin.SwinBlock):
            block.attn.relative_position_index = swin.relative_position_index(block.window)
            if block.shift:
                side = round(block.get_buffer("attn_mask").shape[0] ** 0.5) * block.window
                block.attn_mask = swin.shift_mask(side, side, block.window, block.shift)
