"""Batches as plain lists, ``fields[f][b] = [(local id, value), ...]``: joined, selected, with features once each."""

from __future__ import annotations

from tests.reference.batches import Features


def join(batches: list[Features]) -> Features:
    """The examples of several batches, in order."""
    return [[bag for field in of_field for bag in field] for of_field in zip(*batches, strict=True)]


def select(fields: Features, kept: list[bool]) -> Features:
    """Some of the examples."""
    return [[bag for bag, keep in zip(field, kept, strict=True) if keep] for field in fields]


def summed(bag: list[tuple[int, float]]) -> dict[int, float]:
    """Every feature of a bag once, with the sum of its weights."""
    found: dict[int, float] = {}
    for id_, weight in bag:
        found[id_] = found.get(id_, 0.0) + weight
    return found
