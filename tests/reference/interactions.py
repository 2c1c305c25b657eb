"""Slow twins of the pairs of fields: loops over numbers."""

from __future__ import annotations


def sum_pairs(units, pairs):
    """Return for each example the sum of the dot products of the numbers of two fields, over the pairs."""
    return [sum(a * b for f, g in pairs for a, b in zip(fields[f], fields[g], strict=True)) for fields in units]


def pair_gradients(units, pairs, of_sums):
    """Return the gradient of the units from that of the sums."""
    found = [[[0.0] * len(numbers) for numbers in fields] for fields in units]
    for fields, out, factor in zip(units, found, of_sums, strict=True):
        for f, g in pairs:
            for k in range(len(fields[f])):
                out[f][k] += factor * fields[g][k]
                out[g][k] += factor * fields[f][k]
    return found
