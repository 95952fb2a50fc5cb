"""Reads the weight files of the metrics; the only place that knows how they are stored.

The files (safetensors, layout and licences in the README beside them) are not part of the package:
a directory with them is an argument of everything that needs one, for users `--metric-weights` or
BIMACOSR_METRIC_WEIGHTS.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bimacosr.errors import ModelError

__all__ = ["read_tensors"]


_WAY_OUT = (
    "name the directory that holds it with --metric-weights or BIMACOSR_METRIC_WEIGHTS "
    "(docs/evaluation.md says where the files come from)"
)


def read_tensors(weights_dir: str | Path | None, name: str) -> dict[str, Tensor]:
    """Read every tensor of the weight file `name` in `weights_dir`, in the types of the file.

    Raises:
        ModelError: "weights/niqe.safetensors is missing; name the directory that holds it with
            --metric-weights...", no directory is named, or the file is damaged.
    """
    if weights_dir is None:
        raise ModelError(f"{name} is needed, and nothing says where it lies; {_WAY_OUT}")
    path = Path(weights_dir) / name
    if not path.is_file():
        raise ModelError(f"{path} is missing; {_WAY_OUT}")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{path} cannot be read as safetensors ({error}); fetch it anew"
        ) from error
