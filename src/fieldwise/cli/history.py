"""``fieldwise history``: what became of each day of a run that is updated."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import Verb, json_option, run_argument
from fieldwise.cli.output import print_json


@click.command(
    name="history",
    cls=Verb,
    short_help="Print what became of each day of an updated run.",
    examples=("fieldwise history runs/first", "fieldwise history runs/first --last 30 --json"),
)
@run_argument
@click.option("--last", metavar="DAYS", type=click.IntRange(min=1), help="Only the newest days.")
@json_option
def command(run: Path, last: int | None, as_json: bool) -> None:
    """Print each day that RUN was updated with: how well its rows were predicted before they were learned from, how
    many values were new, and whether the version that came of it was published. Days whose version was gone back from
    (`fieldwise rollback`) are marked: later versions have not learned from them.
    """
    from fieldwise.jobs.update.history import read_history

    record = read_history(run)
    first = max(len(record.days) - last, 0) if last is not None else 0
    days = record.days[first:]
    if as_json:
        plain = [{**day.as_dict(), "lost": record.has_lost(day)} for day in days]
        print_json({"current": record.current, "head": record.head, "days": plain})
    else:
        from fieldwise.cli.days import print_history

        print_history(record, days, first + 1)
