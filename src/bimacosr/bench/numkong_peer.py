"""NumKong as a contestant: Hamming distances of packed rows, the sums of a 1-bit layer.

It is optional, so it is imported where it is used.
"""

from __future__ import annotations

import numpy as np

from bimacosr.bench.race import Run
from bimacosr.bench.task import Task
from bimacosr.errors import BackendError

__all__ = ["layer"]


def layer(task: Task) -> Run:
    """Its packed Hamming distances, with the neighbourhood of every pixel already in a row.

    Only the sums: neither are signs taken and gathered, nor is anything scaled. So it has less to
    do than the others.

    Raises:
        BackendError: there is more than one thread, or a consumer.
    """
    import numkong

    shape = task.layer
    assert shape is not None
    if shape.consumer_inputs:
        raise BackendError("its distances are the sums of one layer")
    if task.threads > 1:
        raise BackendError("its packed Hamming distances run on one thread")
    row_bytes = -(-shape.inputs * shape.taps // 8)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (shape.height * shape.width, row_bytes), dtype=np.uint8)
    weights = random.integers(0, 256, (shape.outputs, row_bytes), dtype=np.uint8)
    packed = numkong.hammings_pack(weights)
    return lambda: numkong.hammings_packed(pixels, packed)
