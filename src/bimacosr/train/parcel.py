"""A training in one archive of at most 64 MiB, for a machine that has PyTorch and nothing of ours.

    parcel.tar:  run.py   src/bimacosr/...   job.json   photos/   weights/   run/   loss-weights/

`run.py` trains for some minutes and makes `result.tar` of the run's folder, which `unpack` brings
home, and which another parcel takes along again.

Source of the rules for unpacking: the "data" filter of tarfile (PEP 706), narrowed: plain files
under the parcel's own folders, and no more bytes than a parcel may have.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

from bimacosr.config.data import DataSettings
from bimacosr.config.train import TrainRecipe
from bimacosr.data.photos import find_pictures
from bimacosr.errors import ModelError, OptionError, TrainingError
from bimacosr.io.atomic import atomic_file
from bimacosr.train.checkpoint import (
    CHECKPOINTS,
    is_checkpoint,
    newest_checkpoint,
    read_checkpoint,
)
from bimacosr.train.recipe import recipe_text

__all__ = ["LIMIT_BYTES", "make_parcel", "unpack_parcel"]

LIMIT_BYTES = 64 << 20
"""What a parcel may weigh."""

_UNPACKED_LIMIT = 16 * LIMIT_BYTES
_RUN = "run"
_KEPT = ("recipe.yaml", "log.jsonl")


def make_parcel(recipe: TrainRecipe, run: Path, parcel: Path) -> int:
    """Write the parcel of a stage, with the newest checkpoint of `run` if it has one.

    Args:
        recipe: What to train; its files are taken along, and it is made to name them.
        run: Folder of the run; it may be empty or missing.
        parcel: The archive to write.

    Returns:
        Its size in bytes.

    Raises:
        OptionError: the parcel would be larger than 64 MiB; nothing is written.
        BimacosrError: a file that the recipe names cannot be read.
    """
    entries = {"run.py": launcher(recipe.stage)} | code_files() | pictures(recipe)
    local: dict[str, Any] = {"data": local_data(recipe), "pool_folder": "pool"}
    for name in ("teacher", "start", "picture_teacher", "loss_weights"):
        text = getattr(recipe, name)
        if text:
            taken, where = weights_files(name, Path(text))
            entries |= taken
            local[name] = where
    if recipe.model.autoencoder_file:
        taken, where = weights_files("autoencoder", Path(recipe.model.autoencoder_file))
        entries |= taken
        local["model"] = replace(recipe.model, autoencoder_file=where)
    entries["recipe.yaml"] = recipe_text(replace(recipe, **local)).encode()
    entries |= run_files(run)
    size = sum(len(content) for content in entries.values()) + 1024 * (len(entries) + 2)
    if size > LIMIT_BYTES:
        raise OptionError(too_large(entries, size))
    with atomic_file(parcel) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in entries.items():
            add(archive, name, content)
    return parcel.stat().st_size


def unpack_parcel(archive: Path, run: Path) -> Path:
    """Bring the run in a parcel's `result.tar` home.

    Args:
        archive: The archive that came back; nothing in it is trusted.
        run: Folder of the run, which gets the checkpoint, the log and the sample pictures.

    Returns:
        The newest checkpoint of `run`.

    Raises:
        TrainingError: the archive is damaged, holds anything but a run, or no checkpoint.
        ModelError: its checkpoint is damaged; what `run` held before is as it was.
    """
    try:
        with tarfile.open(archive, "r:") as opened:
            found = dict(members(opened, archive))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise TrainingError(
            f"{archive} cannot be read as a parcel ({error}); get it again"
        ) from error
    steps = [name for name in found if name.startswith(f"{CHECKPOINTS}/step_")]
    if not steps:
        raise TrainingError(f"{archive} holds no checkpoint of a run; is it a result.tar?")
    for name in steps:
        check_checkpoint(found[name], archive)
    for name, content in sorted(found.items(), key=lambda entry: entry[0] in steps):
        with atomic_file(run / name) as file:  # the checkpoints last
            file.write(content)
    newest = newest_checkpoint(run)
    assert newest is not None
    return newest[0]


def check_checkpoint(content: bytes, archive: Path) -> None:
    """See that a checkpoint is whole before it takes a place in the run's folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / archive.name
        path.write_bytes(content)
        try:
            read_checkpoint(path)
        except ModelError as error:
            raise ModelError(f"the checkpoint in {archive} is damaged; get it again") from error


def members(archive: tarfile.TarFile, path: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a run in an archive, by their name in the run's folder."""
    total = 0
    for member in archive:
        place = PurePosixPath(member.name)
        inside = place.parts[:1] == (_RUN,) and ".." not in place.parts and len(place.parts) > 1
        if member.isdir():
            continue
        if not (member.isreg() and inside) or "\\" in member.name or "\0" in member.name:
            raise TrainingError(f"{path} is refused: {member.name!r} is no plain file of a run")
        total += member.size
        if total > _UNPACKED_LIMIT:
            raise TrainingError(f"{path} is refused: it holds more than {_UNPACKED_LIMIT} bytes")
        content = archive.extractfile(member)
        assert content is not None
        yield str(PurePosixPath(*place.parts[1:])), content.read()


def launcher(stage: str) -> bytes:
    """`run.py`: trains, and packs the run's folder."""
    text = files("bimacosr.train").joinpath("parcel_run.py").read_text("utf-8")
    return text.replace("@STAGE@", stage).encode()


def code_files() -> dict[str, bytes]:
    """The Python files of this package; models and the native engine stay at home."""
    root = Path(__file__).parents[1]
    return {
        f"src/bimacosr/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in sorted(root.rglob("*.py"))
    }


def pictures(recipe: TrainRecipe) -> dict[str, bytes]:
    """The training pictures, by the names and in the order that their degradation depends on."""
    paths: dict[str, Path] = {}
    for i, source in enumerate(recipe.data.sources):
        for k, path in enumerate(find_pictures([source])):
            name = path.relative_to(source) if source.is_dir() else Path(f"{k:06d}") / path.name
            paths[f"photos/{i}/{name.as_posix()}"] = path
    return read_all(paths)


def local_data(recipe: TrainRecipe) -> DataSettings:
    """The data settings as they are inside of a parcel."""
    cache = None if recipe.data.cache is None else Path("pairs")
    sources = tuple(Path(f"photos/{i}") for i in range(len(recipe.data.sources)))
    return replace(recipe.data, sources=sources, cache=cache)


def weights_files(name: str, path: Path) -> tuple[dict[str, bytes], str]:
    """The files at `path` that the recipe needs, and what it calls them inside of the parcel."""
    if path.is_dir() and is_checkpoint(path):
        newest = newest_checkpoint(path)
        assert newest is not None
        path = newest[0]
    if path.is_dir():
        wanted = [path / "lpips_squeeze.safetensors"]
        return read_all({f"{name}/{file.name}": file for file in wanted}), name
    taken = {f"weights/{name}{path.suffix}": path}
    if path.suffix == ".param":  # ncnn's description; the numbers lie beside it
        taken[f"weights/{name}.bin"] = path.with_suffix(".bin")
    return read_all(taken), f"weights/{name}{path.suffix}"


def run_files(run: Path) -> dict[str, bytes]:
    """The newest checkpoint of a run, and its log; none if it has no checkpoint."""
    newest = newest_checkpoint(run)
    if newest is None:
        return {}
    kept = [newest[0], *(run / name for name in _KEPT if (run / name).exists())]
    return read_all({f"{_RUN}/{path.relative_to(run).as_posix()}": path for path in kept})


def read_all(paths: dict[str, Path]) -> dict[str, bytes]:
    """The contents of files."""
    try:
        return {name: path.read_bytes() for name, path in paths.items()}
    except OSError as error:
        raise OptionError(
            f"{error.filename} cannot be taken along ({os.strerror(error.errno or 0)})"
        ) from error


def too_large(entries: dict[str, bytes], size: int) -> str:
    """The sentence that says what is too large."""
    parts: dict[str, int] = {}
    for name, content in entries.items():
        top = name.partition("/")[0]
        parts[top] = parts.get(top, 0) + len(content)
    told = ", ".join(f"{k} {v / 2**20:.1f}" for k, v in sorted(parts.items(), key=lambda p: -p[1]))
    return (
        f"the parcel would have {size / 2**20:.1f} MiB, the limit is {LIMIT_BYTES >> 20} ({told}):"
        " take fewer photos, or a smaller network"
    )


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """One plain file, the same bytes whoever makes it and when."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
