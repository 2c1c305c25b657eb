"""Inferring missing settings from the first rows of a log, and writing an initial configuration."""
