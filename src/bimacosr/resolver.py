"""What a program uses: load a model once, enlarge pictures of any kind with it.

resolver = bimacosr.load()
large = resolver(image)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from bimacosr.config.picture import OutputSettings, PictureLimits
from bimacosr.config.upscale import SamplingSettings, UpscaleSettings
from bimacosr.errors import BackendError, ModelError, OptionError, ReadError
from bimacosr.io.memory import from_array, from_pillow
from bimacosr.io.picture import Picture, read_picture
from bimacosr.io.writer import check_target, write_picture
from bimacosr.models.catalogue import DEFAULT_MODEL, find_model
from bimacosr.pack.format import PackedModel, is_packed, read_packed
from bimacosr.upscale import Backend, Notice, Progress, enlarge, warn

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["BACKENDS", "SuperResolver", "beside", "load"]

BACKENDS = ("auto", "native", "torch")
"""Names that `load` takes."""


class SuperResolver:
    """A model that is ready to enlarge pictures; safe to call from several threads.

    Args:
        backend: Runs the network.
        model: The packed model that it runs; None for weights of the paper family.
        settings: What a call uses unless it says otherwise.
        notice: Told what the user should know though nothing failed; without it, a `UserWarning`.
    """

    def __init__(
        self,
        backend: Backend,
        model: PackedModel | None,
        settings: UpscaleSettings,
        notice: Notice | None = None,
    ) -> None:
        self.backend = backend
        self.model = model
        self.settings = settings
        self.notice = notice or warn

    @property
    def scale(self) -> int:
        """Enlargement that the model was trained for."""
        return self.backend.scale

    @overload
    def __call__(self, picture: Image.Image, /, **options: Any) -> Image.Image: ...
    @overload
    def __call__(self, picture: npt.NDArray[Any], /, **options: Any) -> npt.NDArray[Any]: ...
    @overload
    def __call__(self, picture: str | Path, /, **options: Any) -> Path: ...

    def __call__(
        self,
        picture: Any,
        /,
        *,
        out: str | Path | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Any:
        """Enlarge a picture; the result is of the same kind.

        Args:
            picture: A Pillow image, as its pixels lie (EXIF orientation is applied to files only);
                a numpy array (H x W, or H x W x 1 to 4, uint8, uint16, or floats in [0, 1]); or
                the path of a file.
            out: For a path, where to write; without it, beside the input as `NAME_x4.EXT`. An
                existing file is replaced, but never the input.
            progress: Called with the number of tiles done and their total.
            **options: Fields of `UpscaleSettings` for this call: seed, tile, threads, scale,
                width, height.

        Returns:
            An image, an array of the same type and axes, or the path that was written.

        Raises:
            BimacosrError: one of its kinds; see `bimacosr.errors`.
        """
        settings = _changed(self.settings, options)
        if isinstance(picture, str | os.PathLike):
            source = Path(picture)
            if not source.name:
                raise ReadError(f"{picture!r} names no picture; give the path of a file")
            target = Path(out) if out is not None else beside(source, settings, self.scale)
            self.enlarge_file(source, target, settings=settings, progress=progress)
            return target
        if out is not None:
            raise OptionError("out is only for a path; the result of an image or array is returned")
        back: Callable[[Picture], Any]
        if isinstance(picture, np.ndarray):
            small, back = from_array(picture)
        elif hasattr(picture, "mode") and hasattr(picture, "convert"):
            small, back = from_pillow(picture)
        else:
            raise ReadError(
                f"a {type(picture).__name__} is no picture: give a Pillow image, a numpy array or "
                "the path of a file"
            )
        return back(self.enlarge(small, settings, progress))

    def enlarge_file(
        self,
        source: Path,
        target: Path,
        *,
        settings: UpscaleSettings | None = None,
        written: OutputSettings | None = None,
        limits: PictureLimits | None = None,
        progress: Progress | None = None,
    ) -> tuple[int, int]:
        """Enlarge the file `source` into the file `target`, which is replaced if it exists.

        Returns:
            Height and width of the result in pixels.

        Raises:
            BimacosrError: one of its kinds; `target` is then as it was.
        """
        settings, written = settings or self.settings, written or OutputSettings()
        if os.path.realpath(target) == os.path.realpath(source):
            raise OptionError(f"the result of {source} would replace it; give another name as out")
        picture = read_picture(source, limits or PictureLimits())
        height, width = picture.pixels.shape[:2]
        size = settings.target_size(height, width, self.scale)
        check_target(target, size, written)
        large = enlarge(
            picture,
            self.backend,
            settings,
            progress=progress,
            notice=lambda message: self.notice(f"{source}: {message}"),
        )
        write_picture(target, large, settings=written)
        return size

    def enlarge(
        self,
        picture: Picture,
        settings: UpscaleSettings | None = None,
        progress: Progress | None = None,
    ) -> Picture:
        """Enlarge a decoded picture, with its alpha and metadata."""
        return enlarge(
            picture,
            self.backend,
            settings or self.settings,
            progress=progress,
            notice=self.notice,
        )


def load(
    model: str | Path | None = None,
    backend: str = "auto",
    device: str = "cpu",
    *,
    weights: str | Path | None = None,
    autoencoder: str | Path | None = None,
    config: str | Path | None = None,
    method: str | None = None,
    isa: str | None = None,
    notice: Notice | None = None,
    **options: Any,
) -> SuperResolver:
    """Load a model of the package, a packed file, or weights of the paper family.

    Args:
        model: A name of `bimacosr info`, or a packed file; None is the default model.
        backend: "native" (the 1-bit engine), "torch", or "auto": native for what it can run on the
            cpu, which is models and students of BiMaCoSR in one step; else torch.
        device: Where the torch backend runs: "cpu", "cuda", "mps"... The native one is for "cpu".
        weights: Instead of a model: a checkpoint (.pth, .safetensors) of ResShift, SinSR or a
            student of BiMaCoSR or one of its rivals, a packed student, or the name of a release.
        autoencoder: First stage of the paper family's networks, a checkpoint or a packed file;
            without it the released VQ-f4. A packed student and a packed autoencoder need no
            PyTorch.
        config: Official YAML configuration of `weights`; without it the checkpoint tells.
        method: Binarization of `weights` without configuration, where their keys do not tell it.
        isa: Instruction set of the native backend: a name of `bimacosr.engine.instruction_sets()`;
            without it BIMACOSR_ISA of the environment, else the best of this machine.
        notice: Told what the user should know though nothing failed; without it, a `UserWarning`.
        **options: Fields of `UpscaleSettings` that every call uses unless it says otherwise, and
            for the paper family fields of `SamplingSettings`: steps, sampler, tiling, ...

    Raises:
        ModelError: the model is unknown or damaged.
        BackendError: the backend or the device is not there.
        OptionError: an option is unknown, out of its range, or not for this kind of model.
    """
    if backend not in BACKENDS:
        raise OptionError(f"there is no backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    if weights is not None and model is not None:
        raise OptionError("give either a model or weights, not both")
    chosen = {f.name: options.pop(f.name) for f in fields(SamplingSettings) if f.name in options}
    settings, sampling = _changed(UpscaleSettings(), options), SamplingSettings(**chosen)
    if settings.tile is not None and sampling.tiling == "official":
        raise OptionError("tile is for the feathered tiling; the official one takes chop_size")
    told = {"config": config, "method": method, "chain_steps": sampling.chain_steps}
    wish = _Wish(backend, device, isa, sampling, autoencoder)
    if weights is not None and not is_packed(Path(weights)):
        opened, notices = _open_weights(weights, config, method, wish)
        for message in notices:
            (notice or warn)(message)
        return SuperResolver(opened, None, settings, notice)
    packed = read_packed(find_model(weights or model or DEFAULT_MODEL))
    stray = [name for name, value in told.items() if value is not None]
    if packed.family != "swin":
        stray += ["autoencoder"] * (autoencoder is not None) + list(chosen)
    if stray:
        raise OptionError(f"{stray[0]} is only for weights of the paper family; give weights")
    return SuperResolver(_open_packed(packed, wish), packed, settings, notice)


class _Wish(NamedTuple):
    """What `load` was asked for."""

    backend: str
    device: str
    isa: str | None
    sampling: SamplingSettings
    autoencoder: str | Path | None

    def is_native(self, hindrance: str | None) -> bool:
        """Whether the native engine runs it; `hindrance` says why it cannot."""
        if self.backend == "native":
            if self.device != "cpu":
                raise OptionError(f"the native backend runs on the cpu, not on {self.device!r}")
            if hindrance is not None:
                raise OptionError(f"the native engine {hindrance}; use --backend torch")
            return True
        if self.backend == "auto" and self.device == "cpu" and hindrance is None:
            from bimacosr.engine import is_available

            if is_available():
                return True
        if self.isa is not None:
            raise OptionError("isa is for the native backend")
        return False


def _open_packed(packed: PackedModel, wish: _Wish) -> Backend:
    """The backend of a packed model."""
    from bimacosr.engine.open import open_packed as open_native
    from bimacosr.engine.open import what_hinders_packed

    if packed.family == "vq":
        raise ModelError(f"{packed.name!r} is an autoencoder; give it as the autoencoder")
    sampling = wish.sampling
    if packed.step is not None:
        if sampling.steps != 1 and (sampling.steps or sampling.sampler not in (None, "one_step")):
            raise OptionError(
                f"{packed.name!r} is packed for one step; pack it with --multi-step for more"
            )
        sampling = replace(sampling, steps=1)
    options: dict[str, Any] = {"autoencoder": wish.autoencoder, "sampling": sampling}
    if wish.is_native(what_hinders_packed(packed, sampling)):
        return open_native(packed, wish.isa, **options)
    try:
        from bimacosr.reference.packed import open_packed
    except ImportError as error:
        raise _without_torch(error) from error
    return open_packed(packed, wish.device, **options)


def _open_weights(
    weights: str | Path, config: str | Path | None, method: str | None, wish: _Wish
) -> tuple[Backend, tuple[str, ...]]:
    """The backend of weights of the paper family, and what the user should know about it."""
    from bimacosr.engine.open import Student, open_student, what_hinders

    try:
        from bimacosr.reference.open import WeightFiles, open_latent, read_latent
    except ImportError as error:
        raise _without_torch(error) from error
    files = WeightFiles(weights=weights, autoencoder=wish.autoencoder, config=config, method=method)
    model = read_latent(files, wish.sampling)
    if not wish.is_native(what_hinders(model.unet.binarize, model.sampling)):
        return open_latent(model, wish.device), model.notices
    student = Student(
        name=model.path.name,
        settings=model.unet.settings,
        state={name: array.numpy() for name, array in model.unet.network.state_dict().items()},
        diffusion=model.diffusion,
        autoencoder=model.first_stage,
        first_stage=None if model.config is None else model.config.autoencoder,
        scale=None if model.config is None else model.config.scale,
    )
    return open_student(student, model.sampling, wish.isa), model.notices


def _without_torch(error: ImportError) -> BackendError:
    return BackendError(f"the torch backend needs PyTorch ({error}): pip install 'bimacosr[torch]'")


def beside(source: Path, settings: UpscaleSettings, native: int) -> Path:
    """Where the result of `source` goes when nobody said: `NAME_x4.EXT` in its folder."""
    factor = native if settings.scale is None else settings.scale
    sized = settings.width or settings.height
    suffix = f"_{settings.width or ''}x{settings.height or ''}" if sized else f"_x{factor:g}"
    return source.with_name(f"{source.stem}{suffix}{source.suffix}")


def _changed(settings: UpscaleSettings, options: dict[str, Any]) -> UpscaleSettings:
    try:
        return replace(settings, **options)
    except TypeError as error:
        known = ", ".join(field.name for field in fields(UpscaleSettings))
        raise OptionError(f"unknown option ({error}); the options are {known}") from error
