"""Float networks in plain PyTorch, with the parameter names of the official checkpoints."""
