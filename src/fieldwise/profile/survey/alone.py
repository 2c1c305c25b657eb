"""The AUC of a field alone: how well the label rates of its values, estimated on some rows, rank other rows.

The score of value v for class c is its rate among the rows of the first kind, shrunk towards their overall rate::

    r_c(v) = (n_vc + m p_c) / (n_v + m)        n_vc of n_v rows with v are of class c, p_c of all rows; m = 20

so an unseen value scores p_c, and a field whose values never recur (a row number, a hash) has an AUC of .5, although
measured on the same rows it would be 1. Missing is a value like any other, a number is represented by 32 quantile bins,
and a bag scores the mean over its values. The AUC is measured on the validation and test rows; if there are none, on
half of the training rows, with rates estimated on the other half. Example weights are ignored.

For more than two classes it is the mean of the one-vs-rest AUCs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.auc import concordance, pack
from fieldwise.profile.survey.cells import HELD_OUT, MAX_CLASSES, TEST, TRAIN, VALID

__all__ = ["SHRINKAGE", "Alone", "Sides", "auc_of_scores", "auc_of_values", "rates"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

SHRINKAGE = 20.0
"""m: how many rows of the overall rate a value starts with."""


class Alone(NamedTuple):
    """The AUC of a field alone, in [0, 1], or the reason why it is undefined."""

    auc: float | None
    undefined: str | None = None


class Sides(NamedTuple):
    """The sets of rows on which rates are estimated, and those on which the AUC is measured."""

    learned: tuple[int, ...]
    measured: tuple[int, ...]

    @classmethod
    def of(cls, rows: Int64s) -> Sides:
        """Choose the sets from the numbers of rows, (classes, sets)."""
        if rows[:, [VALID, TEST]].any():
            return cls((TRAIN, HELD_OUT), (VALID, TEST))
        return cls((TRAIN,), (HELD_OUT,))

    def why_none(self, rows: Int64s) -> str | None:
        """Return the reason why the AUC is undefined, or None."""
        if len(rows) > MAX_CLASSES:
            return f"the label has more than {MAX_CLASSES} classes"
        learned, measured = (rows[:, list(side)].sum(axis=1) for side in self)
        if not learned.any():
            return "there are no training rows"
        if not measured.any():
            return "there are no rows to measure on"
        if np.count_nonzero(measured) < 2:
            return "the rows to measure on have only one class"
        return None


def rates(learned: Float64s, scale: Float64s) -> Float64s:
    """Return the shrunk rates of V values, (V + 1, classes); the last row is that of an unseen value.

    Parameters
    ----------
    learned
        (V, classes) number of rows of each value and class, at least one in total.
    scale
        (V,) how many values each one represents (`survey.values`).

    Examples
    --------
    >>> rates(np.array([[0.0, 20.0], [20.0, 0.0]]), np.ones(2)).tolist()
    [[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]]
    """
    overall = (learned * scale[:, None]).sum(axis=0)
    overall /= overall.sum()
    padded = np.vstack([learned, np.zeros_like(overall)])
    shrunk: Float64s = (padded + SHRINKAGE * overall) / (padded.sum(axis=1, keepdims=True) + SHRINKAGE)
    return shrunk


def auc_of_values(counts: Int64s, scale: Float64s, sides: Sides) -> Alone:
    """Return the AUC of a field from the counts of its values.

    Parameters
    ----------
    counts
        (V, classes, sets): rows; missing is one of the values.
    scale
        (V,): for how many values each stands.
    sides
        Which sets are learned from, and which measured on.

    Examples
    --------
    >>> counts = np.zeros((2, 2, 4), dtype=np.int64)
    >>> counts[0, 0] = counts[1, 1] = [40, 40, 0, 0]  # value 0: class 0 only; value 1: class 1 only
    >>> auc_of_values(counts, np.ones(2), Sides((0,), (1,))).auc
    1.0
    """
    reason = sides.why_none(counts.sum(axis=0))
    if reason is not None:
        return Alone(None, reason)
    learned = counts[:, :, list(sides.learned)].sum(axis=2).astype(np.float64)
    measured = counts[:, :, list(sides.measured)].sum(axis=2) * scale[:, None]
    scores = rates(learned, scale)[:-1]
    return _mean_auc(scores, measured)


def auc_of_scores(scores: Float64s, classes: Int64s) -> Alone:
    """Return the AUC of B rows' scores, (B, O), for O classes; `classes` are (B,)."""
    return _mean_auc(scores, np.eye(scores.shape[1])[classes])


def _mean_auc(scores: Float64s, weights: Float64s) -> Alone:
    """Return the mean AUC of one class against the rest.

    Parameters
    ----------
    scores
        (V, O): of each value for each of O classes.
    weights
        (V, O): rows of each class measured.
    """
    met = [label for label in range(weights.shape[1]) if weights[:, label].any()]
    if len(met) < 2:
        return Alone(None, "the rows to measure on have only one class")
    # Of two classes, the second against the first says it all.
    aucs = [_auc(scores[:, c], weights[:, c], weights.sum(axis=1) - weights[:, c]) for c in met[len(met) == 2 :]]
    return Alone(sum(aucs) / len(aucs))


def _auc(scores: Float64s, positive: Float64s, negative: Float64s) -> float:
    weights = np.concatenate([positive, negative])
    # Rounding may carry a rate past 1 by one bit.
    keys = pack(np.tile(np.clip(scores, 0, 1), 2), np.repeat([True, False], len(scores)))
    some = np.flatnonzero(weights > 0)
    order = some[np.lexsort((weights[some], keys[some]))]
    doubled, above, below = concordance(keys[order], weights[order])
    return float(doubled / (2 * above * below))
