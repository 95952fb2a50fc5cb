"""What a state dict is a state of: the network's shape and its binarization, from the keys alone.

Not everything is in the keys. XNOR, HORQ and ReSTE have those of a float network, ReActNet and BBCU
have equal ones, and the nominal `image_size` shows only in buffers (`detect_unet`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

from bimacosr.checkpoints.keys import binary_layers, float_layers
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.errors import ModelError, OptionError

__all__ = [
    "detect_autoencoder",
    "detect_binarization",
    "detect_unet",
    "detect_unet_settings",
    "kind_of",
    "methods_of",
]

State = Mapping[str, Tensor]
_TABLE = "attn.relative_position_bias_table"
_MAX_WINDOW, _MAX_IMAGE_SIZE = 32, 512
"""Masks and indices, which the file need not have, grow with these; officially 8 and 64."""

_BRANCHES = (".lora.A.weight", ".indices_float")


def kind_of(state: State) -> str:
    """ "unet" or "autoencoder".

    Raises:
        ModelError: it is neither, or a version of the UNet that we do not have.
    """
    if any(key.startswith("feature_extractor.") for key in state):
        raise ModelError(
            "it is a network of ResShift's later versions with a feature extractor for the"
            " low-quality picture (x2, faces, inpainting); bimacosr runs the networks without one,"
            " such as resshift_realsrx4_s15_v1, SinSR_v1 and BiMaCoSR"
        )
    if "time_embed.0.weight" in state and "input_blocks.0.0.weight" in state:
        return "unet"
    if "encoder.conv_in.weight" in state and "decoder.conv_in.weight" in state:
        return "autoencoder"
    raise ModelError(
        f"its keys ({', '.join(list(state)[:3])}, ...) are neither those of the denoiser of"
        " ResShift, SinSR or BiMaCoSR nor those of the VQ autoencoder"
    )


def detect_unet(state: State) -> tuple[UNetSettings, BinarizeSettings | None]:
    """Settings of the denoiser with this state, and of its binarization (None: float).

    `image_size` shows in the `attn_mask` buffers. Without masks the bottom level is taken for a
    single window, which is never shifted: so it is in every official network. A state without
    1-bit parameters is taken for a float network, although one of XNOR, HORQ or ReSTE has the same
    keys (`methods_of`).

    Raises:
        ModelError: a key is missing or has an impossible shape, or ReActNet and BBCU fit alike.
    """
    return detect_unet_settings(state), detect_binarization(state)


def detect_unet_settings(state: State) -> UNetSettings:
    """The shape of the denoiser; see `detect_unet`."""
    try:
        return _unet_settings(state)
    except KeyError as error:
        raise ModelError(f"it looks like a denoiser, but {error.args[0]} is missing") from error
    except (OptionError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ModelError(f"no denoiser has these shapes ({error})") from error


def _unet_settings(state: State) -> UNetSettings:
    width = state["time_embed.0.weight"].shape[1]
    levels = _levels(state)
    attention = {level: prefix for level, (_, prefix) in enumerate(levels) if prefix}
    swin = {len(levels) - 1: "middle_block.1"} | attention
    table = state[f"middle_block.1.blocks.0.{_TABLE}"]
    embed = state["middle_block.1.patch_embed.proj.weight"].shape[0]
    windows = {level: _window(state, prefix) for level, prefix in swin.items()}
    size = _image_size(state, windows, swin)
    hidden = state["middle_block.1.blocks.0.mlp.fc1.weight"].shape[0]
    modulation = state["input_blocks.1.0.emb_layers.1.weight"].shape[0]
    return UNetSettings(
        image_size=size,
        in_channels=state["input_blocks.0.0.weight"].shape[1],
        out_channels=state["out.2.weight"].shape[0],
        model_channels=width,
        channel_mult=tuple(_whole(channels[0], width) for channels, _ in levels),
        num_res_blocks=tuple(len(channels) for channels, _ in levels),
        attention_resolutions=tuple(size >> level for level in attention),
        swin_depth=_count(state, r"middle_block\.1\.blocks\.(\d+)\."),
        swin_embed_dim=embed,
        num_head_channels=_whole(embed, table.shape[1]),
        window_size=max(windows.values()),
        mlp_ratio=hidden / embed,
        use_scale_shift_norm=modulation == 2 * levels[0][0][0],
    )


def _levels(state: State) -> list[tuple[list[int], str | None]]:
    """For each level the channels of its residual blocks, and the name of its Swin layer."""
    levels: list[tuple[list[int], str | None]] = [([], None)]
    for entry in range(1, _count(state, r"input_blocks\.(\d+)\.")):
        prefix = f"input_blocks.{entry}"
        if f"{prefix}.0.op.weight" in state:
            levels.append(([], None))
            continue
        channels, swin = levels[-1]
        channels.append(state[f"{prefix}.0.in_layers.2.weight"].shape[0])
        if f"{prefix}.1.patch_embed.proj.weight" in state:
            levels[-1] = channels, swin or f"{prefix}.1"
    return levels


def _window(state: State, prefix: str) -> int:
    """Side of the window, from the (2w - 1)^2 rows of the position table."""
    rows = state[f"{prefix}.blocks.0.{_TABLE}"].shape[0]
    side = math.isqrt(rows)
    if side * side != rows or side % 2 == 0:
        raise ValueError(f"a position table of {rows} rows belongs to no square window")
    if side > 2 * _MAX_WINDOW:
        raise ValueError(f"a window of {(side + 1) // 2} is larger than {_MAX_WINDOW}")
    return (side + 1) // 2


def _image_size(state: State, windows: dict[int, int], swin: dict[int, str]) -> int:
    """Nominal size of the top level: from a mask, or such that the bottom is one window."""
    for level, prefix in swin.items():
        mask = state.get(f"{prefix}.blocks.1.attn_mask")
        if mask is not None:
            size = windows[level] * math.isqrt(mask.shape[0]) << level
            break
    else:
        size = windows[max(swin)] << max(swin)
    if size > _MAX_IMAGE_SIZE:
        raise ValueError(f"a nominal size of {size} is larger than {_MAX_IMAGE_SIZE}")
    return size


def detect_binarization(state: State, method: str | None = None) -> BinarizeSettings | None:
    """How the layers of this state became 1-bit; None if none shows that it did.

    Args:
        state: State of a denoiser.
        method: The method, where it is known.

    Raises:
        ModelError: several methods fit and `method` is None.
    """
    fitting = methods_of(state)
    if not binary_layers(state):
        return None
    if method is None and len(fitting) > 1:
        raise ModelError(
            f"its 1-bit layers are those of {' or '.join(map(str, fitting))}, which have the same"
            " parameters; say which, by a configuration or the method's name"
        )
    if not fitting:
        raise ModelError("its 1-bit layers are of no method that bimacosr knows")
    chosen = method or str(fitting[0])
    low_rank = [key for key in state if ".lora." in key]
    ranks = [min(state[key].shape[:2]) for key in low_rank]
    kept = float_layers(state)
    convolutions = [name for name in kept if state[f"{name}.weight"].ndim == 4]
    linear = [name for name in kept if state[f"{name}.weight"].ndim == 2]
    binary = binary_layers(state)
    any_linear = any(state[f"{name}.weight"].ndim == 2 for name in binary)
    return BinarizeSettings(
        method=chosen,
        low_rank=bool(low_rank) or chosen != "bimacosr",
        rank=max(ranks, default=BinarizeSettings().rank),
        sparse=any(key.endswith(".indices_float") for key in state) or chosen != "bimacosr",
        linear=any_linear,
        keep_float_conv=_rule(state, convolutions),
        keep_float_linear=_rule(state, linear) if any_linear else (),
    )


def _rule(state: State, names: list[str]) -> tuple[KeepFloatRule, ...]:
    """The rule that keeps just these layers: whole names, none of which is part of another."""
    if not names:
        return ()
    sizes = [
        sum(state[key].numel() for key in (f"{name}.weight", f"{name}.bias") if key in state)
        for name in names
    ]
    usual = KeepFloatRule(keywords=()).max_parameters
    return (KeepFloatRule(keywords=tuple(names), max_parameters=max(usual, *sizes)),)


def methods_of(state: State) -> tuple[str | None, ...]:
    """The methods whose layers have these parameters; None stands for a float network."""
    if not binary_layers(state):
        return (None, "xnor", "horq", "reste")
    if any(key.endswith(".fliter_k.weight") for key in state):
        return ("bidm",)
    dimensions = {value.ndim for key, value in state.items() if key.endswith(".move0.bias")}
    if dimensions == {2} or any(key.endswith(_BRANCHES) for key in state):
        return ("bimacosr",)
    if dimensions == {4}:
        return ("reactnet", "bbcu")
    return () if dimensions else ("bimacosr", "reactnet", "bbcu", "bidm")  # fully connected alone


def detect_autoencoder(state: State) -> AutoencoderSettings:
    """Settings of the VQ autoencoder with this state.

    Raises:
        ModelError: a key is missing or has an impossible shape, or it is another autoencoder.
    """
    try:
        return _autoencoder_settings(state)
    except KeyError as error:
        raise ModelError(
            f"it looks like a VQ autoencoder, but {error.args[0]} is missing"
        ) from error
    except (OptionError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ModelError(f"no VQ autoencoder has these shapes ({error})") from error


def _autoencoder_settings(state: State) -> AutoencoderSettings:
    width = state["encoder.conv_in.weight"].shape[0]
    levels = range(_count(state, r"encoder\.down\.(\d+)\."))
    blocks = [_count(state, rf"encoder\.down\.{i}\.block\.(\d+)\.") for i in levels]
    if len(set(blocks)) > 1:
        raise ModelError(
            f"its levels have {blocks} residual blocks (the autoencoder for faces has); bimacosr"
            " runs autoencoders with equally many at each level"
        )
    widths = [state[f"encoder.down.{i}.block.0.conv1.weight"].shape[0] for i in levels]
    codes, embed = state["quantize.embedding.weight"].shape
    return AutoencoderSettings(
        in_channels=state["encoder.conv_in.weight"].shape[1],
        out_channels=state["decoder.conv_out.weight"].shape[0],
        channels=width,
        channel_mult=tuple(_whole(channels, width) for channels in widths),
        num_res_blocks=blocks[0],
        z_channels=state["encoder.conv_out.weight"].shape[0],
        embed_dim=embed,
        n_embed=codes,
    )


def _count(state: State, pattern: str) -> int:
    """How many numbers, from 0 on without a gap, the keys have in the place of the group."""
    found = {int(match[1]) for key in state if (match := re.match(pattern, key))}
    if not found or max(found) >= len(found):
        raise ValueError(f"the keys {pattern} are not numbered from 0 on")
    return len(found)


def _whole(channels: int, width: int) -> int:
    if channels % width:
        raise ValueError(f"{channels} channels are no multiple of {width}")
    return channels // width
