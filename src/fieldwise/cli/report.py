"""``fieldwise report``: the report of a finished training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldwise.cli.options import Verb, common_options
from fieldwise.cli.output import print_json

if TYPE_CHECKING:
    from fieldwise.jobs.compare.comparison import Comparison
    from fieldwise.jobs.tune.trial import Tuning


@click.command(
    name="report",
    cls=Verb,
    short_help="Draw the report of a finished training.",
    examples=("fieldwise report runs/first", "fieldwise report runs/compared/lc-dnn-16"),
)
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
@common_options
def command(run: Path, threads: int | None, quiet: bool, as_json: bool) -> None:
    """Measure the model in RUN on its test rows, and write report.html, report.json and card.md into RUN.

    train, compare and tune do this when they are done. The report of a comparison or a search is drawn again from the
    figures in its report.json.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.report.report import write_report
    from fieldwise.jobs.threads import use_threads

    use_threads(threads)
    with show_progress(quiet) as listen:
        page = write_report(run, listen=listen)
    if as_json:
        print_json({name: str(page.with_name(name)) for name in ("report.html", "report.json", "card.md")})
    else:
        click.echo(f"Report: {page}")


def show_report(what: Path | Comparison | Tuning, quiet: bool, as_json: bool) -> None:
    """Write the report of what a verb has trained, unless it is there; a warning says where that cannot be done."""
    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.report.report import REPORT_NAME, is_current, report_or_warn

    if isinstance(what, Path) and is_current(what):
        page: Path | None = what / REPORT_NAME
    else:
        with show_progress(quiet) as listen:
            page = report_or_warn(what, listen)
    if page is not None and not as_json:
        click.echo(f"Report: {page}")


def show_updates(run: Path, quiet: bool, as_json: bool) -> None:
    """Write the page of a run's days; a warning says where that cannot be done."""
    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.report.report import drawn_or_warned
    from fieldwise.jobs.report.updates import write_updates_report

    with show_progress(quiet) as listen:
        page = drawn_or_warned(lambda: write_updates_report(run), "the same command", listen)
    if page is not None and not as_json:
        click.echo(f"Report: {page}")
