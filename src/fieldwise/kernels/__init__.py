"""The hot loops, in numba over numpy arrays: no torch, no files but those of compiled kernels (`kernels.kept`)."""
