"""Whether validation rows tell two models apart: the one-standard-error rule for leaving the initial model.

Of some hundreds of rows the best of several looks is above the model that training began from by chance alone, and what
chance has chosen is below it on other rows
(docs/log/2026-11/initial-model.md#when-is-a-network-better-than-its-start). With d the difference of the metric, paired
on the same rows, weights replace the initial model where ::

    d > standard error of d        AUC: DeLong's; logloss: that of the weighted mean of differences

Source: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, section 3.4.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.metrics import delong

__all__ = ["MOST_ROWS", "exceeds_noise", "has_noise_of"]

MOST_ROWS = 1_000_000
"""Beyond, the error is below .001 of AUC even with few clicks, and every higher value counts."""
_OF_LOSS = ("logloss", "normalized_entropy")

Floats = npt.NDArray[np.floating[Any]]


def has_noise_of(metric: str, num_classes: int, num_rows: int) -> bool:
    """Whether the rule applies: to AUC and logloss of two classes, on at most `MOST_ROWS` rows.

    Examples
    --------
    >>> has_noise_of("auc", 2, 5_000), has_noise_of("auc", 3, 5_000), has_noise_of("gauc", 2, 5_000)
    (True, False, False)
    """
    return num_classes == 2 and metric in ("auc", *_OF_LOSS) and num_rows <= MOST_ROWS


def exceeds_noise(
    metric: str,
    labels: npt.NDArray[np.integer[Any]],
    logits: Floats,
    initial: Floats,
    weights: npt.NDArray[np.floating[Any]] | None = None,
) -> bool:
    """Whether a model is better than the initial one by more than a standard error.

    Parameters
    ----------
    metric
        ``auc``, ``logloss`` or ``normalized_entropy``, which differs from logloss by a factor. Of weighted rows it is
        logloss that is compared in place of AUC, too: DeLong's error is one of equal weights.
    labels
        (B,) 0 and 1.
    logits, initial
        (B,) of the two models.
    weights
        (B,), of the rows; 1 each unless given.

    Examples
    --------
    >>> labels, initial = np.array([0, 1] * 50), np.linspace(-1.0, 1.0, 100)
    >>> one_better = initial.copy()
    >>> one_better[-2] = -9.0
    >>> exceeds_noise("auc", labels, initial + labels, initial), exceeds_noise("auc", labels, one_better, initial)
    (True, False)
    """
    positive = labels == 1
    if metric not in _OF_LOSS and weights is None and min(positive.sum(), (~positive).sum()) > 1:
        found = delong(labels, logits, initial)
        return found.difference > found.standard_error
    gains = np.logaddexp(0.0, np.where(positive, -initial, initial)) - np.logaddexp(
        0.0, np.where(positive, -logits, logits)
    )
    count = np.ones(len(gains)) if weights is None else weights.astype(np.float64)
    mean = float((count * gains).sum() / count.sum())
    return mean > float(np.sqrt(((count * (gains - mean)) ** 2).sum()) / count.sum())
