"""Counts in words, for messages."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count and what is counted, `many` (by default `one` and an s) unless there is one of it.

    Examples
    --------
    >>> counted(1, "field"), counted(25_310, "feature"), counted(0, "class", "classes")
    ('1 field', '25,310 features', '0 classes')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
