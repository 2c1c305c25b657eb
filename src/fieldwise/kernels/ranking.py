"""How well examples are ranked inside groups: sums over groups of examples that are sorted by group, then by key.

With the examples of a group at the ranks 1, 2, ... by falling probability, y their labels, P the number of label 1 in
the group, and k the cutoff::

    DCG = sum over ranks j <= k of y_j / log2(1 + j)        NDCG = DCG / DCG of the best order
    reciprocal rank = 1 / (rank of the first y = 1)         no cutoff
    hit = 1 if one of the ranks j <= k has y = 1, else 0
    recall = sum over ranks j <= k of y_j / P

Among equal probabilities every order is equally likely, and what is returned is the mean over the orders: a model that
says the same of all examples gains nothing by the order of the log. Keys are those of `kernels.auc`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fieldwise.kernels.jit import kernel

__all__ = ["rank_in_groups"]


@kernel(allocates=True)
def rank_in_groups(
    groups: npt.NDArray[np.uint64], keys: npt.NDArray[np.unsignedinteger[Any]], cutoff: int
) -> tuple[float, float, float, float, int]:
    """Return sums over the groups with an example of label 1, and how many these are.

    Parameters
    ----------
    groups, keys
        (B,) sorted by group, then by key.
    cutoff
        k >= 1.

    Returns
    -------
    ndcg, reciprocal_rank, hit, recall
        Sums over groups, each between 0 and `num_groups`.
    num_groups
        Groups with label 1.

    Examples
    --------
    >>> from fieldwise.kernels.auc import pack
    >>> keys = pack(np.array([0.2, 0.6, 0.7, 0.4]), np.array([True, True, False, False]))
    >>> rank_in_groups(np.array([1, 1, 1, 8], np.uint64), keys, 1)
    (0.0, 0.5, 0.0, 0.0, 1)
    """
    cutoff = min(cutoff, len(keys))  # no group is larger
    gain = np.zeros(cutoff + 1)  # of the ranks up to j, each with label 1
    for j in range(1, cutoff + 1):
        gain[j] = gain[j - 1] + 1.0 / np.log2(1.0 + j)
    one = keys.dtype.type(1)
    ndcg = reciprocal = hit = recall = 0.0
    num_groups = 0
    end = len(keys)
    while end > 0:
        begin = end - 1
        positive = keys[begin] & one
        while begin > 0 and groups[begin - 1] == groups[end - 1]:
            begin -= 1
            positive += keys[begin] & one
        if positive > 0:
            num_groups += 1
            num_positive = float(positive)
            gained = found = 0.0
            is_first = True
            above = 0  # ranks above the run of equal probabilities that ends before `at`
            at = end
            while at > begin:
                last = keys[at - 1] | one
                size = 0
                own = 0.0
                while at - size > begin and keys[at - size - 1] | one == last:
                    own += float(keys[at - size - 1] & one)
                    size += 1
                inside = min(max(cutoff - above, 0), size)
                if own > 0:
                    gained += own / size * (gain[min(above + size, cutoff)] - gain[min(above, cutoff)])
                    found += own * inside / size
                    if is_first:
                        is_first = False
                        none = 1.0  # the probability that no label 1 is among the first j of the run
                        for j in range(size):
                            here = none * own / (size - j)
                            reciprocal += here / (above + j + 1)
                            if j < inside:
                                hit += here
                            none -= here
                            if none <= 0.0:
                                break
                above += size
                at -= size
            ndcg += gained / gain[min(int(num_positive), cutoff)]
            recall += found / num_positive
        end = begin
    return ndcg, reciprocal, hit, recall, num_groups
