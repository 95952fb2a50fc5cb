"""BiMaCoSR: four times larger photographs by a 1-bit one-step diffusion model."""

__version__ = "0.1.0.dev0"
