"""The catalogue of models: which there are, where their files lie, and under which licence."""
