"""Profiling of a raw log before training."""
