"""Which penalties of logistic regression are tried, which rows choose one where no others do, and which networks take.

First there is one for all fields. Penalties fall by a factor of 4 from 64 until two in a row are worse on valid than
the best; where 64 is the best they rise in the same way; at last the double and the half of the best are tried. What
decides is logloss: the AUC of a few hundred clicks is noise
(docs/log/2026-11/initial-model.md#which-penalty-for-logistic-regression).

Then every field has its own, as its weights say. A penalty is the inverse of the variance of a field's weights before
the examples, and the one under which the examples are likeliest is, with h the curvature of their loss by a weight w,
a fixed point of (MacKay 1992, "Bayesian interpolation")::

    l2  =  sum over the field's features of h / (h + l2)   /   sum over the field's features of w^2

Rounds of it end when valid gains no more. This takes the posterior of each weight for independent of all others, which
says too little of fields whose features have few examples, crosses above all: their penalties are halved or doubled
together, as valid says (docs/log/2026-11/initial-model.md#which-penalties-for-crosses).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.newton import LogisticSolution

__all__ = ["LEAST_PENALTY", "Fitted", "initial_penalty", "likeliest", "next_penalty", "own_penalties", "put_aside"]

Float64s = npt.NDArray[np.float64]

LEAST_PENALTY = 2.0**-6
_FIRST, _FACTOR, _GREATEST = 64.0, 4.0, 2.0**14
_ASIDE_SHARE, _ENOUGH_ASIDE, _ASIDE_SEED = 0.1, 500, 0
_STRONGER, _LEAST_INITIAL = 4.0, 2.0
_ROUNDS, _WORTH = 4, 1e-4
"""How many rounds there are at most, and which share of the loss one must gain for another."""


class Fitted(NamedTuple):
    """Penalties (F,), the optimum for them, and what valid says of it, more being better."""

    penalties: Float64s
    solution: LogisticSolution
    value: float


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


def likeliest(
    weights: Float64s, curvatures: Float64s, base: npt.NDArray[np.int64], penalties: Float64s
) -> tuple[Float64s, npt.NDArray[np.bool_]]:
    """Return the penalties of the next round, and which fields have few examples for their features: where the penalty
    says more of the weights than the examples do.

    Parameters
    ----------
    weights, curvatures
        (D,), of the optimum for `penalties`, and the second derivatives of its loss.
    base
        (F + 1,): field f has the features from ``base[f]`` to ``base[f + 1]``.
    penalties
        (F,) > 0.

    Examples
    --------
    >>> likeliest(np.array([0.5, -0.5, 3.0]), np.array([4.0, 4.0, 0.0]), np.array([0, 3]), np.array([4.0]))
    (array([2.]), array([False]))
    """
    found, is_sparse = penalties.copy(), np.zeros(len(penalties), dtype=np.bool_)
    for field, (first, last) in enumerate(pairwise(base.tolist())):
        seen = first + np.flatnonzero(curvatures[first:last])
        told = float((curvatures[seen] / (curvatures[seen] + penalties[field])).sum())
        squares = float(np.square(weights[seen]).sum())
        if len(seen):
            found[field] = np.clip(told / max(squares, 1e-300), LEAST_PENALTY, _GREATEST)
            is_sparse[field] = told < 0.5 * len(seen)
    return found, is_sparse


def own_penalties(
    start: Fitted,
    base: npt.NDArray[np.int64],
    curvatures: Callable[[LogisticSolution], Float64s],
    solved: Callable[[Float64s, LogisticSolution], Fitted],
) -> Fitted:
    """Return penalties of fields' own that are better on valid than the best for all fields, `start`; or `start`.

    Parameters
    ----------
    base
        (F + 1,), as in `likeliest`.
    curvatures
        `LogisticProblem.curvatures`.
    solved
        Solves for penalties, from a solution of others.
    """

    def likeliest_after(fitted: Fitted) -> tuple[Float64s, npt.NDArray[np.bool_]]:
        return likeliest(fitted.solution.weights, curvatures(fitted.solution), base, fitted.penalties)

    best = before = start
    for _ in range(_ROUNDS):
        after = solved(likeliest_after(before)[0], before.solution)
        best = max(best, after, key=lambda one: one.value)
        if after.value - before.value <= _WORTH * abs(before.value):
            break
        before = after
    if best is start:
        return start
    is_sparse, rounds = likeliest_after(best)[1], best
    for factor in (0.5, 2.0) if is_sparse.any() else ():
        for _ in range(_ROUNDS):
            after = solved(np.where(is_sparse, factor, 1.0) * best.penalties, best.solution)
            if after.value <= best.value:
                break
            best = after
        if best is not rounds:
            break
    return best


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
