"""The deep parts written down as their equations, one example at a time; weights by torch's names. Nothing of ours."""

from __future__ import annotations

import numpy as np


def linear(weights, name, x):
    y = weights[f"{name}.weight"] @ x
    return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y


def perceptron(weights, name, x, places, g=np.tanh):
    """`places`: the numbers of the linear layers inside the sequence."""
    for place in places[:-1]:
        x = g(linear(weights, f"{name}{place}", x))
    return linear(weights, f"{name}{places[-1]}", x)


def cross(weights, x0, places):
    x = x0
    for layer in range(2):
        x = x0 * linear(weights, f"0.layers.{layer}", x) + x
    return perceptron(weights, "1.", x, places)


def pairs(weight, units):
    """`weight` (O, F (F - 1) / 2), pairs in the order of (f, g), f < g; `units` (F, K)."""
    logits = np.zeros(len(weight))
    for o in range(len(weight)):
        number = 0
        for f in range(len(units)):
            for g in range(f + 1, len(units)):
                logits[o] += weight[o, number] * sum(units[f, k] * units[g, k] for k in range(units.shape[1]))
                number += 1
    return logits
