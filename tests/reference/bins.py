"""Bins and quantiles by sorting everything."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence


def bin_id(number: float, edges: Sequence[float], first: int) -> int:
    return 0 if math.isnan(number) else first + bisect_right(edges, number)


def quantile_edges(numbers: Sequence[float], bins: int) -> list[float]:
    """No value counts as more than one bin."""
    counts = Counter(number for number in numbers if not math.isnan(number))
    most = 1
    while most * bins < sum(min(count, most) for count in counts.values()):
        most += 1
    ordered = sorted(number for number, count in counts.items() for _ in range(min(count, most)))
    edges = {ordered[i * len(ordered) // bins] for i in range(1, bins)} if ordered else set()
    return sorted(edge for edge in edges if edge > ordered[0])
