"""Settings out of JSON: of their types to the letter, or a ValueError that names the field."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.diffusion import DiffusionSettings
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.pack.settings import (
    restore_binarization,
    restore_diffusion,
    restore_edge,
    restore_settings,
    restore_unet,
)

RULE = KeepFloatRule(keywords=("first", "last"), max_parameters=9)


@pytest.mark.parametrize(
    "settings",
    [
        BinarizeSettings(keep_float_conv=(RULE, RULE), sign_of_zero=1),
        DiffusionSettings(timestep_respacing=4, kappa=0.5),
        UNetSettings(),
        AutoencoderSettings(),
        AutoencoderSettings(level_res_blocks=(1, 2, 3)),
    ],
)
def test_they_come_back_from_json(settings: Any) -> None:
    stored = json.loads(json.dumps(asdict(settings)))
    assert restore_settings(type(settings), stored, complete=True) == settings


def test_whole_numbers_stand_for_real_ones() -> None:
    assert restore_diffusion({"kappa": 0}).kappa == 0.0
    assert type(restore_diffusion({"kappa": 0}).kappa) is float


def test_what_is_missing_has_its_default() -> None:
    assert restore_edge({"channels": 16}).blocks == 12
    assert restore_diffusion({}) == DiffusionSettings()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": True}, "steps is True"),
        ({"steps": 15.0}, "steps is 15.0"),
        ({"steps": "15"}, "steps is '15'"),
        ({"steps": None}, "steps is None"),
        ({"steps": 1}, "steps is 1; it must be from 2"),
        ({"kappa": float("nan")}, "kappa is nan"),
        ({"kappa": float("inf")}, "kappa is inf"),
        ({"kappa": "2"}, "kappa is '2'"),
        ({"clip": 1}, "clip is 1"),
        ({"predict_type": "all"}, "predict_type is 'all'"),
        ({"predict_type": ["xstart"]}, "predict_type is "),
        ({"timestep_respacing": 2.5}, "timestep_respacing is 2.5"),
        ({"unknown": 1, "more": 2}, "DiffusionSettings has no more, unknown"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        restore_diffusion(asdict(DiffusionSettings()) | change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sign_of_zero": True}, "sign_of_zero is True"),
        ({"sign_of_zero": 2}, "sign_of_zero is 2"),
        ({"keep_float_conv": [{"keywords": ["a"]}]}, "KeepFloatRule.max_parameters is missing"),
        ({"keep_float_conv": [["a", 3]]}, "keep_float_conv is "),
        ({"keep_float_conv": {}}, "keep_float_conv is "),
        ({"keep_float_conv": [{"keywords": "a", "max_parameters": 1}]}, "keywords is 'a'"),
        ({"rank": "x" * 100}, r"rank is 'x{39}\.\.\.$"),
    ],
)
def test_a_wrong_binarization_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        restore_binarization(asdict(BinarizeSettings()) | change)


def test_a_network_and_a_binarization_have_no_defaults() -> None:
    with pytest.raises(ValueError, match=r"UNetSettings\.image_size is missing"):
        restore_unet({})
    with pytest.raises(ValueError, match=r"BinarizeSettings\.method is missing"):
        restore_binarization({})
