"""``fieldwise rollback``: put an earlier version of a run to use."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import Verb, json_option, run_argument
from fieldwise.cli.output import print_json


@click.command(
    name="rollback",
    cls=Verb,
    short_help="Put the previous version back into use.",
    examples=("fieldwise rollback runs/first", "fieldwise rollback runs/first --to 12"),
)
@run_argument
@click.option(
    "--to", metavar="VERSION", type=click.IntRange(min=1), help="The version to use; by default that before the newest."
)
@json_option
def command(run: Path, to: int | None, as_json: bool) -> None:
    """Put an earlier version of an updated RUN to use, at once: servers take it as they take a new one.

    The next update goes on from that version, without what later ones have learned. Repeated, the same command changes
    nothing: --to goes further back, or forward again.
    """
    from fieldwise.jobs.update.update import rollback

    version = rollback(run, to)
    if as_json:
        print_json({"version": version})
    else:
        click.echo(
            f"version {version} is in use; the next update continues from it, without what later versions have learned"
        )
