"""Packed models: 1-bit networks as small files that numpy alone can read."""
