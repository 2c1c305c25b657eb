"""How counts and durations are written in tables and progress lines."""

from __future__ import annotations

__all__ = ["compact", "duration"]


def compact(count: float) -> str:
    """Return a count with three significant digits and a metric prefix.

    Examples
    --------
    >>> [compact(count) for count in (0, 950, 25_310, 8_672_633, 1.78e10)]
    ['0', '950', '25.3k', '8.67M', '17.8G']
    """
    for letter, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g}{letter}" if count < 999.5 * size else f"{count / size:.0f}{letter}"
    return f"{count:.0f}"


def duration(seconds: float) -> str:
    """Return a duration as ``[H:]M:SS``.

    Examples
    --------
    >>> duration(7.2), duration(125), duration(3723)
    ('0:07', '2:05', '1:02:03')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
