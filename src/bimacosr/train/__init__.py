"""Training: losses and what a training loop is made of."""
