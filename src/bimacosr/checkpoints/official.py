"""The configuration files of ResShift, SinSR and BiMaCoSR, as typed settings.

``target:`` strings choose from the tables here; nothing is imported by name. Settings that no
table has are listed in `OfficialConfig.unknown`.
"""

from __future__ import annotations

from pathlib import Path

from bimacosr.checkpoints.data_options import (
    read_data,
    read_degradation_settings,
    read_options,
    read_pairs,
)
from bimacosr.checkpoints.network_options import (
    read_autoencoder,
    read_binarization,
    read_unet,
)
from bimacosr.checkpoints.yaml_tree import Section, read_tree
from bimacosr.config.diffusion import DiffusionSettings, DistillSettings
from bimacosr.config.networks import UNetSettings
from bimacosr.config.official import (
    CheckpointFiles,
    DataSettings,
    OfficialConfig,
    OfficialDegradation,
    QuantizationOrder,
    TrainSettings,
)
from bimacosr.errors import OptionError

__all__ = ["OfficialConfig", "OfficialDegradation", "read_config", "read_degradation"]

_DIFFUSIONS = ("models.script_util.create_gaussian_diffusion",)
_TRAINERS = {"trainer.TrainerDifIR": "mse", "trainer.TrainerDifIRLPIPS": "mse+lpips"}


def read_config(path: Path) -> OfficialConfig:
    """An official configuration of a network.

    Args:
        path: A YAML file of at most 64 KiB, without aliases.

    Raises:
        OptionError: the file cannot be read, names a class that is not known, has a value that is
            out of its range or not supported, or has no network.
    """
    top = Section(read_tree(path))
    try:
        if "model" not in top and "degradation" in top:
            raise OptionError("it has no model: it describes a degradation alone")
        return _config(top)
    except OptionError as error:
        raise OptionError(f"the configuration {path} cannot be used: {error}") from error


def read_degradation(path: Path) -> OfficialDegradation:
    """An official configuration of a degradation alone (`degradation_testing_realesrgan.yaml`).

    Raises:
        OptionError: as for `read_config`.
    """
    top = Section(read_tree(path))
    try:
        section, kernels = top.section("degradation"), top.section("opts")
        chain = read_degradation_settings(section, kernels)
        data = DataSettings(type="realesrgan", options=read_options(kernels, "realesrgan"))
        pairs = read_pairs(section)
    except OptionError as error:
        raise OptionError(f"the configuration {path} cannot be used: {error}") from error
    return OfficialDegradation(degradation=chain, pairs=pairs, data=data, unknown=top.unknown())


def _config(top: Section) -> OfficialConfig:
    model, trainer = top.section("model"), top.section("trainer")
    unet, condition = read_unet(model)
    teacher, teacher_file = _teacher(top, model, unet)
    diffusion = top.section("diffusion")
    first_stage = top.section("autoencoder")
    training, validation = (top.section("data").section(part) for part in ("train", "val"))
    data = read_data(training)
    pairs = top.section("degradation")
    kernels = training.section("params") if data and data.type == "realesrgan" else None
    train = top.section("train")
    order = top.section("quantparameter")
    return OfficialConfig(
        unet=unet,
        condition=condition,
        binarize=read_binarization(model.section("params")),
        order=_order(order) if order.values else None,
        diffusion=_diffusion(diffusion),
        weighted_mse=diffusion.section("params").take("weighted_mse", "bool", False),
        distill=_distill(train) if teacher else None,
        teacher=teacher,
        autoencoder=read_autoencoder(first_stage) if first_stage.values else None,
        half_autoencoder=first_stage.take("use_fp16", "bool", False),
        scale=diffusion.section("params").need("sf", "int"),
        degradation=read_degradation_settings(pairs, kernels) if kernels and pairs.values else None,
        pairs=read_pairs(pairs) if pairs.values else None,
        training_data=data,
        validation_data=read_data(validation),
        train=_train(train) if train.values else None,
        trainer=_TRAINERS[trainer.choice("target", tuple(_TRAINERS))] if trainer.values else None,
        checkpoints=CheckpointFiles(
            unet=model.take("ckpt_path", "text"),
            teacher=teacher_file,
            autoencoder=first_stage.take("ckpt_path", "text"),
            initial=order.section("train").take("pretained_model", "text"),
        ),
        unknown=top.unknown(),
    )


def _teacher(
    top: Section, model: Section, student: UNetSettings
) -> tuple[UNetSettings | None, str | None]:
    """The teacher's network and file: those of `model_teacher`, or the student's own shape."""
    path = model.take("teacher_ckpt_path", "text")
    if "model_teacher" not in top:
        return (student if path else None), path
    section = top.section("model_teacher")
    section.take("ckpt_path", "text")
    return read_unet(section)[0], section.take("teacher_ckpt_path", "text", path)


def _order(section: Section) -> QuantizationOrder:
    default = QuantizationOrder()
    inference, train = section.section("inference"), section.section("train")
    return QuantizationOrder(
        inference=inference.take("if_quant", "bool", default.inference),
        inference_before_load=inference.take(
            "quant_before_load", "bool", default.inference_before_load
        ),
        train=train.take("if_quant", "bool", default.train),
        train_before_load=train.take("quant_before_load", "bool", default.train_before_load),
    )


def _diffusion(section: Section) -> DiffusionSettings:
    section.choice("target", _DIFFUSIONS)
    params = section.section("params")
    params.fixed("schedule_name", "text", "exponential")
    params.fixed("scale_factor", "number", 1.0)
    numbers = ("min_noise_level", "etas_end", "kappa")
    kinds = dict.fromkeys(("steps", "timestep_respacing"), "int") | dict.fromkeys(numbers, "number")
    kinds |= {"predict_type": "text", "normalize_input": "bool", "latent_flag": "bool"}
    power = params.section("schedule_kwargs").given({"power": "number"})
    return DiffusionSettings(**params.given(kinds), **power)


def _distill(train: Section) -> DistillSettings:
    default = DistillSettings()
    ancestral = train.take("distill_ddpm", "bool", False)
    return DistillSettings(
        teacher="ancestral" if ancestral else "deterministic",
        learn_inverse=train.take("learn_xT", "bool", default.learn_inverse),
        truth_weight=float(train.take("finetune_use_gt", "number", default.truth_weight)),
        covariance_weight=float(train.take("xT_cov_loss", "number", default.covariance_weight)),
        uncertainty=float(train.take("uncertainty_hyper", "number", default.uncertainty)),
        uncertainty_answers=train.take("uncertainty_num_aux", "int", default.uncertainty_answers),
        in_image_space=train.take("loss_in_image_space", "bool", default.in_image_space),
    )


def _train(section: Section) -> TrainSettings:
    kinds = dict.fromkeys(("lr", "lr_min", "weight_decay", "ema_rate"), "number")
    whole = ("warmup_iterations", "microbatch", "iterations", "seed", "num_workers")
    kinds |= dict.fromkeys((*whole, "prefetch_factor", "save_freq", "val_freq"), "int")
    kinds |= {"val_resolution": "int", "milestones": "ints", "batch": "ints", "log_freq": "ints"}
    kinds |= {"lr_schedule": "text", "val_padding_mode": "text", "loss_coef": "numbers"}
    switches = ("global_seeding", "use_fp16", "use_amp", "save_images", "local_logging")
    kinds |= dict.fromkeys((*switches, "tf_logging", "use_ema_val", "val_y_channel"), "bool")
    compiled = section.section("compile")
    return TrainSettings(
        **section.given(kinds),
        compile_flag=compiled.take("flag", "bool", False),
        compile_mode=compiled.take("mode", "text"),
    )
