"""Areas under curves, exact with ties and weights: examples sorted once, then walked in runs of equal probability.

An example enters as its *key*, one unsigned integer that holds its probability p and its label y::

    key = bits(p) << 1 | y          uint32 for float32 p, uint64 for float64 p

For 0 <= p <= 1 the bits of a float, read as an integer, are in the order of the floats and leave the highest bit free.
So sorting keys sorts examples; equal probabilities stand together, those with label 0 first. Over the runs r of equal
probability, with pos and neg the weights of the two labels and *above* what has a higher probability::

    AUC = sum_r neg_r (pos_above_r + pos_r / 2) / (pos neg)                                    ties count half
    AP  = sum_r pos_r (pos_above_r + pos_r) / (pos_above_r + pos_r + neg_above_r + neg_r) / pos

(AP is the average precision, the area under the precision-recall curve without interpolation.)

The kernels are generic in the type of the weights. Where there are none, `unweighted` gives each example the integer 1:
all sums are then exact in int64, up to 2^31 examples of each label.

Rejected: a histogram over the upper bits of p. It takes 0.2 s for 20 M examples and merges by addition, but is exact
to 8 decimals only, and knows nothing of groups. `lexsort` takes 0.5 s for 20 M uint32 keys on one core,
`numpy.argsort` 3 s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel, part

__all__ = [
    "Keys",
    "Weights",
    "average_precision",
    "concordance",
    "group_aucs",
    "grouped_auc",
    "lexsort",
    "pack",
    "unpack",
    "unweighted",
]

Keys = npt.NDArray[np.unsignedinteger[Any]]
Weights = npt.NDArray[np.int64] | npt.NDArray[np.float64]
Order = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_FEW = 1 << 17
_DIGIT = 11
"""Bits that one pass sorts by: the write positions of 2^11 digits stay in cache, and a uint32 takes three passes."""


def pack(probabilities: npt.NDArray[np.floating[Any]], positive: npt.NDArray[np.bool_]) -> Keys:
    """Return the keys of B examples.

    Parameters
    ----------
    probabilities
        (B,) float32 or float64, in [0, 1], which is not checked here.
    positive
        (B,) whether the label is 1.

    Examples
    --------
    >>> pack(np.array([0.0, 1.0], np.float32), np.array([True, False]))
    array([         1, 2130706432], dtype=uint32)
    """
    bits: Keys = probabilities.view(np.uint32 if probabilities.dtype == np.float32 else np.uint64)
    keys: Keys = np.left_shift(bits, 1)  # shifts out the sign, which only -0.0 has
    keys |= positive
    return keys


def unpack(keys: Keys) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the probabilities of the keys and whether the label is 1.

    Examples
    --------
    >>> unpack(pack(np.array([0.25, 1.0]), np.array([True, False])))
    (array([0.25, 1.  ]), array([ True, False]))
    """
    floating = np.float32 if keys.dtype == np.uint32 else np.float64
    return (keys >> 1).view(floating).astype(np.float64), (keys & 1).astype(np.bool_)


def unweighted(num_examples: int) -> npt.NDArray[np.int64]:
    """Return the weight 1 of each of B examples: a read-only view of one integer, which takes no memory."""
    return np.broadcast_to(np.int64(1), num_examples)


def lexsort(*columns: npt.NDArray[np.unsignedinteger[Any]], few: int = _FEW) -> Order:
    """Return the stable permutation that sorts by the last column, its ties by the one before, as `numpy.lexsort` does.

    Costs one pass over the examples for every 11 bits in which a column varies, and 24 to 32 bytes an example.

    Parameters
    ----------
    columns
        (B,) uint32 or uint64.
    few
        So many examples are left to numpy, which has sorted them before this kernel is compiled.

    Examples
    --------
    >>> lexsort(np.array([1, 0, 0], np.uint32), np.array([7, 9, 7], np.uint64)).tolist()
    [2, 0, 1]
    """
    if len(columns[0]) <= few:
        return np.asarray(np.lexsort(columns))
    order = np.arange(len(columns[0]), dtype=np.int64)
    for column in columns:
        column = np.ascontiguousarray(column).view()
        column.flags.writeable = False  # numba compiles once for each kind of array: keep to one kind
        order = _refine(column, order)
    return order


@kernel(allocates=True)
def _refine(column: npt.NDArray[np.unsignedinteger[Any]], order: Order) -> Order:
    """Sort by `column` what is in `order`, which is overwritten: a radix sort from the lowest digit."""
    num_digits = 1 << _DIGIT
    num_passes = (column.itemsize * 8 + _DIGIT - 1) // _DIGIT
    counts = np.zeros((num_passes, num_digits), np.int64)
    for value in column:
        for k in range(num_passes):
            counts[k, (value >> (k * _DIGIT)) & (num_digits - 1)] += 1

    # Plain loops: numpy's functions for a maximum, a sum and a choice took longer to compile than all of the rest.
    values, next_values, next_order = np.empty_like(column), np.empty_like(column), np.empty_like(order)
    for i in range(len(column)):
        values[i] = column[order[i]]
    for k in range(num_passes):
        place = counts[k]  # becomes where the values of each digit begin
        largest = begin = np.int64(0)
        for digit in range(num_digits):
            count = place[digit]
            largest = max(largest, count)
            place[digit] = begin
            begin += count
        if largest == len(column):  # one digit for all: most digits of weights such as 1.0 and 0.5
            continue
        for i in range(len(column)):
            digit = (values[i] >> (k * _DIGIT)) & (num_digits - 1)
            next_values[place[digit]] = values[i]
            next_order[place[digit]] = order[i]
            place[digit] += 1
        values, next_values = next_values, values
        order, next_order = next_order, order
    return order


@part
def _run_below(keys: Keys, weights: Weights, end: int) -> Any:
    """Return where the run of equal probability that ends at `end` begins, and the weight of its two labels."""
    positive = negative = weights.dtype.type(0)  # zero, of the weights' type
    probability = keys[end - 1] >> 1
    while end > 0 and keys[end - 1] >> 1 == probability:
        end -= 1
        if keys[end] & 1:
            positive += weights[end]
        else:
            negative += weights[end]
    return end, positive, negative


@kernel
def concordance(keys: Keys, weights: Weights) -> Any:
    """Return 2 pos neg AUC, pos and neg of sorted keys; int64 for int64 weights, so exact.

    Parameters
    ----------
    keys
        (B,), sorted.
    weights
        (B,) int64 or float64, not negative.

    Examples
    --------
    >>> keys = np.sort(pack(np.array([0.1, 0.3, 0.3, 0.8]), np.array([False, False, True, True])))
    >>> concordance(keys, unweighted(4))
    (7, 2, 2)
    """
    doubled = above = below = weights.dtype.type(0)
    end = len(keys)
    while end > 0:
        end, positive, negative = _run_below(keys, weights, end)
        doubled += negative * (2 * above + positive)
        above += positive
        below += negative
    return doubled, above, below


@kernel
def average_precision(keys: Keys, weights: Weights) -> float:
    """Return the average precision of sorted keys, which must hold a label 1 of positive weight.

    Examples
    --------
    >>> keys = np.sort(pack(np.array([0.1, 0.3, 0.3, 0.8]), np.array([False, False, True, True])))
    >>> round(average_precision(keys, unweighted(4)), 6)
    0.833333
    """
    area = 0.0
    positives = total = weights.dtype.type(0)
    end = len(keys)
    while end > 0:
        end, positive, negative = _run_below(keys, weights, end)
        positives += positive
        total += positive + negative
        if positive > 0:
            area += positive * (positives / total)
    return float(area / positives)


@kernel(allocates=True)
def group_aucs(groups: npt.NDArray[np.uint64], keys: Keys, weights: Weights) -> tuple[Floats, Floats]:
    """Return the AUC of each group, NaN where it holds one label only, and its sum of weights.

    The examples are sorted by group, then by key; the groups come in this order.

    Examples
    --------
    >>> keys = pack(np.array([0.2, 0.6, 0.7, 0.4]), np.array([False, True, True, True]))
    >>> group_aucs(np.array([1, 1, 1, 8], np.uint64), keys, unweighted(4))
    (array([ 1., nan]), array([3., 1.]))
    """
    num_groups = 0
    for i in range(len(groups)):
        if i == 0 or groups[i] != groups[i - 1]:
            num_groups += 1
    aucs, sums = np.full(num_groups, np.nan), np.empty(num_groups)
    begin = 0
    for number in range(num_groups):
        end = begin + 1
        while end < len(keys) and groups[end] == groups[begin]:
            end += 1
        doubled, positive, negative = concordance(keys[begin:end], weights[begin:end])
        if positive > 0 and negative > 0:
            aucs[number] = doubled / (2.0 * positive * negative)
        sums[number] = positive + negative
        begin = end
    return aucs, sums


@kernel(allocates=True)
def grouped_auc(groups: npt.NDArray[np.uint64], keys: Keys, weights: Weights) -> tuple[float, float, float, int, int]:
    """Return the sums that make GAUC, over examples sorted by group, then by key.

    Returns
    -------
    weighted_auc, weight, weight_left_out
        Sum of weight times AUC, and sum of weight, over the groups with both labels; sum of weight over the others.
    num_groups, num_left_out
        Number of groups with both labels, and of the others.

    Examples
    --------
    >>> keys = pack(np.array([0.2, 0.6, 0.7, 0.4]), np.array([False, True, True, True]))
    >>> grouped_auc(np.array([1, 1, 1, 8], np.uint64), keys, unweighted(4))
    (3.0, 3.0, 1.0, 1, 1)
    """
    weighted_auc = weight = weight_left_out = 0.0
    num_left_out = 0
    aucs, sums = group_aucs(groups, keys, weights)
    for number in range(len(aucs)):
        if np.isnan(aucs[number]):
            weight_left_out += sums[number]
            num_left_out += 1
        else:
            weighted_auc += sums[number] * aucs[number]
            weight += sums[number]
    return weighted_auc, weight, weight_left_out, len(aucs) - num_left_out, num_left_out
