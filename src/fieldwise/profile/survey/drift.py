"""Drift: how far the values of a column in the test rows are from those in the training rows.

The measure is the population stability index over bins b, with p_b and q_b the shares of the training and test rows::

    PSI = sum_b (q_b - p_b) ln(q_b / p_b)       p_b = (n_b + 1/2) / (n + B/2), q_b alike: no share is 0

The bins of a category or bag are its 20 most frequent values in training, all other values, and missing; those of a
number are ten quantile ranges of training, and missing. It is 0 for equal shares and the same both ways. The usual
reading: below .1 nothing, above .25 a change that matters. Two samples of one distribution come to about
(B - 1)(1/n + 1/m) by chance, n and m being their sizes (the index is then nearly a chi-squared variable times
1/n + 1/m; Yurdakul and Naranjo, Statistical properties of the population stability index, Journal of Risk Model
Validation, 2020), so that figure stands beside it.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.profile.survey.cells import HELD_OUT, TEST, TRAIN

__all__ = ["NUM_BINS", "NUM_VALUES", "Drift", "drift_of_bins", "drift_of_values"]

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

NUM_VALUES = 20
NUM_BINS = 10


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """What changes from the training to the test rows.

    Attributes
    ----------
    psi
        The population stability index.
    psi_by_chance
        What it comes to, about, where nothing changes.
    unseen
        The share of the values in the test rows, missing ones apart, that no training row has; None for numbers, whose
        values need not recur, and where the test rows hold no value.
    """

    psi: float
    psi_by_chance: float
    unseen: float | None = None


def drift_of_values(counts: Int64s, scale: Float64s, missing: Int64s) -> Drift | None:
    """Compare categories or the values of bags; None where there are no training or no test rows.

    Parameters
    ----------
    counts
        (V, classes, sets).
    scale
        (V,): for how many values each stands.
    missing
        (classes, sets).
    """
    train, test = (side * scale for side in _train_and_test(counts))
    frequent = np.zeros(len(train), dtype=np.bool_)
    frequent[np.argsort(-train, kind="stable")[:NUM_VALUES]] = True
    train_missing, test_missing = _train_and_test(missing[None])
    found = _psi(
        np.concatenate([train[frequent], [train[~frequent].sum()], train_missing]),
        np.concatenate([test[frequent], [test[~frequent].sum()], test_missing]),
    )
    if found is None:
        return None
    unseen = float(test[train == 0].sum() / test.sum()) if test.any() else None
    return msgspec.structs.replace(found, unseen=unseen)


def drift_of_bins(counts: Int64s) -> Drift | None:
    """Compare the bins of a number, (bins, classes, sets); None where there are no training or no test rows."""
    train, test = _train_and_test(counts)
    return _psi(train.astype(np.float64), test.astype(np.float64))


def _train_and_test(counts: Int64s) -> tuple[Int64s, Int64s]:
    rows = counts.sum(axis=1)
    return rows[:, TRAIN] + rows[:, HELD_OUT], rows[:, TEST]


def _psi(train: Float64s, test: Float64s) -> Drift | None:
    if not train.any() or not test.any():
        return None
    met = (train > 0) | (test > 0)
    train, test = train[met], test[met]
    p = (train + 0.5) / (train.sum() + len(train) / 2)
    q = (test + 0.5) / (test.sum() + len(test) / 2)
    chance = (len(train) - 1) * (1 / float(train.sum()) + 1 / float(test.sum()))
    return Drift(psi=float(((q - p) * np.log(q / p)).sum()), psi_by_chance=chance)
