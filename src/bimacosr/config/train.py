"""Settings of a training: one recipe for a stage, in phases; every field can stand in its YAML."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from bimacosr.config.binarize import BinarizeSettings
from bimacosr.config.data import DataSettings
from bimacosr.config.diffusion import DiffusionSettings, DistillSettings
from bimacosr.config.edge import EdgeSettings
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.errors import OptionError

__all__ = [
    "LogSettings",
    "LossWeights",
    "ModelSettings",
    "OptimiserSettings",
    "PhaseSettings",
    "Stage",
    "TrainRecipe",
]

Stage = Literal["teacher", "distill", "binarize"]
"""ResShift's many-step network; SinSR's one-step student; its 1-bit student."""

Family = Literal["edge", "paper"]
"""EdgeNet on pixels, or the Swin-UNet in the latent of VQ-f4."""


def check_choice(owner: str, name: str, value: object, kind: object) -> None:
    """Raise OptionError if `value` is none of the names of the Literal `kind`."""
    if value not in get_args(kind):
        names = ", ".join(get_args(kind))
        raise OptionError(f"{owner}.{name} is {value!r}; it must be one of {names}")


def check_least(owner: str, least: float, **values: float) -> None:
    """Raise OptionError for the first of `values` that is below `least` (or not a number)."""
    for name, value in values.items():
        if not value >= least:
            raise OptionError(f"{owner}.{name} is {value}; it must be at least {least}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSettings:
    """The network to train, and the autoencoder in whose latent it works."""

    family: Family = "edge"
    """Which of the two groups below counts."""

    edge: EdgeSettings = field(default_factory=EdgeSettings)
    """Shape of the network of family "edge"; its autoencoder is a pixel shuffle."""

    unet: UNetSettings = field(default_factory=UNetSettings)
    """Shape of the network of family "paper"."""

    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    """Shape of the autoencoder of family "paper"; its enlargement is that of the training."""

    autoencoder_file: str = ""
    """Its checkpoint (.pth, .safetensors); family "paper" needs it. It is never trained."""

    def __post_init__(self) -> None:
        check_choice("ModelSettings", "family", self.family, Family)

    @property
    def scale(self) -> int:
        """Enlargement."""
        return self.edge.scale if self.family == "edge" else self.autoencoder.scale


@dataclass(frozen=True, kw_only=True, slots=True)
class LossWeights:
    """Weights of the terms of the loss, 0 and above; a term of weight 0 is not computed."""

    latent: float = 1.0
    """The stage's own loss: ResShift's (teacher), or SinSR's distillation (distill, binarize)."""

    l1: float = 0.0
    """Mean absolute error of the picture, whose values are in [0, 1]."""

    perceptual: float = 0.0
    """LPIPS with SqueezeNet on blurred, randomly shifted pictures; never what judges."""

    phase: float = 0.0
    """`phase_loss`: against the lattice of the pixel shuffle."""

    flat: float = 0.0
    """`flat_area_loss`: against grain where the truth is flat."""

    adversarial: float = 0.0
    """Belief of a patch discriminator, trained beside the network."""

    def __post_init__(self) -> None:
        check_least("LossWeights", 0, **{f.name: getattr(self, f.name) for f in fields(self)})
        if not any(getattr(self, f.name) for f in fields(self)):
            raise OptionError("LossWeights are all 0; give one of them a weight")

    @property
    def needs_picture(self) -> bool:
        """Whether a term looks at pictures rather than latents."""
        return any(getattr(self, f.name) for f in fields(self) if f.name != "latent")


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseSettings:
    """One stretch of a training, with a fresh optimiser and a learning rate of its own."""

    name: str = "main"
    """What the log calls it."""

    steps: int = 1000
    """Its length in optimiser steps, at least 1."""

    learning_rate: float = 1e-3
    """The highest rate of the phase, above 0."""

    schedule: Literal["cosine", "halving"] = "cosine"
    """Fall along a cosine to `final_rate`, or halve at each of `milestones`."""

    warmup: int = 200
    """Steps over which the rate rises from 0."""

    final_rate: float = 0.02
    """Rate at the end of a cosine as a share of `learning_rate`, 0 to 1."""

    milestones: tuple[int, ...] = ()
    """Steps of the phase after which the rate is halved (schedule "halving")."""

    weights: LossWeights = field(default_factory=LossWeights)
    """The loss."""

    teacher_share: float = 0.0
    """Share of the picture teacher's picture in what the picture terms compare with, 0 to 1; the
    rest is the true picture."""

    photo_share: float = 0.0
    """Share of photographs in what the discriminator takes as real where a picture teacher has a
    share, 0 to 1; the rest is what the picture terms compare with."""

    trains: Literal["all", "binary", "branches"] = "all"
    """Of a BiMaCoSR student: everything, everything but its low-rank and sparse branches, or these
    alone. Phases that alternate train the branches one after another, so that they do not learn the
    same thing (the idea of RaBiT, arXiv 2602.05367)."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_least(name, 1, steps=self.steps)
        check_least(name, 0, warmup=self.warmup)
        if not self.learning_rate > 0:
            raise OptionError(f"{name}.learning_rate is {self.learning_rate}; it must be above 0")
        for field_name in ("final_rate", "teacher_share", "photo_share"):
            if not 0 <= getattr(self, field_name) <= 1:
                value = getattr(self, field_name)
                raise OptionError(f"{name}.{field_name} is {value}; it must be from 0 to 1")
        check_choice(name, "schedule", self.schedule, Literal["cosine", "halving"])
        check_choice(name, "trains", self.trains, Literal["all", "binary", "branches"])


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimiserSettings:
    """AdamW and what stands around it."""

    betas: tuple[float, ...] = (0.9, 0.99)
    """Decay of the two moments, each 0 up to 1."""

    weight_decay: float = 0.0
    """Weight decay, 0 and above."""

    clip: float = 1.0
    """Largest norm of the gradient; 0 lets it be."""

    ema: float = 0.999
    """Decay of the averaged weights, 0 up to 1; it is lower in the first steps."""

    discriminator_rate: float = 2e-4
    """Learning rate of the discriminator, where there is one."""

    discriminator_memory: int = 0
    """How many old batches of results the discriminator sees again, kept every tenth step; half of
    what it takes as false is then old, so that no grain comes back that it has forgotten. Each
    process keeps its own; a checkpoint holds that of process 0. 0: none."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_least(name, 0, weight_decay=self.weight_decay, clip=self.clip, ema=self.ema)
        check_least(name, 0, discriminator_memory=self.discriminator_memory)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise OptionError(f"{name}.betas is {self.betas}; it must be two numbers in [0, 1)")
        if self.ema >= 1:
            raise OptionError(f"{name}.ema is {self.ema}; it must be below 1")
        if not self.discriminator_rate > 0:
            raise OptionError(
                f"{name}.discriminator_rate is {self.discriminator_rate}; it must be above 0"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class LogSettings:
    """What a run writes down, and how often."""

    every: int = 100
    """Steps between lines of the log, at least 1."""

    save_every: int = 1000
    """Steps between checkpoints, at least 1; the last step and every stop write one too."""

    keep: int = 3
    """How many checkpoints stay, the newest, at least 1."""

    pictures_every: int = 1000
    """Steps between sample pictures; 0 writes none."""

    pictures: int = 4
    """Pictures of a sample, at least 1."""

    tensorboard: bool = True
    """Write logs for TensorBoard as well, where it is installed."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_least(name, 1, every=self.every, save_every=self.save_every)
        check_least(name, 1, keep=self.keep, pictures=self.pictures)
        check_least(name, 0, pictures_every=self.pictures_every)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainRecipe:
    """One stage of the training, whole: what a checkpoint needs to be continued."""

    stage: Stage
    """Which stage it is."""

    model: ModelSettings = field(default_factory=ModelSettings)
    """The network."""

    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    """The chain; teacher and students share it."""

    weighted_mse: bool = False
    """Weigh ResShift's loss by the time step (stage "teacher")."""

    distill: DistillSettings = field(default_factory=DistillSettings)
    """Terms of the distillation loss (stages "distill", "binarize")."""

    binarize: BinarizeSettings = field(default_factory=BinarizeSettings)
    """How the layers become 1-bit (stage "binarize")."""

    data: DataSettings
    """The pairs to learn from. In a recipe, `low_quality` may be the name of a kind (such as
    "mixed"), and `seed` is that of the recipe where it is not given."""

    start: str = ""
    """Weights to begin with, a checkpoint or the folder of a run. A student of stage "distill"
    otherwise begins as its teacher; stage "binarize" needs it: the float student."""

    teacher: str = ""
    """The teacher, a checkpoint or the folder of a run; needed where `latent` has a weight."""

    picture_teacher: str = ""
    """Real-ESRGAN x4plus as ncnn's `.param`, with its `.bin` beside it; needed where
    `teacher_share` is above 0. Keep a `pool` for it: it takes seconds a picture on a CPU."""

    loss_weights: str = ""
    """Folder with `lpips_squeeze.safetensors`; needed where `perceptual` has a weight."""

    batch: int = 8
    """Samples of a step, over all devices, at least 1."""

    accumulate: int = 1
    """In how many parts each device computes its share of a step, to save memory; at least 1."""

    phases: tuple[PhaseSettings, ...] = (PhaseSettings(),)
    """The course of the training."""

    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    """How the weights are moved and averaged."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs the network under autocast; weights, losses and averages stay float32."""

    compile: bool = False
    """Compile the network with torch.compile; needs a C++ compiler on a CPU."""

    pool: int = 0
    """Keep the teacher's results on disk for this many samples, which then come round again; each
    is computed once, for all later stages too. 0: ever new samples, computed every time."""

    pool_folder: str = ""
    """Where that pool lies; default: the folder `teacher-pool` beside that of the run."""

    seed: int = 0
    """Every random number follows from it, the step and the sample's number."""

    log: LogSettings = field(default_factory=LogSettings)
    """What the run writes down."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        check_choice(name, "stage", self.stage, Stage)
        check_choice(name, "precision", self.precision, Literal["fp32", "bf16"])
        check_least(name, 1, batch=self.batch, accumulate=self.accumulate)
        check_least(name, 0, pool=self.pool, seed=self.seed)
        if not self.phases:
            raise OptionError(f"{name}.phases is empty; a training has at least one phase")
        if self.pool % self.batch:
            raise OptionError(
                f"{name}.pool is {self.pool}; it must be a multiple of the batch ({self.batch})"
            )

        multiple = self.model.unet.latent_multiple if self.model.family == "paper" else 1
        if self.data.patch % multiple:
            raise OptionError(
                f"{name}.data.patch is {self.data.patch}; the windows of this network need a"
                f" multiple of {multiple}"
            )
        if self.data.low_quality.scale != self.model.scale or self.data.low_quality.resize_back:
            raise OptionError(
                f"{name}.data makes pictures {self.data.low_quality.scale} times smaller"
                f"{', enlarged again' * self.data.low_quality.resize_back}; the network enlarges"
                f" {self.model.scale} times"
            )

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def needs_teacher(self) -> bool:
        """Whether the loss asks a teacher."""
        return self.stage != "teacher" and any(p.weights.latent for p in self.phases)
