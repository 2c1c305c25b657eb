"""The loss of several labels, label by label and example by example; imports nothing of ours."""

from __future__ import annotations

import math
from collections.abc import Sequence


def probabilities(logits: Sequence[float], among: Sequence[int | None]) -> list[float]:
    """Return p of each label over all examples: that of a label among others is conditional."""
    found: list[float] = []
    for z, other in zip(logits, among, strict=True):
        own = 1 / (1 + math.exp(-z))
        found.append(own if other is None else own * found[other])
    return found


def loss(
    logits: Sequence[Sequence[float]],
    states: Sequence[Sequence[int | None]],
    among: Sequence[int | None],
    label_weights: Sequence[float],
    weights: Sequence[float],
) -> float:
    """Return the weighted mean over the examples of the sum over the labels that are not missing (None)."""
    total = 0.0
    for of_row, of_labels, weight in zip(logits, states, weights, strict=True):
        for p, y, c in zip(probabilities(of_row, among), of_labels, label_weights, strict=True):
            if y is not None:
                total -= weight * c * math.log(p if y else 1 - p)
    return total / sum(weights)
