"""Slow twins of the table's kernels: dense algebra over the one-hot matrix, nothing of ours."""

from __future__ import annotations

import numpy as np

_MASK = 2**64 - 1


def encode(fields: list[list[list[tuple[int, float]]]], rows: list[int]) -> list[np.ndarray]:
    """Return each field's (B, rows) matrix of inputs from ``fields[f][b] = [(local id, value), ...]``."""
    matrices = []
    for field, num_rows in zip(fields, rows, strict=True):
        matrix = np.zeros((len(field), num_rows))
        for b, features in enumerate(field):
            for local_id, value in features:
                matrix[b, local_id] += value
        matrices.append(matrix)
    return matrices


def gather(matrices: list[np.ndarray], weights: np.ndarray, num_local: int) -> tuple[np.ndarray, np.ndarray]:
    """Return local (B, F K) and full (B, W): matrix products, field by field."""
    num_examples = len(matrices[0])
    local, full, base = [], np.zeros((num_examples, weights.shape[1] - num_local)), 0
    for matrix in matrices:
        block = weights[base : base + matrix.shape[1]]
        local.append(matrix @ block[:, :num_local])
        full += matrix @ block[:, num_local:]
        base += matrix.shape[1]
    return np.concatenate(local, axis=1), full


def gradients(matrices: list[np.ndarray], local: np.ndarray, full: np.ndarray, num_local: int) -> np.ndarray:
    """Return the (D, K + W) gradient of the weights from those of the outputs."""
    parts = []
    for f, matrix in enumerate(matrices):
        of_field = local[:, f * num_local : (f + 1) * num_local]
        parts.append(np.concatenate([matrix.T @ of_field, matrix.T @ full], axis=1))
    return np.concatenate(parts)


def ftrl(w: np.ndarray, z: np.ndarray, n: np.ndarray, g: np.ndarray, alpha: float, beta: float, l1: float, l2: float):
    """One step of FTRL-proximal on the coordinates whose gradient is not zero; McMahan et al. 2013, algorithm 1."""
    w, z, n = w.copy(), z.copy(), n.copy()
    for i in np.ndindex(*w.shape):
        if g[i] == 0:
            continue
        sigma = (np.sqrt(n[i] + g[i] ** 2) - np.sqrt(n[i])) / alpha
        z[i] += g[i] - sigma * w[i]
        n[i] += g[i] ** 2
        w[i] = 0.0 if abs(z[i]) <= l1 else -(z[i] - np.sign(z[i]) * l1) / ((beta + np.sqrt(n[i])) / alpha + l2)
    return w, z, n


def uniform(seed: int, row: int, unit: int) -> float:
    """A number in [-1, 1) for a weight: splitmix64's steps over (seed, row, unit), in whole numbers."""
    z = seed * 0x9E3779B97F4A7C15 + row & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 + unit * 0xD6E8FEB86659FD93 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    return ((z ^ z >> 31) >> 11) / 2**52 - 1
