"""Slow twins of the kernels between cache and batch, in plain lists."""

from __future__ import annotations


def gather_lines(plane, starts, lines, out):
    """Return `out` with ``out[lines[l]][b] = plane[starts[b] + l]``."""
    out = [list(line) for line in out]
    for b, start in enumerate(starts):
        for place, line in enumerate(lines):
            out[line][b] = plane[start + place]
    return out


def pack_lines(ids, lines, first, num_examples):
    """Return the rows of examples first .. first + num_examples - 1, with these lines only."""
    return [[ids[line][first + b] for line in lines] for b in range(num_examples)]


def gather_bags(blocks, places):
    """Return (offsets, ids, weights) of ``blocks[block][g][row] = [(id, weight), ...]`` at places (block, row)."""
    offsets, ids, weights = [], [], []
    num_bags = len(blocks[0]) if blocks else 0
    for g in range(num_bags):
        line = [len(ids)]
        for block, row in places:
            for id_, weight in blocks[block][g][row]:
                ids.append(id_)
                weights.append(weight)
            line.append(len(ids))
        offsets.append(line)
    return offsets, ids, weights


def fisher_yates(draws, items):
    """Return the items shuffled by 64-bit draws."""
    items = list(items)
    for i in range(len(items) - 1, 0, -1):
        j = ((draws[i] >> 32) * (i + 1)) >> 32
        items[i], items[j] = items[j], items[i]
    return items
