"""Where a key stands in a TOML file."""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

__all__ = ["line_of"]


def line_of(text: str, path: Sequence[str]) -> int | None:
    r"""Return the line, from 1, on which the statement begins that gives a key, or None where the text has none.

    tomllib names no lines. But lines up to one are TOML unless they end within a statement, so the line sought is the
    first whose statement, read to its end, leaves a tree that has the key. Cost: log2(lines) readings of the text.

    Examples
    --------
    >>> text = "[data]\ntrain = [\n  'a',\n]\n\n[train]\n# many\nepochs = 3\n"
    >>> line_of(text, ["data"]), line_of(text, ["data", "train"]), line_of(text, ["train", "epochs"])
    (1, 2, 8)
    >>> line_of(text, ["train", "seed"]) is None
    True
    """
    lines = text.splitlines(keepends=True)

    def has_it(count: int) -> bool:
        for end in range(count, len(lines) + 1):
            try:
                tree: Any = tomllib.loads("".join(lines[:end]))
            except (ValueError, RecursionError):
                continue
            for name in path:
                if not isinstance(tree, dict) or name not in tree:
                    return False
                tree = tree[name]
            return True
        return False

    at = bisect_left(range(1, len(lines) + 1), True, key=has_it)
    return at + 1 if at < len(lines) else None
