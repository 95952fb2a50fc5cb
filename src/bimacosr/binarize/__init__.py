"""Binarization: the 1-bit layers of each method, and the conversion of a float network."""
