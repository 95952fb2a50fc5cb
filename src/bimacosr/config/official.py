"""Settings of an official YAML that no other file here holds: training, data, files, conditions.

The names of the fields are those of the official configurations.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bimacosr.config.binarize import BinarizeSettings
from bimacosr.config.degradation import DegradationSettings
from bimacosr.config.diffusion import DiffusionSettings, DistillSettings
from bimacosr.config.networks import AutoencoderSettings, UNetSettings
from bimacosr.errors import OptionError

__all__ = [
    "CheckpointFiles",
    "ConditionSettings",
    "DataSettings",
    "OfficialConfig",
    "OfficialDegradation",
    "PairSettings",
    "QuantizationOrder",
    "TrainSettings",
    "Value",
]

Value = str | int | float | bool | None | tuple["str | int | float", ...]
"""What an option of a data section can be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConditionSettings:
    """How the denoiser is shown the low-quality picture."""

    lq_size: int | None = None
    """Side of the low-quality picture in training, in pixels; None or the latent's side: it is
    put beside the latent as it is. ResShift's later versions know larger ones."""

    mask: bool = False
    """A mask of the missing part is a fourth channel (inpainting; officially `cond_mask`)."""

    def channels(self, image_size: int) -> int:
        """Channels put beside a latent of that nominal side.

        A larger picture goes through a feature extractor that halves it until it has the latent's
        size: 16 channels at first, twice as many after each halving.

        Raises:
            OptionError: `lq_size` is no power of two times `image_size`.
        """
        size = self.lq_size or image_size
        if size == image_size:
            return 4 if self.mask else 3
        halvings = (size // max(1, image_size)).bit_length() - 1
        if halvings < 1 or image_size << halvings != size:
            raise OptionError(
                f"ConditionSettings.lq_size is {size}; it must be {image_size} (image_size) times"
                " a power of two"
            )
        return 16 << halvings


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointFiles:
    """Paths of checkpoints as the configuration writes them; nothing here opens them."""

    unet: str | None = None
    """Where the training goes on from (officially `model.ckpt_path`)."""

    teacher: str | None = None
    """The teacher of a distillation (officially `teacher_ckpt_path`)."""

    autoencoder: str | None = None
    """The first stage."""

    initial: str | None = None
    """The float network a student is made of (officially `quantparameter.train.pretained_model`,
    spelled so)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizationOrder:
    """When the official code makes layers 1-bit (`quantparameter`)."""

    inference: bool = True
    """Binarize for inference."""

    inference_before_load: bool = True
    """Replace the layers before the weights are loaded: the checkpoint is a student's."""

    train: bool = True
    """Binarize for training."""

    train_before_load: bool = False
    """The same for training; off, the checkpoint is a float network's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairSettings:
    """What becomes of a degraded pair (`degradation`)."""

    gt_size: int = 256
    """Side of the clean picture, pixels."""

    resize_back: bool = False
    """Enlarge the degraded picture to the clean one's size again."""

    use_sharp: bool = False
    """Sharpen the clean picture before it is degraded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """Where pictures come from and how they are made ready (`data.train`, `data.val`)."""

    type: str
    """Name of the data set class, such as "realesrgan" or "folder"."""

    options: tuple[tuple[str, Value], ...] = ()
    """Its settings by dotted name, in the order of the file; their names and kinds are checked."""

    def option(self, name: str, default: Value = None) -> Value:
        """The option of that dotted name, or `default`."""
        return dict(self.options).get(name, default)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """The course of a training (`train`)."""

    lr: float = 2e-5
    """Learning rate, above 0."""

    lr_min: float | None = None
    """Learning rate at the end of a schedule."""

    lr_schedule: str | None = None
    """"cosin" (as officially spelled) lets the rate fall to `lr_min`; None keeps it."""

    warmup_iterations: int = 0
    """Steps over which the rate rises from 0."""

    milestones: tuple[int, ...] = ()
    """The first is the length of the rise; at each later one the rate is halved."""

    batch: tuple[int, int] = (8, 8)
    """Pictures of a step in training and in validation."""

    microbatch: int = 8
    """Pictures of a forward pass on one device."""

    iterations: int = 200_000
    """Number of steps."""

    weight_decay: float = 0.0
    """Weight decay of AdamW, 0 and above."""

    ema_rate: float | None = 0.999
    """Decay of the averaged weights, 0 to 1; None: no average."""

    loss_coef: tuple[float, ...] | None = None
    """Weights of the squared error and of LPIPS; None: squared error alone."""

    seed: int = 123456
    """Seed of the random numbers."""

    global_seeding: bool = False
    """Give all devices one seed."""

    num_workers: int = 16
    """Processes that load pictures."""

    prefetch_factor: int = 4
    """Batches that each of them holds ready."""

    use_fp16: bool = False
    """Train in float16 (older versions)."""

    use_amp: bool = False
    """Train in mixed precision."""

    compile_flag: bool = False
    """Compile the network (officially `compile.flag`)."""

    compile_mode: str | None = None
    """How (officially `compile.mode`)."""

    save_freq: int = 10_000
    """Steps between checkpoints."""

    val_freq: int = 10_000
    """Steps between validations."""

    log_freq: tuple[int, ...] = ()
    """Steps between log lines, logged pictures, and logged validation pictures."""

    save_images: bool = False
    """Write logged pictures as files."""

    local_logging: bool = False
    """Write logs as files."""

    tf_logging: bool = False
    """Write logs for TensorBoard."""

    use_ema_val: bool = False
    """Validate the averaged weights."""

    val_y_channel: bool = False
    """Measure on luma."""

    val_resolution: int | None = None
    """Side of validation pictures, pixels."""

    val_padding_mode: str | None = None
    """How validation pictures are padded."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        for rate in ("lr", "iterations", "microbatch", "save_freq", "val_freq"):
            if not getattr(self, rate) > 0:
                raise OptionError(f"{name}.{rate} is {getattr(self, rate)}; it must be above 0")
        if len(self.batch) != 2 or min(self.batch) < 1:
            raise OptionError(f"{name}.batch is {self.batch}; it must be two numbers of at least 1")
        if self.ema_rate is not None and not 0 <= self.ema_rate <= 1:
            raise OptionError(f"{name}.ema_rate is {self.ema_rate}; it must be from 0 to 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class OfficialDegradation:
    """An official file about the degradation alone."""

    degradation: DegradationSettings
    """The chain."""

    pairs: PairSettings
    """What becomes of its result."""

    data: DataSettings
    """Where pictures come from (officially `opts`)."""

    unknown: tuple[str, ...] = ()
    """Dotted names of settings that are not known, to be told to the user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OfficialConfig:
    """An official configuration file."""

    unet: UNetSettings
    """The denoiser; its `in_channels` counts latent and condition together."""

    condition: ConditionSettings = field(default_factory=ConditionSettings)
    """How it is shown the low-quality picture."""

    binarize: BinarizeSettings | None = None
    """How its layers become 1-bit; None: a float network."""

    order: QuantizationOrder | None = None
    """When they do; None: the file does not say."""

    diffusion: DiffusionSettings
    """The chain."""

    weighted_mse: bool = False
    """Weigh ResShift's loss by the time step."""

    distill: DistillSettings | None = None
    """Terms of the distillation loss; None: no teacher, so nothing is distilled."""

    teacher: UNetSettings | None = None
    """The teacher's denoiser; None: no teacher."""

    autoencoder: AutoencoderSettings | None = None
    """The first stage; None: the chain runs on pixels."""

    half_autoencoder: bool = False
    """Run the first stage in float16, as the official code does on a GPU."""

    scale: int = 4
    """Enlargement (officially `sf`)."""

    degradation: DegradationSettings | None = None
    """The chain that makes low-quality pictures; None: the data set brings its own or none."""

    pairs: PairSettings | None = None
    """What becomes of its result."""

    training_data: DataSettings | None = None
    """Pictures to learn from."""

    validation_data: DataSettings | None = None
    """Pictures to validate on."""

    train: TrainSettings | None = None
    """The course of the training."""

    trainer: str | None = None
    """"mse" or "mse+lpips", the losses of ResShift's two trainers; None: the file does not say."""

    checkpoints: CheckpointFiles = field(default_factory=CheckpointFiles)
    """The files it names."""

    unknown: tuple[str, ...] = ()
    """Dotted names of settings that are not known, to be told to the user."""
