"""The two full-precision branches of BiMaCoSR, and how they are cut out of a float weight.

Shapes: `matrix` is Cout x Cin: the weight of a fully connected layer, or the mean of a
convolution's taps. B batch, C channels, H height, W width (BCHW); N tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bimacosr.errors import OptionError

__all__ = ["SparseBranch", "factorize", "largest_entries"]


def largest_entries(matrix: Tensor, count: int) -> Tensor:
    """Row and column (2 x count, int64) of the `count` entries of largest magnitude.

    Raises:
        OptionError: the matrix has fewer entries than `count`.
    """
    if count > matrix.numel():
        raise OptionError(
            f"the sparse branch needs {count} entries, but the layer has only {matrix.numel()} "
            f"({matrix.shape[0]} x {matrix.shape[1]}); keep such a small layer in float"
        )
    flat = matrix.abs().flatten().topk(count).indices.sort().values
    return torch.stack([flat // matrix.shape[1], flat % matrix.shape[1]])


def factorize(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Best rank-`rank` factors of `matrix`: left (Cout x rank) and right (rank x Cin).

    The singular values are split evenly, a square root to each factor. `rank` is cut to the
    matrix's own size.

    Source: arXiv 2502.00333, section 3.3 (LRMB).
    """
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    rank = min(rank, s.numel())
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * vh[:rank]


class SparseBranch(nn.Module):
    """A sparse Cout x Cin matrix applied at each pixel or token (SMB).

    Which entries are kept never changes; only their values are trained. `indices_float` holds
    them as floats since official checkpoints do (and average them in the EMA).
    """

    indices_float: Tensor

    def __init__(self, indices: Tensor, values: Tensor, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = shape
        self.values = nn.Parameter(values.clone())
        self.register_buffer("indices_float", indices.to(values.dtype))

    def matrix(self) -> Tensor:
        """The branch as a dense Cout x Cin matrix."""
        rows, columns = self.indices_float.round().long()
        flat = rows * self.shape[1] + columns
        dense = self.values.new_zeros(self.shape[0] * self.shape[1])
        return dense.index_add(0, flat, self.values).view(self.shape)

    def forward(self, x: Tensor) -> Tensor:
        """Apply to BCHW maps over C, or to ...N,C tokens over the last dimension."""
        matrix = self.matrix().to(x.dtype)
        return F.conv2d(x, matrix[:, :, None, None]) if x.ndim == 4 else F.linear(x, matrix)
