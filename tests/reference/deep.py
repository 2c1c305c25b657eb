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


def cross(weights, x0, places, low_rank):
    x = x0
    for layer in range(2):
        name = f"0.layers.{layer}"
        inner = linear(weights, f"{name}.1", linear(weights, f"{name}.0", x)) if low_rank else linear(weights, name, x)
        x = x0 * inner + x
    return perceptron(weights, "1.", x, places)


def two_stream(weights, x, places, num_heads, num_outputs):
    s, t = x, x
    for place in places:
        s, t = np.tanh(linear(weights, f"first.{place}", s)), np.tanh(linear(weights, f"second.{place}", t))
    logits = linear(weights, "output", np.concatenate([s, t]))
    part = len(s) // num_heads
    for o in range(num_outputs):
        for head in range(num_heads):
            own = slice(head * part, (head + 1) * part)
            matrix = weights["between"][head][:, o * part : (o + 1) * part]
            logits[o] += s[own] @ matrix @ t[own]
    return logits


def ensemble(weights, x, places, num_members):
    members = []
    for m in range(num_members):
        each = x
        for place in places:
            name = f"hidden.{place}"
            scaled = weights[f"{name}.weight"] * np.outer(weights[f"{name}.outputs"][m], weights[f"{name}.inputs"][m])
            each = np.tanh(scaled @ each + weights[f"{name}.bias"][m])
        members.append(weights["weight"][m].T @ each + weights["bias"][m])
    return np.array(members)


def gate(weights, x, fields):
    gates = 2 / (1 + np.exp(-linear(weights, "linear", x)))
    return np.array([value * gates[field] for field, value in zip(fields, x, strict=True)])


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
