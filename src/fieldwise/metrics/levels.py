"""Predictions at the level of each group: moved in the logit until their sum is the clicks of the group.

For the examples b of a group, with weights w, labels y and logits l of their probabilities::

    p'_b = sigmoid(l_b + s),        sum w p' = sum w y

What is left is how a model tells the examples of a group apart. The sum rises with s, so there is one s, which Newton's
method finds; a group with one label alone has none, and stays as it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["levelled"]

Floats = npt.NDArray[np.float64]

_STEPS = 50
_LARGEST_STEP = 1.0
_SMALLEST = 1e-12


def levelled(
    probabilities: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    groups: npt.NDArray[np.integer],
    weights: npt.NDArray[np.floating] | None = None,
) -> Floats:
    """Return the probabilities (B,) at the level of their groups.

    Parameters
    ----------
    probabilities, labels, weights
        (B,) p, 0 or 1, and w >= 0; w is 1 by default.
    groups
        (B,) integers, from 0 on.

    Examples
    --------
    >>> labels, days = np.array([1, 0, 0, 1, 1, 0]), np.array([0, 0, 0, 1, 1, 1])
    >>> found = levelled(np.array([0.2, 0.1, 0.1, 0.5, 0.2, 0.2]), labels, days)
    >>> np.bincount(days, found).round(6).tolist(), found.round(3).tolist()
    ([1.0, 2.0], [0.456, 0.272, 0.272, 0.845, 0.577, 0.577])
    """
    p = np.clip(probabilities.astype(np.float64), _SMALLEST, 1 - _SMALLEST)
    w = np.ones(len(p)) if weights is None else weights.astype(np.float64)
    num_groups = int(groups.max(initial=-1)) + 1
    clicks, total = (np.bincount(groups, each, num_groups) for each in (w * labels, w))
    logits, shifts = np.log(p / (1 - p)), np.zeros(num_groups)
    moves = (clicks > 0) & (clicks < total)
    for _ in range(_STEPS):
        moved = 1 / (1 + np.exp(-(logits + shifts[groups])))
        sums, slopes = (np.bincount(groups, w * each, num_groups) for each in (moved, moved * (1 - moved)))
        steps = np.where(moves, (clicks - sums) / np.maximum(slopes, _SMALLEST), 0.0)
        # Far from its place a full step would pass it by; one of 1 is at most e times more or fewer clicks.
        shifts += np.clip(steps, -_LARGEST_STEP, _LARGEST_STEP)
        if np.abs(steps).max(initial=0.0) < 1e-10:
            break
    found: Floats = 1 / (1 + np.exp(-(logits + shifts[groups])))
    return found
