"""Settings out of a packed file's header: each value of its type, none unknown, sizes bounded."""

from __future__ import annotations

import math
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from bimacosr.config.binarize import BinarizeSettings
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.edge import EdgeSettings
from bimacosr.config.networks import AutoencoderSettings, UNetSettings

__all__ = [
    "restore_autoencoder",
    "restore_binarization",
    "restore_diffusion",
    "restore_edge",
    "restore_settings",
    "restore_unet",
]

Settings = TypeVar("Settings")
Network = TypeVar("Network", UNetSettings, AutoencoderSettings)

_LARGEST = {
    "image_size": 512,
    "in_channels": 64,
    "out_channels": 64,
    "model_channels": 4096,
    "channel_mult": 64,
    "num_res_blocks": 16,
    "swin_depth": 16,
    "swin_embed_dim": 4096,
    "window_size": 32,
    "mlp_ratio": 16,
    "channels": 1024,
    "z_channels": 64,
    "embed_dim": 64,
    "n_embed": 1 << 20,
}
"""A header may ask for no larger network than this; each is several times the official one's."""

_MOST_LEVELS = 8


def restore_settings(
    kind: type[Settings], stored: dict[str, Any], *, complete: bool = False
) -> Settings:
    """The settings of type `kind` that JSON holds as `stored`.

    Args:
        kind: A dataclass of settings; its tuples are lists in JSON.
        stored: Its fields by name.
        complete: Take no default for a field that is missing.

    Raises:
        ValueError: a field is unknown, missing, or not of its type.
        OptionError: a value is out of its range.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(stored) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(unknown)}")
    values = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in stored:
            values[field.name] = _value(hints[field.name], stored[field.name], field.name)
        elif complete or (field.default is MISSING and field.default_factory is MISSING):
            raise ValueError(f"{kind.__name__}.{field.name} is missing")
    return kind(**values)


def restore_binarization(stored: dict[str, Any]) -> BinarizeSettings:
    """How the layers became 1-bit; no field may be missing. Raises as `restore_settings` does."""
    return restore_settings(BinarizeSettings, stored, complete=True)


def restore_diffusion(stored: dict[str, Any]) -> DiffusionSettings:
    """The chain. Raises as `restore_settings` does."""
    return restore_settings(DiffusionSettings, stored)


def restore_edge(stored: dict[str, Any]) -> EdgeSettings:
    """The network of family "edge". Raises as `restore_settings` does."""
    return restore_settings(EdgeSettings, stored)


def restore_unet(stored: dict[str, Any]) -> UNetSettings:
    """The network of family "swin"; no field may be missing.

    Raises:
        ValueError: as for `restore_settings`, or the network would be absurdly large.
        OptionError: a value is out of its range.
    """
    return _bounded(restore_settings(UNetSettings, stored, complete=True))


def restore_autoencoder(stored: dict[str, Any]) -> AutoencoderSettings:
    """The first stage of family "swin", or the network of family "vq"; no field may be missing.

    Raises:
        ValueError: as for `restore_settings`, or the network would be absurdly large, or its
            levels have different numbers of residual blocks.
        OptionError: a value is out of its range.
    """
    settings = _bounded(restore_settings(AutoencoderSettings, stored, complete=True))
    if settings.level_res_blocks is not None:
        raise ValueError("level_res_blocks is set; here all levels have equally many")
    return settings


def _bounded(settings: Network) -> Network:
    for name, most in _LARGEST.items():
        value = getattr(settings, name, 0)
        if (max(value) if isinstance(value, tuple) else value) > most:
            raise ValueError(f"{name} is {value}; a packed model has at most {most}")
    if len(settings.channel_mult) > _MOST_LEVELS:
        raise ValueError(f"it has {len(settings.channel_mult)} levels, more than {_MOST_LEVELS}")
    return settings


def _value(hint: Any, value: Any, name: str) -> Any:
    """`value` as JSON gives it, in the type `hint`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in arguments):
            return value
    elif origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _value(next(a for a in arguments if a is not type(None)), value, name)
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(_value(arguments[0], item, name) for item in value)
    elif is_dataclass(hint):
        if isinstance(value, dict):
            return restore_settings(hint, value, complete=True)  # type: ignore[arg-type]
    elif hint is float:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    elif type(value) is hint:
        return value
    shown = repr(value)
    raise ValueError(f"{name} is {shown if len(shown) <= 40 else shown[:40] + '...'}")
