"""Where a key of a configuration was written: in which file, on which line, or on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fieldwise.reference.lines import line_of

__all__ = ["Origin"]


class Origin(NamedTuple):
    """Where the keys of a tree come from: a file with its text, and the paths that ``--set`` has set."""

    where: str
    text: str
    overridden: frozenset[tuple[str, ...]]

    def before(self, path: Sequence[str]) -> str:
        """Return what comes before the key in a location: the file and the line, or ``--set``."""
        if tuple(path) in self.overridden:
            return "--set, "
        line = line_of(self.text, path)
        return f"{self.where}, " if line is None else f"{self.where}, line {line}, "

    def at(self, *path: str, shown: str | None = None) -> str:
        """Return the location of a key, called `shown` unless its path says it."""
        return f"{self.before(path)}[{shown or '.'.join(path)}]"
