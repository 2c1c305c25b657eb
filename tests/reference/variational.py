"""Passes over a factorisation machine's Gaussian posterior, in plain Python: slow, and as the equations say.

A feature is (field, row, input); an example is a list of them; `mean` and `precision` are (D, d), `prior` (F, d).
"""

from __future__ import annotations

import math

import numpy as np


def fields_of(example, mean, variance, num_fields):
    """(F, d) means and variances of the sums over the features of each field; one that is there twice counts double."""
    a, s = np.zeros((2, num_fields, mean.shape[1]))
    inputs = {}
    for field, row, x in example:
        inputs[field, row] = inputs.get((field, row), 0.0) + x
    for (field, row), x in inputs.items():
        a[field] += x * mean[row]
        s[field] += x * x * variance[row]
    return a, s


def of_logit(a, s, bias, bias_variance, pairs):
    """Mean and variance of bias + sum of w_f + sum over pairs of v_f . v_g, all numbers being independent."""
    z, var = bias + a[:, 0].sum(), bias_variance + s[:, 0].sum()
    for f, g in pairs:
        for k in range(1, a.shape[1]):
            z += a[f, k] * a[g, k]
            var += s[f, k] * s[g, k]
    for f in range(len(a)):
        met = [h for pair in pairs if f in pair for h in pair if h != f]
        for k in range(1, a.shape[1]):
            var += s[f, k] * sum(a[g, k] for g in met) ** 2
    return z, var


def asked(a, s, bias, bias_variance, pairs, label, weight):
    """Slopes and curves (F, d), and those of the bias, by differences of `of_logit` alone."""
    z, var = of_logit(a, s, bias, bias_variance, pairs)
    c = 1 / math.sqrt(1 + math.pi * var / 8)
    q = 1 / (1 + math.exp(-c * z))
    h = weight * c * q * (1 - q)
    damped = 1 / (1 + h * var)
    slope, curve, step = np.zeros(a.shape), np.zeros(a.shape), 1e-4
    for f in range(len(a)):
        for k in range(a.shape[1]):
            moved = np.zeros(a.shape)
            moved[f, k] = step
            up, down = (
                of_logit(a + moved, s, bias, bias_variance, pairs),
                of_logit(a - moved, s, bias, bias_variance, pairs),
            )
            dz, dvar = ((one - other) / (2 * step) for one, other in zip(up, down, strict=True))
            wider, narrower = (of_logit(a, s + sign * moved, bias, bias_variance, pairs)[1] for sign in (1, -1))
            slope[f, k] = damped * (weight * (label - q) * dz - h * dvar / 2)
            curve[f, k] = h * (wider - narrower) / (2 * step)
    return slope, curve, damped * weight * (label - q), h


def learn_piece(examples, labels, weights, mean, precision, bias, prior, counts, pairs, rate, first_pass, total):
    """Move mean, precision, counts and bias (mean, precision) by examples that see the same numbers."""
    found = [
        asked(*fields_of(example, mean, 1 / precision, len(prior)), bias[0], 1 / bias[1], pairs, label, weight)
        for example, label, weight in zip(examples, labels, weights, strict=True)
    ]
    if first_pass:
        for example, weight, (_, curve, _, _) in zip(examples, weights, found, strict=True):
            for field, row, x in example:
                counts[row] += weight
                precision[row] += x * x * curve[field]
    for example, weight, (slope, curve, _, _) in zip(examples, weights, found, strict=True):
        for field, row, x in example:
            share = 0.0
            if not first_pass:
                share = weight / counts[row]
                precision[row] = precision[row] + x * x * curve[field]
                precision[row] -= share * (precision[row] - prior[field])
            mean[row] += rate * (x * slope[field] - share * prior[field] * mean[row]) / precision[row]
    bias[1] += sum(h for *_, h in found) - (0.0 if first_pass else sum(weights) / total * bias[1])
    bias[0] += rate * sum(g for *_, g, _ in found) / bias[1]


def likelier_prior(mean, precision, prior):
    """A field's prior (d,), half of the way to that under which its features are likeliest."""
    gamma = (1 - prior / precision).sum(axis=0) + 2
    return np.sqrt(prior * gamma / ((mean**2).sum(axis=0) + 2))
