"""The teacher's results on disk: each (picture, noise, result) is computed once.

A sample's picture and its noise follow from its number, so the result alone is kept, as float16, a
file a sample. The folder's name holds a digest of all that the result depends on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor

from bimacosr.io.atomic import atomic_file

__all__ = ["TeacherPool", "digest_of"]

FILES_A_FOLDER = 1000


class TeacherPool:
    """A folder of results by sample number.

    Args:
        folder: Where the pools of all teachers lie.
        digest: What the results depend on, see `digest_of`.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder = folder / digest

    def find(self, samples: Sequence[int]) -> Tensor | None:
        """The results of `samples`, float32 on the CPU; None unless all are there and whole."""
        found = []
        for sample in samples:
            path = self._path(sample)
            try:
                found.append(load_file(path)["result"])
            except (OSError, SafetensorError, KeyError):  # not yet there, or damaged: made anew
                return None
        return torch.from_numpy(np.stack(found)).float()

    def keep(self, samples: Sequence[int], results: Tensor) -> None:
        """Write the results of `samples`.

        They are rounded to what `find` gives, in place: the first time round equals the others.

        Raises:
            WriteError: "the disk is full while writing ..."
        """
        results.copy_(results.half())
        for sample, result in zip(samples, results.cpu().half().numpy(), strict=True):
            with atomic_file(self._path(sample)) as file:
                file.write(save({"result": result}))

    def _path(self, sample: int) -> Path:
        return self.folder / f"{sample // FILES_A_FOLDER:04d}" / f"{sample}.safetensors"


def digest_of(facts: object, network: torch.nn.Module) -> str:
    """16 hexadecimal digits of plain `facts` and of every number of `network`."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
