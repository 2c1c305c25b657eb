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


def suitable_bins(numbers: Sequence[float]) -> int:
    """A third of the cube root of how many there are; one each where few are different, and none like its neighbour:
    the correlation of n pairs of neighbours is below 1.64 / sqrt(n).
    """
    counts = Counter(number for number in numbers if not math.isnan(number))
    logs = [math.log(counts[number]) for number in sorted(counts)]
    bins = round(counts.total() ** (1 / 3) / 3)
    if len(logs) <= 128 and round(correlation(logs[:-1], logs[1:]), 9) * math.sqrt(max(len(logs) - 1, 0)) < 1.64:
        bins = len(logs)
    return min(max(bins, 8), 128)


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    if len(xs) < 2 or len(set(xs)) == 1 or len(set(ys)) == 1:
        return 0.0
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True))
    return above / math.sqrt(sum((a - x) ** 2 for a in xs) * sum((b - y) ** 2 for b in ys))
