"""The settings that official data sets and degradations have, by kind of data set.

Only what one of the official files writes is listed; anything else is reported as unknown.
"""

from __future__ import annotations

from bimacosr.checkpoints.yaml_tree import Section
from bimacosr.config.degradation import BlurSettings, DegradationSettings, StageSettings
from bimacosr.config.official import DataSettings, PairSettings, Value

__all__ = ["DATA_KINDS", "read_data", "read_degradation_settings", "read_options", "read_pairs"]

_TRANSFORM = {
    "transform_type": "text",
    "transform_kwargs.mean": "number",
    "transform_kwargs.std": "number",
}
_FILES = {"im_exts": "text or texts", "recursive": "bool", "length": "int", "need_path": "bool"}
_BLUR = {
    "blur_kernel_size": "int",
    "kernel_list": "texts",
    "kernel_prob": "numbers",
    "sinc_prob": "number",
    "blur_sigma": "numbers",
    "betag_range": "numbers",
    "betap_range": "numbers",
}
_FACE_BLUR = ("blur_kernel_size", "kernel_list", "kernel_prob", "blur_sigma")
_BOX = {"max_times": "int", "min_times": "int"}
_MASK = {
    "irregular_proba": "number",
    **{f"irregular_kwargs.{k}": "int" for k in ("max_angle", "max_len", "max_width", *_BOX)},
    "box_proba": "number",
    **{f"box_kwargs.{k}": "int" for k in ("margin", "bbox_min_size", "bbox_max_size", *_BOX)},
    "outpainting_proba": "number",
    **{
        f"outpainting_kwargs.{k}": "number"
        for k in (
            "min_padding_percent",
            "max_padding_percent",
            "left_padding_prob",
            "top_padding_prob",
            "right_padding_prob",
            "bottom_padding_prob",
        )
    },
}

DATA_KINDS: dict[str, dict[str, str]] = {
    "realesrgan": {
        "dir_paths": "texts",
        "txt_file_path": "texts",
        "im_exts": "text or texts",
        "io_backend.type": "text",
        **_BLUR,
        **{f"{key}2": kind for key, kind in _BLUR.items()},
        "final_sinc_prob": "number",
        "gt_size": "int",
        "crop_pad_size": "int",
        "use_hflip": "bool",
        "use_rot": "bool",
        "rescale_gt": "bool",
    },
    "folder": {"dir_path": "text", "dir_path_extra": "text", **_TRANSFORM, **_FILES},
    "base": {
        "dir_path": "text",
        "extra_dir_path": "text",
        "extra_transform_type": "text",
        "extra_transform_kwargs.mean": "number",
        "extra_transform_kwargs.std": "number",
        **_TRANSFORM,
        **_FILES,
    },
    "bicubic": {
        "source_path": "text or texts",
        "source_txt_path": "text or texts",
        "degrade_kwargs.scale": "number",
        "degrade_kwargs.activate_matlab": "bool",
        "degrade_kwargs.resize_back": "bool",
        "degrade_kwargs.pch_size": "int",
        "degrade_kwargs.pass_smallmaxresize": "bool",
        "degrade_kwargs.pass_aug": "bool",
        "degrade_kwargs.pass_crop": "bool",
        **_TRANSFORM,
        **_FILES,
    },
    "gfpgan": {
        "dir_path": "text",
        "im_exts": "text or texts",
        "io_backend.type": "text",
        "use_hflip": "bool",
        "mean": "numbers",
        "std": "numbers",
        "out_size": "int",
        **{key: kind for key, kind in _BLUR.items() if key in _FACE_BLUR},
        "downsample_range": "numbers",
        "noise_range": "numbers",
        "jpeg_range": "numbers",
        "color_jitter_prob": "number",
        "color_jitter_pt_prob": "number",
        "gray_prob": "number",
        "gt_gray": "bool",
        "need_gt_path": "bool",
    },
    "inpainting": {
        "dir_path": "text",
        "txt_file_path": "text",
        "transform_kwargs.pch_size": "int",
        "transform_kwargs.max_value": "number",
        **_TRANSFORM,
        **_FILES,
        **{f"mask_kwargs.{key}": kind for key, kind in _MASK.items()},
    },
    "inpainting_val": {
        "lq_path": "text",
        "gt_path": "text",
        "mask_path": "text",
        **_TRANSFORM,
        **_FILES,
    },
}
"""For each kind of data set its settings, by dotted name, and what kind of value they have."""


def read_data(section: Section) -> DataSettings | None:
    """The data set of ``data.train`` or ``data.val``; None if the section is empty.

    Raises:
        OptionError: the kind of data set is not known, or a setting is of the wrong kind.
    """
    if not section.values:
        return None
    kind = section.choice("type", tuple(DATA_KINDS))
    return DataSettings(type=kind, options=read_options(section.section("params"), kind))


def read_options(section: Section, kind: str) -> tuple[tuple[str, Value], ...]:
    """The settings of a data set of that kind, in the order of the file, as dotted name and value.

    Raises:
        OptionError: a setting is of the wrong kind.
    """
    found: list[tuple[str, Value]] = []
    _collect(section, "", DATA_KINDS[kind], found)
    return tuple(found)


def _collect(
    section: Section, prefix: str, kinds: dict[str, str], found: list[tuple[str, Value]]
) -> None:
    for key, value in section.values.items():
        name = prefix + key
        if isinstance(value, dict) and any(known.startswith(f"{name}.") for known in kinds):
            _collect(section.section(key), f"{name}.", kinds, found)
        elif name in kinds:
            kind = kinds[name]
            if kind == "text or texts":
                kind = "texts" if isinstance(value, list) else "text"
            found.append((name, section.take(key, kind)))


def read_pairs(section: Section) -> PairSettings:
    """The settings of ``degradation`` that are not of the chain itself."""
    default = PairSettings()
    return PairSettings(
        gt_size=section.take("gt_size", "int", default.gt_size),
        resize_back=section.take("resize_back", "bool", default.resize_back),
        use_sharp=section.take("use_sharp", "bool", default.use_sharp),
    )


def read_degradation_settings(section: Section, kernels: Section) -> DegradationSettings:
    """The chain: ``degradation``, and the blur kernels, which a "realesrgan" data set draws.

    Raises:
        OptionError: a setting is missing, of the wrong kind, or out of its range.
    """
    return DegradationSettings(
        scale=section.need("sf", "int"),
        first=_stage(section, kernels, ""),
        second=_stage(section, kernels, "2"),
        second_probability=section.need("second_order_prob", "number"),
        final_sinc_probability=kernels.need("final_sinc_prob", "number"),
        first_resize_by_factor=True,
    )


def _stage(section: Section, kernels: Section, order: str) -> StageSettings:
    blurred = section.need("second_blur_prob", "number") if order else 1.0
    up, down, keep = section.numbers(f"resize_prob{order}", 3)
    return StageSettings(
        blur=_blur(kernels, order),
        blur_probability=blurred,
        resize_probabilities=(up, down, keep),
        resize_range=_range(section, f"resize_range{order}"),
        gaussian_probability=section.need(f"gaussian_noise_prob{order}", "number"),
        noise_sigma=_range(section, f"noise_range{order}"),
        poisson_scale=_range(section, f"poisson_scale_range{order}"),
        gray_probability=section.need(f"gray_noise_prob{order}", "number"),
        jpeg_quality=_range(section, f"jpeg_range{order}"),
    )


def _blur(kernels: Section, order: str) -> BlurSettings:
    largest = kernels.need(f"blur_kernel_size{order}", "int")
    return BlurSettings(
        sizes=tuple(range(3, min(largest, 1000), 2)),  # the official range ends before the largest
        kinds=kernels.need(f"kernel_list{order}", "texts"),
        probabilities=kernels.numbers(f"kernel_prob{order}"),
        sinc_probability=kernels.need(f"sinc_prob{order}", "number"),
        sigma=_range(kernels, f"blur_sigma{order}"),
        generalized_beta=_range(kernels, f"betag_range{order}"),
        plateau_beta=_range(kernels, f"betap_range{order}"),
    )


def _range(section: Section, key: str) -> tuple[float, float]:
    low, high = section.numbers(key, 2)
    return low, high
