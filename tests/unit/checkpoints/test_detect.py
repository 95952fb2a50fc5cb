"""What a state tells about its network, for shapes other than the official ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bimacosr.binarize.convert import binarize, layers_to_replace
from bimacosr.checkpoints.detect import (
    detect_autoencoder,
    detect_binarization,
    detect_unet,
    detect_unet_settings,
    kind_of,
    methods_of,
)
from bimacosr.checkpoints.keys import binary_layers, float_layers
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.errors import ModelError
from bimacosr.networks.unet import build_unet
from bimacosr.networks.vq import build_autoencoder

State = dict[str, Tensor]


def shapes(settings: UNetSettings, student: BinarizeSettings | None = None) -> State:
    with torch.device("meta"):
        network = build_unet(settings)
        return (binarize(network, student) if student else network).state_dict()


SHAPES: list[dict[str, Any]] = [
    {},
    {"in_channels": 11, "out_channels": 8},
    {"use_scale_shift_norm": True},
    {"attention_resolutions": (16, 8)},
    {"attention_resolutions": (8,)},
    {"attention_resolutions": ()},
    {"swin_embed_dim": 64, "num_head_channels": 8, "mlp_ratio": 1.5},
    {"swin_depth": 3},
    {"window_size": 4},
    {"channel_mult": (2,), "num_res_blocks": (3,), "image_size": 16},
    {"channel_mult": (1, 1, 3, 2), "num_res_blocks": (1, 1, 2, 1), "image_size": 32},
]


@pytest.mark.parametrize("change", SHAPES, ids=str)
def test_any_shape_is_found(unet_settings: UNetSettings, change: dict[str, Any]) -> None:
    if "channel_mult" in change:
        change = {"attention_resolutions": (change["image_size"],)} | change
    settings = replace(unet_settings, **change)
    assert detect_unet_settings(shapes(settings)) == settings


class TestNominalSize:
    """No weight depends on it: masks tell it, and without masks one bottom window is assumed."""

    def without(self, settings: UNetSettings, *endings: str) -> State:
        return {k: v for k, v in shapes(settings).items() if not k.endswith(endings)}

    @pytest.mark.parametrize(
        "endings", [(".attn_mask",), (".attn_mask", ".relative_position_index")]
    )
    @pytest.mark.parametrize("window", [8, 16])
    def test_the_bottom_is_one_window(
        self, unet_settings: UNetSettings, window: int, endings: tuple[str, ...]
    ) -> None:
        settings = replace(unet_settings, window_size=window)
        assert detect_unet_settings(self.without(settings, *endings)) == settings

    def test_otherwise_only_masks_tell_it(self, unet_settings: UNetSettings) -> None:
        settings = replace(unet_settings, image_size=32, attention_resolutions=(32,))
        assert detect_unet_settings(shapes(settings)) == settings
        assert detect_unet_settings(self.without(settings, ".attn_mask")) == unet_settings


class TestKindOf:
    def test_nothing_known(self) -> None:
        state = {"conv.weight": torch.ones(1), "fc.weight": torch.ones(1)}
        with pytest.raises(
            ModelError, match=r"its keys \(conv\.weight, fc\.weight, \.\.\.\) are nei"
        ):
            kind_of(state)

    def test_both(self, unet_state: State, vq_state: State) -> None:
        assert kind_of(unet_state) == "unet"
        assert kind_of(vq_state) == "autoencoder"


class TestBinarization:
    @pytest.mark.parametrize("method", ["bimacosr", "bidm", "reactnet", "bbcu"])
    @pytest.mark.parametrize("linear", [True, False])
    def test_layers_that_stay_float(
        self, unet_settings: UNetSettings, method: str, linear: bool
    ) -> None:
        rule = KeepFloatRule(keywords=("input_blocks.0.0", "out.2", "middle_block"))
        small = KeepFloatRule(keywords=("emb_layers",), max_parameters=5000)
        told = BinarizeSettings(
            method=method,
            linear=linear,
            keep_float_conv=(rule,),
            keep_float_linear=(small,) if linear else (),
        )
        state = shapes(unet_settings, told)
        found = detect_binarization(state, method)
        assert found is not None
        assert found.method == method
        assert found.linear is linear
        with torch.device("meta"):
            network = build_unet(unet_settings)
        assert layers_to_replace(network, found) == layers_to_replace(network, told)
        assert binary_layers(state) == set(layers_to_replace(network, told))
        assert set(float_layers(state)).isdisjoint(binary_layers(state))

    def test_a_large_layer_that_stays_float(self, unet_settings: UNetSettings) -> None:
        rule = KeepFloatRule(keywords=("out_layers",), max_parameters=10**9)
        wide = replace(unet_settings, model_channels=256, swin_embed_dim=32)
        found = detect_binarization(shapes(wide, BinarizeSettings(keep_float_conv=(rule,))))
        assert found is not None
        assert found.keep_float_conv[0].max_parameters > 9 * 256 * 256

    @pytest.mark.parametrize("rank", [1, 8, 31])
    def test_rank(self, unet_settings: UNetSettings, rank: int) -> None:
        rule = KeepFloatRule(keywords=("input_blocks.0.0", "out.2"))
        told = BinarizeSettings(rank=rank, keep_float_conv=(rule,))
        assert detect_binarization(shapes(unet_settings, told)) == told

    def test_only_fully_connected_layers(self, unet_settings: UNetSettings) -> None:
        every = KeepFloatRule(keywords=("",), max_parameters=10**9)
        plain = BinarizeSettings(keep_float_conv=(every,), low_rank=False, sparse=False)
        state = shapes(unet_settings, plain)
        assert methods_of(state) == ("bimacosr", "reactnet", "bbcu", "bidm")
        assert methods_of(shapes(unet_settings, replace(plain, sparse=True))) == ("bimacosr",)

    def test_a_float_network_has_none(self, unet_state: State) -> None:
        assert detect_binarization(unet_state) is None
        assert methods_of(unet_state) == (None, "xnor", "horq", "reste")

    def test_offsets_of_an_unknown_shape(self, unet_state: State) -> None:
        strange = {"out.2.move0.bias": torch.zeros(3)}
        with pytest.raises(ModelError, match="of no method"):
            detect_binarization(unet_state | strange)


class TestDamagedStates:
    @pytest.mark.parametrize("key", ["out.2.weight", "middle_block.1.patch_embed.proj.weight"])
    def test_a_missing_key(self, unet_state: State, key: str) -> None:
        del unet_state[key]
        with pytest.raises(ModelError, match=f"{key} is missing"):
            detect_unet(unet_state)

    @pytest.mark.parametrize(
        ("key", "shape"),
        [
            ("time_embed.0.weight", (128, 33)),
            ("time_embed.0.weight", (128,)),
            ("time_embed.0.weight", (128, 0)),
            ("middle_block.1.blocks.0.attn.relative_position_bias_table", (224, 2)),
            ("middle_block.1.blocks.0.attn.relative_position_bias_table", (225, 0)),
            ("middle_block.1.blocks.0.attn.relative_position_bias_table", (399**2, 1)),
            ("input_blocks.1.1.blocks.1.attn_mask", (10**6,)),
            ("input_blocks.1.0.in_layers.2.weight", (33, 32, 3, 3)),
        ],
    )
    def test_an_impossible_shape(self, unet_state: State, key: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(ModelError, match="no denoiser has these shapes"):
            detect_unet(unet_state | {key: torch.zeros(shape)})

    def test_a_number_that_would_fill_the_memory(self, unet_state: State, vq_state: State) -> None:
        """A single key claims a thousand million blocks."""
        many = {"input_blocks.999999999.0.op.weight": torch.zeros(1)}
        with pytest.raises(ModelError, match="not numbered from 0 on"):
            detect_unet(unet_state | many)
        many = {"encoder.down.0.block.999999999.norm1.weight": torch.zeros(1)}
        with pytest.raises(ModelError, match="not numbered from 0 on"):
            detect_autoencoder(vq_state | many)


class TestAutoencoder:
    @pytest.mark.parametrize(
        "change",
        [
            {},
            {"in_channels": 1, "out_channels": 4},
            {"channel_mult": (1, 1, 2, 4)},
            {"z_channels": 8},
        ],
        ids=str,
    )
    def test_any_shape_is_found(
        self, vq_settings: AutoencoderSettings, change: dict[str, Any]
    ) -> None:
        settings = replace(vq_settings, **change)
        with torch.device("meta"):
            state = build_autoencoder(settings).state_dict()
        assert detect_autoencoder(state) == settings

    def test_one_without_codes(self, vq_state: State) -> None:
        del vq_state["quantize.embedding.weight"]
        with pytest.raises(ModelError, match=r"quantize\.embedding\.weight is missing"):
            detect_autoencoder(vq_state)

    def test_levels_of_different_depth(self, vq_state: State) -> None:
        more = {"encoder.down.1.block.1.norm1.weight": torch.zeros(64)}
        with pytest.raises(ModelError, match=r"its levels have \[1, 2\] residual blocks"):
            detect_autoencoder(vq_state | more)
