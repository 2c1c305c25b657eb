"""Isotonic regression by its min-max formula: slow, and plainly right."""

from __future__ import annotations

import numpy as np


def isotonic(values, weights):
    """g_i = max over j <= i of min over k >= i of the weighted mean of values j .. k."""

    def mean(j, k):
        return np.average(values[j : k + 1], weights=weights[j : k + 1])

    size = range(len(values))
    return np.array([max(min(mean(j, k) for k in size if k >= i) for j in size if j <= i) for i in size])
