"""Residual-shifting diffusion: schedule, process, samplers, losses; the network is an argument."""
