"""Examples as keys, and what is found inside groups, one group after the other; nothing of ours."""

from __future__ import annotations

import struct
from itertools import groupby

from tests.reference import metrics


def key(probability: float, label: bool, double: bool) -> int:
    """The bits of a probability, and its label behind them."""
    of_float, of_bits = ("<d", "<Q") if double else ("<f", "<I")
    [bits] = struct.unpack(of_bits, struct.pack(of_float, abs(probability)))
    return 2 * bits + label


def group_aucs(groups, probabilities, labels, weights):
    """AUC and sum of weights of each group, in the order of the groups; None where a group has one label only."""
    examples = sorted(zip(groups, probabilities, labels, weights, strict=True), key=lambda example: example[0])
    found = []
    for _, members in groupby(examples, key=lambda example: example[0]):
        _, *columns = zip(*members, strict=True)
        found.append((metrics.auc(*columns), sum(columns[2])))
    return found
