"""Packed files, damaged, and every way to read them; scripts/fuzz_packed runs it."""
