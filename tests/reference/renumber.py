"""The different numbers of a list, in the order in which they first come."""

from __future__ import annotations


def renumbered(ids: list[int]) -> tuple[list[int], list[int]]:
    """Return the number of each id, and the id of each number."""
    distinct = list(dict.fromkeys(ids))
    return [distinct.index(id_) for id_ in ids], distinct
