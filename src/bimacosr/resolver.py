"""What a program uses: load a model once, enlarge pictures of any kind with it.

resolver = bimacosr.load()
large = resolver(image)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from bimacosr.config.picture import OutputSettings, PictureLimits
from bimacosr.config.upscale import SamplingSettings, UpscaleSettings
from bimacosr.errors import BackendError, OptionError, ReadError
from bimacosr.io.memory import from_array, from_pillow
from bimacosr.io.picture import Picture, read_picture
from bimacosr.io.writer import check_target, write_picture
from bimacosr.models.catalogue import DEFAULT_MODEL, find_model
from bimacosr.pack.format import PackedModel, read_packed
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
        backend: "native" (the 1-bit engine), "torch", or "auto": native for a model on the cpu,
            else torch.
        device: Where the torch backend runs: "cpu", "cuda", "mps"... The native one is for "cpu".
        weights: Instead of a model: a checkpoint (.pth, .safetensors) of ResShift, SinSR or a
            student of BiMaCoSR or one of its rivals, or the name of a release.
        autoencoder: First stage of `weights`; without it the released VQ-f4.
        config: Official YAML configuration of `weights`; without it the checkpoint tells.
        method: Binarization of `weights` without configuration, where their keys do not tell it.
        isa: Instruction set of the native backend: a name of `bimacosr.engine.instruction_sets()`;
            without it BIMACOSR_ISA of the environment, else the best of this machine.
        notice: Told what the user should know though nothing failed; without it, a `UserWarning`.
        **options: Fields of `UpscaleSettings` that every call uses unless it says otherwise, and
            with `weights` fields of `SamplingSettings`: steps, sampler, tiling, ...

    Raises:
        ModelError: the model is unknown or damaged.
        BackendError: the backend or the device is not there.
        OptionError: an option is unknown, out of its range, or not for this kind of model.
    """
    if backend not in BACKENDS:
        raise OptionError(f"there is no backend {backend!r}; choose one of {', '.join(BACKENDS)}")
    if weights is None:
        of_weights = {"autoencoder": autoencoder, "config": config, "method": method}
        stray = [name for name, value in of_weights.items() if value is not None]
        stray += [field.name for field in fields(SamplingSettings) if field.name in options]
        if stray:
            raise OptionError(f"{stray[0]} is only for weights of the paper family; give weights")
        settings = _changed(UpscaleSettings(), options)
        packed = read_packed(find_model(model or DEFAULT_MODEL))
        return SuperResolver(_open(packed, backend, device, isa), packed, settings, notice)
    if model is not None:
        raise OptionError("give either a model or weights, not both")
    if backend == "native":
        raise OptionError("weights of the paper family need the torch backend")
    chosen = {f.name: options.pop(f.name) for f in fields(SamplingSettings) if f.name in options}
    settings, sampling = _changed(UpscaleSettings(), options), SamplingSettings(**chosen)
    if settings.tile is not None and sampling.tiling == "official":
        raise OptionError("tile is for the feathered tiling; the official one takes chop_size")
    try:
        from bimacosr.reference.open import WeightFiles, open_latent
    except ImportError as error:
        raise _without_torch(error) from error
    files = WeightFiles(weights=weights, autoencoder=autoencoder, config=config, method=method)
    opened = open_latent(files, sampling, device)
    for message in opened.notices:
        (notice or warn)(message)
    return SuperResolver(opened.backend, None, settings, notice)


def _open(packed: PackedModel, backend: str, device: str, isa: str | None) -> Backend:
    """The backend that `load` was asked for."""
    from bimacosr.engine import NativeBackend, is_available

    if backend == "auto":
        native = device == "cpu" and packed.family == "edge" and is_available()
        backend = "native" if native else "torch"
    if backend == "native":
        if device != "cpu":
            raise OptionError(f"the native backend runs on the cpu, not on {device!r}")
        return NativeBackend(packed, isa)
    if isa is not None:
        raise OptionError("isa is for the native backend")
    try:
        from bimacosr.reference.packed import open_packed
    except ImportError as error:
        raise _without_torch(error) from error
    return open_packed(packed, device)


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
