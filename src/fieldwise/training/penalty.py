"""Which penalties of logistic regression are tried, which rows choose one where no others do, and which networks take.

Penalties fall by a factor of 4 from 64 until two in a row are worse on valid than the best; where 64 is the best they
rise in the same way; at last the double and the half of the best are tried. What decides is logloss: the AUC of a few
hundred clicks is noise (docs/log/2026-11/initial-model.md#which-penalty-for-logistic-regression).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST_PENALTY", "initial_penalty", "next_penalty", "put_aside"]

LEAST_PENALTY = 2.0**-6
_FIRST, _FACTOR, _GREATEST = 64.0, 4.0, 2.0**14
_ASIDE_SHARE, _ENOUGH_ASIDE, _ASIDE_SEED = 0.1, 500, 0
_STRONGER, _LEAST_INITIAL = 4.0, 2.0


def next_penalty(tried: Sequence[tuple[float, float | None]]) -> float | None:
    """Return the penalty to try next; None when the best of those that were `tried`, with what valid says, is kept.

    Examples
    --------
    >>> tried = []
    >>> while (l2 := next_penalty(tried)) is not None:
    ...     tried.append((l2, -abs(np.log(l2 / 3.0))))
    >>> [l2 for l2, _ in tried]
    [64.0, 16.0, 4.0, 1.0, 0.25, 8.0, 2.0]
    """
    if not tried:
        return _FIRST
    values = {l2: value for l2, value in tried if value is not None}
    if len(values) < len(tried):
        return None
    best = max(values, key=lambda l2: values[l2])
    least, greatest = min(values), max(values)
    if best <= least * _FACTOR and least > LEAST_PENALTY:
        return least / _FACTOR
    if best >= greatest / _FACTOR and best > _FIRST / _FACTOR and greatest < _GREATEST:
        return greatest * _FACTOR
    whole = [l2 for l2 in values if np.log2(l2) % 2 == 0]
    coarse = max(whole, key=lambda l2: values[l2])
    return next((l2 for l2 in (2.0 * coarse, 0.5 * coarse) if l2 not in values), None)


def put_aside(labels: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """Return the training rows to choose a penalty by, where there are no others: a tenth of each class, of small logs
    500 rows or a half.

    Examples
    --------
    >>> [len(put_aside(np.arange(num_rows) % 2)) for num_rows in (20_000, 1_200, 300, 2)]
    [2000, 500, 150, 0]
    """
    share = min(max(_ASIDE_SHARE, _ENOUGH_ASIDE / max(len(labels), 1)), 0.5)
    generator = np.random.default_rng(_ASIDE_SEED)
    of_class = [generator.permutation(np.flatnonzero(labels == each)) for each in np.unique(labels)]
    chosen = [rows[: int(share * len(rows))] for rows in of_class]
    return np.sort(np.concatenate(chosen or [np.zeros(0, dtype=np.int64)]))


def initial_penalty(l2: float) -> float:
    """Return the penalty of the logistic regression that networks start from, where `l2` is best for itself.

    Its optimum says of rare features what their few examples say, and a network that is about to meet these examples
    believes it: it starts from a stronger prior
    (docs/log/2026-11/initial-model.md#which-penalty-for-logistic-regression).

    Examples
    --------
    >>> initial_penalty(0.1), initial_penalty(32.0)
    (2.0, 128.0)
    """
    return max(_STRONGER * l2, _LEAST_INITIAL)
