"""The networks in an official configuration: denoiser, its 1-bit layers, first stage."""

from __future__ import annotations

from typing import Any

from bimacosr.checkpoints.yaml_tree import Section
from bimacosr.config.binarize import BinarizeSettings, KeepFloatRule
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.config.official import ConditionSettings
from bimacosr.errors import OptionError

__all__ = ["read_autoencoder", "read_binarization", "read_unet"]

_UNETS = ("models.unet.UNetModelSwin", "models.quant_unet.UNetModelSwinQuant")
_AUTOENCODERS = ("ldm.models.autoencoder.VQModelTorch",)

_UNET_KINDS = {
    "image_size": "int",
    "in_channels": "int",
    "out_channels": "int",
    "model_channels": "int",
    "channel_mult": "ints",
    "num_res_blocks": "ints",
    "attention_resolutions": "ints",
    "swin_depth": "int",
    "swin_embed_dim": "int",
    "num_head_channels": "int",
    "window_size": "int",
    "mlp_ratio": "number",
    "use_scale_shift_norm": "bool",
}

_METHODS = {
    "ours_with_skip_and_lora": "bimacosr",
    "XNOR": "xnor",
    "HORQ": "horq",
    "ReSTE": "reste",
    "reactnet": "reactnet",
    "BBCU": "bbcu",
    "BiDM": "bidm",
}
"""The part of an official layer's name after `BinaryConv2d_` or `BinaryLinear_`, and our name."""


def read_unet(section: Section) -> tuple[UNetSettings, ConditionSettings]:
    """The denoiser of ``model`` or ``model_teacher``, and how it sees the low-quality picture.

    Raises:
        OptionError: the class is not known, or a setting has a value that bimacosr does not have.
    """
    section.choice("target", _UNETS)
    params = section.section("params")
    for key, kind, only in (
        ("cond_lq", "bool", True),
        ("conv_resample", "bool", True),
        ("dims", "int", 2),
        ("dropout", "number", 0),
        ("patch_norm", "bool", False),
        ("resblock_updown", "bool", False),
        ("use_fp16", "bool", False),
    ):
        params.fixed(key, kind, only)
    given = params.given(_UNET_KINDS)
    condition = ConditionSettings(
        lq_size=params.take("lq_size", "int"), mask=params.take("cond_mask", "bool", False)
    )
    if condition.lq_size is not None:  # the later versions count the latent's channels alone
        own = given.get("in_channels", UNetSettings().out_channels)
        size = given.get("image_size", UNetSettings().image_size)
        given["in_channels"] = own + condition.channels(size)
    return UNetSettings(**given), condition


def read_binarization(params: Section) -> BinarizeSettings | None:
    """How ``model.params`` makes the denoiser's layers 1-bit; None if it does not.

    Raises:
        OptionError: the method is not known, or is another one for fully connected layers.
    """
    if "conv_quant_modules" not in params:
        return None
    method = _method(params, "conv_quant_modules", "BinaryConv2d_")
    linear = params.take("binary_linear", "bool", True)
    branches = _branches(params.section("conv_quant_config"), method)
    of_linear = _branches(params.section("linear_quant_config"), method)
    if linear:
        same = _method(params, "linear_quant_modules", "BinaryLinear_") == method
        if not same or of_linear != branches:
            raise OptionError(
                f"{params.name} binarizes convolutions and fully connected layers in two ways;"
                " bimacosr has one method, rank and choice of branches for both"
            )
    else:
        params.take("linear_quant_modules", "text")
    return BinarizeSettings(
        method=method,
        linear=linear,
        keep_float_conv=_rules(params, "which_fp_conv"),
        keep_float_linear=_rules(params, "which_fp_linear"),
        **branches,
    )


def _method(params: Section, key: str, prefix: str) -> str:
    name = params.choice(key, tuple(prefix + part for part in _METHODS))
    return _METHODS[name.removeprefix(prefix)]


def _branches(section: Section, method: str) -> dict[str, Any]:
    """Rank and branches, in our names; only BiMaCoSR has them."""
    if method != "bimacosr":
        return {}
    kinds = {"rank": "int", "if_LRMB": "bool", "if_SMB": "bool"}
    return section.given(kinds, if_LRMB="low_rank", if_SMB="sparse")


def _rules(params: Section, key: str) -> tuple[KeepFloatRule, ...]:
    rules = []
    for rule in params.sections(key):
        rule.fixed("use_for_fp", "text", "nn.Conv2d")
        millions = rule.need("param_threshold", "number")
        rules.append(
            KeepFloatRule(
                keywords=rule.need("skip_keywords", "texts"),
                max_parameters=round(millions * 1e6),
            )
        )
    return tuple(rules)


def read_autoencoder(section: Section) -> AutoencoderSettings:
    """The first stage of ``autoencoder``.

    Raises:
        OptionError: the class is not known, or a setting has a value that bimacosr does not have.
    """
    section.choice("target", _AUTOENCODERS)
    params = section.section("params")
    shape = params.section("ddconfig")
    shape.fixed("attn_resolutions", "ints", ())
    shape.fixed("double_z", "bool", False)
    shape.fixed("dropout", "number", 0)
    shape.fixed("padding_mode", "text", "zeros")
    shape.take("resolution", "int")  # of the training pictures; the network takes any
    given = params.given({"embed_dim": "int", "n_embed": "int"})
    kinds = {"in_channels": "int", "out_ch": "int", "z_channels": "int"}
    kinds |= {"ch": "int", "ch_mult": "ints"}
    given |= shape.given(kinds, out_ch="out_channels", ch="channels", ch_mult="channel_mult")
    if isinstance(shape.values.get("num_res_blocks"), list):
        given["level_res_blocks"] = shape.take("num_res_blocks", "ints")
    else:
        given |= shape.given({"num_res_blocks": "int"})
    return AutoencoderSettings(**given)
