"""``fieldwise update``: learn from a day, and publish what came of it where it does no harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldwise.cli.options import (
    Verb,
    common_options,
    folders_option,
    format_option,
    report_option,
    run_argument,
    set_option,
)
from fieldwise.cli.output import print_json
from fieldwise.cli.workers import run_with_workers, worker_options

if TYPE_CHECKING:
    from fieldwise.distributed.group import Workers
    from fieldwise.events import Listener


@click.command(
    name="update",
    cls=Verb,
    short_help="Learn from the log of a day, and publish the new version.",
    examples=(
        "fieldwise update runs/first --data clicks/2026-11-12.parquet",
        "fieldwise update runs/first --data clicks/2026-11-12.parquet --json >> updates.jsonl",
        "fieldwise update runs/first --data clicks/2026-11-12.parquet --set guards.largest=40",
        "fieldwise update runs/first --served served/first --labels clicks/2026-11-12.csv",
        "fieldwise update runs/first --data clicks/2026-11-12.parquet --workers 4",
    ),
)
@run_argument
@click.option("--data", metavar="PATH", multiple=True, help="The day's log: file, glob or folder; may be repeated.")
@folders_option("--served", "Instead of --data: the folder of a model in what `fieldwise serve --log` wrote.")
@click.option(
    "--labels",
    metavar="FILE",
    multiple=True,
    help="Labels of rows that were served, or that wait: CSV, Parquet and so on, with the columns of data.id and "
    "data.label; may be repeated.",
)
@click.option(
    "--labels-until",
    metavar="MOMENT",
    help="Up to when labels are known, as 2026-11-30T04:00: rows whose update.label_window is open then wait.",
)
@format_option
@click.option(
    "--no-gate",
    is_flag=True,
    help="Hold out no rows, learn from all of them, and publish the new version without judging it.",
)
@click.option("--again", is_flag=True, help="Learn once more from a day whose version was refused or rolled back.")
@set_option
@report_option
@worker_options
@common_options
def command(
    run: Path,
    data: tuple[str, ...],
    served: tuple[Path, ...],
    labels: tuple[str, ...],
    labels_until: str | None,
    format_: str | None,
    no_gate: bool,
    again: bool,
    overrides: tuple[str, ...],
    with_report: bool,
    workers: int | None,
    hosts: str | None,
    rendezvous: str | None,
    timeout: float | None,
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Let the model in RUN learn from a day's log, in the order of its rows, and put the new version to use.

    It goes on from where training ended: weights, optimizer state and vocabularies, which values join and leave. A
    tenth of the rows is held out to judge by: a version that does harm is kept in RUN/refused, and the one in use
    stays. A day that is not like others is refused before it is learned from. The same day again changes nothing.

    With --served it learns from what was asked and answered, joined by the identifier (data.id) with --labels. Rows
    without a label wait in RUN while their window is open (update.label_window, in days); all are counted and said.

    The settings are those of [update], [gate] and [guards], as they were when RUN was trained.
    """

    def work(team: Workers | None, listen: Listener) -> Callable[[], None]:
        from fieldwise.jobs.threads import use_threads
        from fieldwise.jobs.update.update import update

        use_threads(threads)
        result = update(
            run,
            data or None,
            served=served,
            labels=labels,
            labels_until=labels_until,
            format=format_,
            gate=not no_gate,
            again=again,
            overrides=overrides,
            listen=listen,
            workers=team,
        )

        def show() -> None:
            if as_json:
                print_json(result.as_dict())
            else:
                from fieldwise.cli.days import print_update

                print_update(result)
            if with_report:
                from fieldwise.cli.report import show_updates

                show_updates(run, quiet, as_json)

        return show

    run_with_workers(work, workers, hosts, rendezvous, timeout, quiet)
