"""Official checkpoints and configurations: read safely, recognised, made into our networks."""
