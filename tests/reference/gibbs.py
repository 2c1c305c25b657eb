"""Draws of a factorisation machine's posterior, in plain Python and numpy: slow, and as the equations say."""

from __future__ import annotations

import math

import numpy as np

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15


def mixed(state):
    """Splitmix64's output."""
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def uniform(state):
    return ((mixed(state) >> 11) + 0.5) / 2**53


def normal(state):
    """Box and Muller."""
    radius = math.sqrt(-2.0 * math.log(uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform((state + _STEP) & _MASK))


def latents(predicted, labels, key):
    """A normal around each prediction, of the sign that its label says."""
    drawn = []
    for e, (mean, label) in enumerate(zip(predicted, labels, strict=True)):
        sign = 1.0 if label else -1.0
        least = -sign * mean
        state = mixed((key + e * _STEP) & _MASK)
        while True:
            if least < 0.5:
                x = normal(state)
                accepted = x > least
            else:
                x = least - math.log(uniform(state)) / least
                accepted = uniform((state + _STEP) & _MASK) < math.exp(-0.5 * (x - least) ** 2)
            state = (state + 2 * _STEP) & _MASK
            if accepted:
                break
        drawn.append(mean + sign * x)
    return np.array(drawn)


def row(old, examples, inputs, others, latent, predicted, precision, key, number):
    """The numbers of one feature, given everything else."""
    q = np.concatenate((np.ones((len(examples), 1)), others[examples, 1:]), axis=1) * inputs[:, None]
    left = latent[examples] - predicted[examples] + q @ old
    a = np.diag(precision) + q.T @ q
    mean = np.linalg.solve(a, q.T @ left)
    state, noise = mixed((key + number * _STEP) & _MASK), []
    for _ in old:
        noise.append(normal(state))
        state = (state + 2 * _STEP) & _MASK
    return mean + np.linalg.solve(np.linalg.cholesky(a).T, np.array(noise)), q


def prediction(bias, weights, ids, bases, left_out):
    """z of examples with one feature of every field, (n, F) ids."""
    rows = weights[ids + np.asarray(bases)]  # (n, F, d)
    z = bias + rows[:, :, 0].sum(axis=1)
    for f in range(ids.shape[1]):
        for g in range(f + 1, ids.shape[1]):
            if (f, g) not in left_out:
                z = z + (rows[:, f, 1:] * rows[:, g, 1:]).sum(axis=1)
    return z
