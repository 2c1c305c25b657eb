"""Description of the machine, and ahead-of-time compilation of the kernels."""
