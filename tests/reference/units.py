"""Slow twin of what is read of the units: the equations, in float64, with the whole batch at hand."""

from __future__ import annotations

import numpy as np

EPSILON = 1e-5


def read(units, skip, columns, factors):
    """Return the skip (B,), the input (B, I), and mean and variance of what is read; `factors` (B, I) of dropout."""
    units = np.asarray(units, dtype=np.float64)
    read = units[:, columns]
    mean, variance = read.mean(axis=0), read.var(axis=0)
    y = (read - mean) / np.sqrt(variance + EPSILON)
    summed = units[:, skip[0] :: skip[1]].sum(axis=1) if skip else np.zeros(len(units))
    return summed, y * factors, mean, variance


def gradient(units, skip, columns, factors, moves, of_skip, of_x):
    """Return the gradient of the units (B, N), example by example and number by number."""
    units = np.asarray(units, dtype=np.float64)
    _, y, _, variance = read(units, skip, columns, np.ones((len(units), len(columns))))
    out = np.zeros_like(units)
    for i, column in enumerate(columns):
        g = of_x[:, i] * factors[:, i]
        whole = (g - g.mean() - y[:, i] * (g * y[:, i]).mean()) / np.sqrt(variance[i] + EPSILON)
        out[:, column] += whole * moves[i]
    if skip:
        out[:, skip[0] :: skip[1]] += of_skip[:, None]
    return out
