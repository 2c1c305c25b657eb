"""What a cross adds to logits that are there, cell by cell, as the equations say."""

from __future__ import annotations

from collections import defaultdict


def sums_of(cells, parts, slope, bend) -> dict:
    """Return {(cell, part): [sum of slopes, sum of curvatures]}."""
    sums = defaultdict(lambda: [0.0, 0.0])
    for cell, part, s, h in zip(cells, parts, slope, bend, strict=True):
        sums[cell, part][0] += s
        sums[cell, part][1] += h
    return dict(sums)


def weight_of(sums: dict, cell, part, l2: float) -> float:
    """Return what the other parts say of a cell."""
    others = [of for (c, p), of in sums.items() if c == cell and p != part]
    return sum(s for s, _ in others) / (sum(h for _, h in others) + l2)


def held_out_gain(sums: dict, l2: float) -> tuple[float, float]:
    """Return the gain of all parts, and its variance."""
    gain = variance = 0.0
    for (cell, part), (s, h) in sums.items():
        w = weight_of(sums, cell, part, l2)
        gain += w * s - 0.5 * w * w * h
        variance += w * w * h
    return gain, variance


def cell_of(id_: int, other: int, num_others: int, num_cells: int) -> int:
    """The combination's own cell; one that a hash gives it where there are too few."""
    cell = id_ * num_others + other
    return cell if cell < num_cells else (cell * 0x9E3779B97F4A7C15 % 2**64 >> 20) % num_cells
