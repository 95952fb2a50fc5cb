"""From a recipe to the stage that the loop trains: networks, codec, losses, files."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from bimacosr.binarize.registry import find_method
from bimacosr.checkpoints.load import load_autoencoder
from bimacosr.config.train import TrainRecipe
from bimacosr.diffusion.process import make_process
from bimacosr.errors import OptionError
from bimacosr.metrics.lpips import load_lpips
from bimacosr.networks.pixel_codec import PixelCodec
from bimacosr.train.discriminator import PatchDiscriminator, ResultMemory
from bimacosr.train.latents import Codec, LatentSpace
from bimacosr.train.picture_loss import PictureLoss
from bimacosr.train.picture_teacher import PictureTeacher
from bimacosr.train.pool import TeacherPool, digest_of
from bimacosr.train.recipe import plain_recipe
from bimacosr.train.rrdb import RRDBNet, load_ncnn
from bimacosr.train.stage import Stage
from bimacosr.train.student import StudentStage
from bimacosr.train.teacher import TeacherStage
from bimacosr.train.weights import fill, float_network, open_teacher, open_weights, plain_student

__all__ = ["build_stage"]

Notice = Callable[[str], None]


def build_stage(
    recipe: TrainRecipe, run: Path, device: torch.device, notice: Notice = lambda _: None
) -> Stage:
    """The stage that `recipe` describes, its modules on `device`.

    Args:
        recipe: What to train.
        run: Folder of the run; the pool of a teacher lies beside it.
        device: Where to train.
        notice: Told in a sentence what the user may not expect.

    Raises:
        OptionError: the recipe lacks what its stage needs.
        ModelError: weights are missing, damaged or do not fit.
    """
    if recipe.stage == "binarize":
        find_method(recipe.binarize.method)  # before anything is read or made
    torch.manual_seed(recipe.seed)
    space = open_space(recipe, device)
    losses = open_picture_loss(recipe, run, device)
    if recipe.stage == "teacher":
        network = float_network(recipe.model)
        if recipe.start:
            fill(network, open_weights(recipe.start))
        return TeacherStage(network.to(device), space, losses, weighted=recipe.weighted_mse)
    teacher, teacher_model = None, None
    if recipe.needs_teacher:
        if not recipe.teacher:
            raise OptionError(
                "the recipe names no teacher: give --teacher, or set the weight `latent` to 0 in"
                " every phase"
            )
        teacher, teacher_model = open_teacher(recipe)
        teacher = teacher.to(device)
    if recipe.stage == "binarize":
        if not recipe.start:
            raise OptionError("the recipe names no float student to begin with: give --start")
        network = plain_student(recipe)
    else:
        same = teacher is not None and teacher_model == recipe.model
        network = float_student(recipe, teacher if same else None, notice)
    network = network.to(device).requires_grad_(True)
    pool = open_pool(recipe, run, teacher)
    return StudentStage(network, teacher, space, losses, recipe.distill, pool)


def float_student(recipe: TrainRecipe, twin: nn.Module | None, notice: Notice) -> nn.Module:
    """The student of stage "distill": what the recipe starts from, else its teacher's copy."""
    if recipe.start:
        network = float_network(recipe.model)
        fill(network, open_weights(recipe.start))
        return network
    if twin is not None:
        return copy.deepcopy(twin).train()
    notice("the student has another shape than its teacher, and no start: it begins untrained")
    return float_network(recipe.model)


def open_space(recipe: TrainRecipe, device: torch.device) -> LatentSpace:
    """Codec and chain."""
    codec: Codec = PixelCodec(recipe.model.scale)
    if recipe.model.family == "paper":
        if not recipe.model.autoencoder_file:
            raise OptionError("family 'paper' needs model.autoencoder_file: give --autoencoder")
        path, settings = Path(recipe.model.autoencoder_file), recipe.model.autoencoder
        codec = load_autoencoder(path, settings=settings).to(device).requires_grad_(False)
    process = make_process(recipe.diffusion)
    return LatentSpace(codec, process, recipe.model.scale, autocast=recipe.precision == "bf16")


def open_picture_loss(recipe: TrainRecipe, run: Path, device: torch.device) -> PictureLoss:
    """The terms that look at pictures, with what the phases ask for."""
    perceptual, discriminator, memory, teacher = None, None, None, None
    if any(phase.weights.perceptual for phase in recipe.phases):
        if not recipe.loss_weights:
            raise OptionError(
                "a phase has a perceptual term, which needs lpips_squeeze.safetensors: give its"
                " folder as --loss-weights"
            )
        perceptual = load_lpips("squeeze", recipe.loss_weights, device)
    if any(phase.weights.adversarial for phase in recipe.phases):
        discriminator = PatchDiscriminator().to(device)
        if recipe.optimiser.discriminator_memory:
            memory = ResultMemory(recipe.optimiser.discriminator_memory)
    if any(phase.teacher_share for phase in recipe.phases):
        if not recipe.picture_teacher:
            raise OptionError(
                "a phase has a teacher_share, but the recipe names no picture_teacher: give"
                " --picture-teacher realesrgan-x4plus.param"
            )
        network = load_ncnn(RRDBNet(), Path(recipe.picture_teacher)).to(device)
        network = network.eval().requires_grad_(False)
        teacher = PictureTeacher(network, open_pool(recipe, run, network))
    return PictureLoss(perceptual, discriminator, memory, teacher, scale=recipe.model.scale)


def open_pool(recipe: TrainRecipe, run: Path, teacher: nn.Module | None) -> TeacherPool | None:
    """The kept results of the teacher; None where nothing is kept."""
    if not recipe.pool or teacher is None:
        return None
    plain = plain_recipe(recipe)
    data = {k: v for k, v in plain["data"].items() if k not in ("cache", "memory_mb", "limits")}
    facts = {
        "data": data,
        "diffusion": plain["diffusion"],
        "sampler": recipe.distill.teacher,
        "autoencoder": plain["model"]["autoencoder_file"],
        "seed": recipe.seed,
        "precision": recipe.precision,
    }
    folder = Path(recipe.pool_folder) if recipe.pool_folder else run.parent / "teacher-pool"
    return TeacherPool(folder, digest_of(facts, teacher))
