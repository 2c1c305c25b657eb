"""Slow twin of the fully connected layer: one example at a time, in float64, nothing of ours."""

from __future__ import annotations

import math

import numpy as np

_ERF = np.vectorize(math.erf, otypes=[float])


def activate(name: str | None, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return g(z) and g'(z)."""
    if name is None:
        return z, np.ones_like(z)
    if name == "relu":
        return np.maximum(z, 0), (z > 0) * 1.0
    if name == "tanh":
        return np.tanh(z), 1 - np.tanh(z) ** 2
    sigmoid = 1 / (1 + np.exp(-z))
    if name == "sigmoid":
        return sigmoid, sigmoid * (1 - sigmoid)
    if name == "silu":
        return z * sigmoid, sigmoid * (1 + z * (1 - sigmoid))
    assert name == "gelu"
    below = 0.5 * (1 + _ERF(z / math.sqrt(2)))
    return z * below, below + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def forward(x: np.ndarray, w: np.ndarray, b: np.ndarray, name: str | None) -> np.ndarray:
    """Return y (B, O), example by example."""
    return np.array([activate(name, w @ example + b)[0] for example in x]).reshape(len(x), len(w))


def backward(x: np.ndarray, w: np.ndarray, b: np.ndarray, name: str | None, dy: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return dx (B, I), dW (O, I) and db (O,)."""
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
    for number, example in enumerate(x):
        dz = dy[number] * activate(name, w @ example + b)[1]
        dx[number] = dz @ w
        dw += np.outer(dz, example)
        db += dz
    return dx, dw, db
