"""A look at a raw log before any training."""
