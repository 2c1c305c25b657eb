"""The hot loops, in numba over numpy arrays: no torch, no files."""
