"""What goes to standard output: a single JSON value, or text and tables."""

from __future__ import annotations

import json
import math
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

__all__ = ["Footnotes", "compact", "duration", "print_commands", "print_json", "print_table"]

_MAX_COLUMNS = 100


def print_json(value: object) -> None:
    """Print one JSON value: keys in the given order, floats in full precision, null for a float that is not finite."""
    click.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    """Replace the floats that JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


class Footnotes:
    """Numbered footnotes that give the reasons for empty cells, one number per reason.

    Examples
    --------
    >>> notes = Footnotes()
    >>> notes.mark("only label 1 occurs"), notes.mark("no groups"), notes.mark("only label 1 occurs")
    ('- [1]', '- [2]', '- [1]')
    >>> notes.lines()
    ['[1] only label 1 occurs', '[2] no groups']
    """

    def __init__(self) -> None:
        self.reasons: dict[str, int] = {}

    def mark(self, reason: str) -> str:
        """Return the text of the empty cell: a dash and the number of the footnote."""
        return f"- [{self.reasons.setdefault(reason, len(self.reasons) + 1)}]"

    def lines(self) -> list[str]:
        """Return the footnotes, one line for each reason."""
        return [f"[{number}] {reason}" for reason, number in self.reasons.items()]


def print_table(
    title: str,
    headings: Sequence[str],
    lines: Iterable[Sequence[str]],
    *,
    num_texts: int = 1,
    notes: Footnotes | None = None,
) -> None:
    """Print a table at most 100 characters wide: `num_texts` left-aligned columns, then right-aligned figures."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(Text(heading), justify="left" if number < num_texts else "right", overflow="fold")
    for line in lines:
        # As Text, so that a name in brackets is not read as rich's markup.
        table.add_row(*(Text(cell) for cell in line))
    width = min(_MAX_COLUMNS, shutil.get_terminal_size((_MAX_COLUMNS, 24)).columns)
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(table)
    drawn = [line.rstrip() for line in capture.get().splitlines()]
    click.echo("\n".join([title, *filter(None, drawn), *(notes.lines() if notes else []), ""]))


def print_commands(title: str, commands: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Print suggested commands, each below a comment; commands are never wrapped, so that they can be copied."""
    click.echo(title)
    for what, words in commands:
        click.echo(f"  # {what}\n  {shlex.join(words)}")


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
