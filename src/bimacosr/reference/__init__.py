"""The PyTorch backends: of packed models (`edge`), and of the paper family's weights (`latent`)."""

from __future__ import annotations

from bimacosr.reference.edge import TorchBackend
from bimacosr.reference.latent import LatentBackend

__all__ = ["LatentBackend", "TorchBackend"]
