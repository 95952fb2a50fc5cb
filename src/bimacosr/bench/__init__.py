"""Time and memory of the native engine beside those of its peers, in one run."""
