"""Keys numbered and counted by a dictionary."""

from __future__ import annotations


def numbered(chunks: list[list[int]], threshold: int) -> tuple[list[list[int]], list[list[int]], list[int]]:
    """Return the number of each key, the places in each chunk where a key came for the threshold-th time, and the keys
    in the order of their numbers; the key 0 is none.
    """
    counts: dict[int, int] = {}
    numbers, reached = [], []
    for chunk in chunks:
        numbers.append([])
        reached.append([])
        for place, key in enumerate(chunk):
            if key:
                counts[key] = counts.get(key, 0) + 1
                if counts[key] == threshold:
                    reached[-1].append(place)
            numbers[-1].append(1 + list(counts).index(key) if key else 0)
    return numbers, reached, list(counts)
