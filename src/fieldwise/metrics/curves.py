"""Curves of a model with two classes: ROC, precision-recall, and the histogram of its probabilities.

With the examples of probability t or more called clicks, of weights w::

    true positive rate = recall    sum of w with label 1 and p >= t, of all w with label 1
    false positive rate            the same of label 0
    precision                      sum of w with label 1 and p >= t, of all w with p >= t

Examples of one probability are called together, so that ties are a straight line of the ROC curve, and its area is the
AUC of `metrics.result.Metrics`.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["Curves", "curves"]

_POINTS = 200
_BINS = 40

Floats = npt.NDArray[np.floating[Any]]


class Curves(msgspec.Struct, frozen=True, kw_only=True):
    """Points of the curves.

    Attributes
    ----------
    false_positive_rate, true_positive_rate
        Of the ROC curve, from (0, 0) to (1, 1), at most some 200 points evenly spread along it.
    recall, precision
        Of the precision-recall curve, likewise.
    edges, positive, negative
        The histogram: the edges of 40 ranges of the probability, from the least to the greatest, and the shares of the
        examples of label 1, and of label 0, in each.
    """

    false_positive_rate: list[float]
    true_positive_rate: list[float]
    recall: list[float]
    precision: list[float]
    edges: list[float]
    positive: list[float]
    negative: list[float]


def curves(labels: npt.NDArray[np.integer[Any]], probabilities: Floats, weights: Floats | None = None) -> Curves | None:
    """Return the curves of B examples, arrays (B,); None unless both labels occur, with a weight.

    Takes O(B log B).

    Examples
    --------
    >>> found = curves(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.4, 0.8]))
    >>> found.false_positive_rate, found.true_positive_rate
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0])
    >>> found.precision
    [1.0, 0.6666666666666666, 0.5]
    """
    w = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    of_clicks, others = np.where(labels == 1, w, 0.0), np.where(labels == 1, 0.0, w)
    if not of_clicks.any() or not others.any():
        return None
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each run of equal probabilities
    called, wrong = np.cumsum(of_clicks[order])[last], np.cumsum(others[order])[last]
    recall, false_rate = called / called[-1], wrong / wrong[-1]
    precision = called / np.maximum(called + wrong, np.finfo(np.float64).tiny)
    here = _spread(np.concatenate([[0.0], recall + false_rate]))
    there = _spread(recall)
    edges = np.linspace(float(ordered[-1]), max(float(ordered[0]), float(ordered[-1]) + 1e-9), _BINS + 1)
    clicks, non_clicks = (np.histogram(probabilities, edges, weights=each)[0] for each in (of_clicks, others))
    return Curves(
        false_positive_rate=np.concatenate([[0.0], false_rate])[here].tolist(),
        true_positive_rate=np.concatenate([[0.0], recall])[here].tolist(),
        recall=recall[there].tolist(),
        precision=precision[there].tolist(),
        edges=edges.tolist(),
        positive=(clicks / of_clicks.sum()).tolist(),
        negative=(non_clicks / others.sum()).tolist(),
    )


def _spread(along: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return places of points, evenly spread along an ascending coordinate, the first and the last among them."""
    wanted = np.linspace(along[0], along[-1], _POINTS)
    places = np.minimum(np.searchsorted(along, wanted), len(along) - 1)
    return np.unique(np.concatenate([[0], places, [len(along) - 1]]))
