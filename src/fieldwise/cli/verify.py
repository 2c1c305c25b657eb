"""``fieldwise verify``: compare artefacts with their checksums."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import Verb, json_option
from fieldwise.cli.output import print_json


@click.command(
    name="verify",
    cls=Verb,
    short_help="Verify the checksums of a run, model or cache.",
    examples=("fieldwise verify runs/first", "fieldwise verify .fieldwise"),
)
@click.argument("path", metavar="PATH", type=click.Path(path_type=Path))
@json_option
def command(path: Path, as_json: bool) -> None:
    """Read every byte of the artefacts in PATH and compare it with the checksums recorded when they were written.

    PATH is a run folder, a comparison, a bundle, a checkpoint, the folder .fieldwise of prepared logs, or a folder that
    contains any of these. If something is damaged or missing, the file and the position are printed on standard error,
    and the exit code is 2.
    """
    from fieldwise.errors import UserError
    from fieldwise.jobs.verify import verify

    verification = verify(path)
    if as_json:
        print_json(verification.as_dict())
    else:
        from fieldwise.cli.tables import print_verification

        print_verification(verification)
    for damage in verification.damages:
        click.echo(f"error: {damage}", err=True)
    if verification.damages:
        click.get_current_context().exit(UserError.exit_code)
