"""What ``fieldwise update`` and ``fieldwise history`` print of days."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from fieldwise.cli.output import compact, print_table
from fieldwise.cli.tables import print_read
from fieldwise.counted import counted

if TYPE_CHECKING:  # most verbs need no torch, and none needs what the others print
    from fieldwise.jobs.update.result import DayRecord, Figures, UpdateResult
    from fieldwise.jobs.update.versions import Record

__all__ = ["curve", "print_history", "print_update"]

_BARS = "▁▂▃▄▅▆▇█"
_WIDEST = 60
_UNDONE = "undone: an earlier version was put back into use, and later versions have not learned from this day"
_HEADINGS = ["auc", "logloss", "norm. entropy", "calibration"]


def curve(values: Sequence[float | None]) -> str:
    """Return figures as bars from the lowest to the highest, a space where there is none.

    Examples
    --------
    >>> curve([0.7, 0.74, None, 0.8])
    '▁▄ █'
    """
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    steps = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if value is None else _BARS[int((value - low) * steps + 0.5)] for value in values)


def print_update(result: UpdateResult) -> None:
    """Print what became of a day."""
    day = result.record
    if result.repeated:
        click.echo("These rows have been learned from before: nothing was changed.")
        if result.lost:
            click.echo("The version that learned from them is no longer in use: --again learns from them once more.")
    lines = []
    if day.progressive is not None:
        lines.append(["its rows, before they were learned from", *_figures(day.progressive)])
    if day.held_out is not None:
        lines.append(["held-out rows: the new version", *_figures(day.held_out.new)])
        lines.append(["held-out rows: the version before", *_figures(day.held_out.old)])
    if lines:
        print_table(_title(day), ["", "examples", *_HEADINGS], lines)
    else:
        click.echo(_title(day))
    rows, features = day.rows, day.features
    click.echo(
        f"rows: {rows.read:,} read, {rows.used:,} learned from, {rows.held_out:,} held out, {rows.rejected:,} rejected"
    )
    print_read(result.read)
    _print_late(day)
    if day.version is not None:
        click.echo(f"features: {features.living:,}, of which {features.new:,} are new; {features.left:,} left")
    for warning in day.warnings:
        click.echo(f"warning: {warning}")
    for reason in day.reasons:
        click.echo(f"refused: {reason}")
    state = "is published" if day.published else "was refused, and is kept in the folder refused" if day.version else ""
    click.echo(
        f"version {day.version} {state}; version {day.current} is in use"
        if day.version
        else f"version {day.current} is in use"
    )
    if day.is_lost:
        click.echo(_lost(day))


def _print_late(day: DayRecord) -> None:
    """Print what became of rows whose labels come later, and of the labels."""
    counts, labels, skew = day.waiting, day.labels, day.skew
    if counts is None:
        return
    click.echo(
        f"rows and their labels: {counts.read:,} read, {counts.waited:,} waiting from before; {counts.ready:,} are "
        f"ready, {counts.waiting:,} wait, {counts.closed:,} got no click, {counts.outlived:,} left out unlabelled, "
        f"{counts.repeated:,} known before, {counts.passed:,} too old"
    )
    if counts.early:
        click.echo(f"learned from as no click yet: {counts.early:,}")
    if labels is not None and labels.read:
        click.echo(
            f"labels: {labels.read:,} read, {labels.used:,} used, {labels.known:,} known before, {labels.unknown:,} of "
            f"unknown rows, {labels.twice:,} twice, {labels.contradictory:,} contradictory, {labels.unreadable:,} "
            "unreadable"
        )
    if skew is not None:
        click.echo(
            f"answered and recomputed probabilities of {counted(skew.rows, 'row')} differ by at most {skew.largest:.2g}"
        )


def print_history(record: Record, days: Sequence[DayRecord], first: int = 1) -> None:
    """Print a line for each day, of which the first has this number, and how its figures moved."""
    if not days:
        click.echo("The run has not been updated yet; version 1 is the trained model.")
        return
    print_table(
        f"{counted(len(days), 'day')}; version {record.current} is in use",
        ["day", "version", "published", "auc", "logloss", "entropy", "calibration", "unseen", "features"],
        [_line(number, day, record.has_lost(day)) for number, day in enumerate(days, first)],
        num_texts=3,
    )
    shown = days[-_WIDEST:]
    getters: dict[str, Callable[[Figures], float | None]] = {
        "auc": lambda figures: figures.auc,
        "norm. entropy": lambda figures: figures.normalized_entropy,
        "calibration": lambda figures: figures.calibration,
    }
    for name, get in getters.items():
        values = [None if day.progressive is None else get(day.progressive) for day in shown]
        known = [value for value in values if value is not None]
        if known:
            click.echo(f"{name:>13}  {curve(values)}  {min(known):.4f} to {max(known):.4f}")
    for number, day in enumerate(days, first):
        lost = [_lost(day)] if day.is_lost else [_UNDONE] if record.has_lost(day) else []
        for reason in (*day.reasons, *lost):
            click.echo(f"{day.summary.day or number}: {reason}")


def _lost(day: DayRecord) -> str:
    return f"later versions continue from version {day.head}, without what was learned after it, on this day too"


def _title(day: DayRecord) -> str:
    return f"The day {day.summary.day}" if day.summary.day else "The day"


def _line(number: int, day: DayRecord, is_lost: bool) -> list[str]:
    figures, fields = day.progressive, day.summary.fields.values()
    unseen = max((field.unseen for field in fields), default=0.0)
    return [
        day.summary.day or str(number),
        "-" if day.version is None else str(day.version),
        ("undone" if is_lost else "yes") if day.published else "no",
        *(["-"] * 4 if figures is None else _figures(figures)[1:]),
        f"{unseen:.1%}",
        compact(day.features.living) if day.version is not None else "-",
    ]


def _figures(figures: Figures) -> list[str]:
    values = (figures.auc, figures.logloss, figures.normalized_entropy, figures.calibration)
    return [f"{figures.num_examples:,}", *("-" if value is None else f"{value:.4f}" for value in values)]
