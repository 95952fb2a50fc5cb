"""Training pictures: photos, crops, and the degradation that makes their low-quality halves."""
