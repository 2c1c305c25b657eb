"""``fieldwise forget``: take a person's values out of a run."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import Verb, folders_option, json_option, quiet_option, run_argument
from fieldwise.cli.output import print_json
from fieldwise.counted import counted


@click.command(
    name="forget",
    cls=Verb,
    short_help="Take values, such as a person's, out of a run.",
    examples=(
        "fieldwise forget runs/first --field user_id --values gone.txt",
        "fieldwise forget runs/first --field user_id --values gone.txt --served served/ctr",
    ),
)
@run_argument
@click.option("--field", required=True, metavar="FIELD", help="The field whose values are forgotten.")
@click.option(
    "--values",
    "path",
    required=True,
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The values, one a line, as they stand in the log.",
)
@folders_option("--served", "A folder of what a server logged, whose rows with one of the values are removed")
@folders_option("--prepared", "A prepared log, or a folder of some, which is removed")
@quiet_option
@json_option
def command(
    run: Path, field: str, path: Path, served: tuple[Path, ...], prepared: tuple[Path, ...], quiet: bool, as_json: bool
) -> None:
    """Take values of FIELD out of all that RUN keeps, in every version: texts, rows, optimizer state, held-out rows.

    Afterwards all files are searched for the values' texts and fingerprints; where one is found, it is said where, and
    the exit code is 2. If it is broken off, the same command ends it.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.errors import DataError, UserError
    from fieldwise.jobs.forget.forget import forget

    try:
        values = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError("the values are not UTF-8", where=path, expected="a text a line") from None
    with show_progress(quiet) as listen:
        found = forget(run, field, values, served=served, prepared=prepared, listen=listen)
    if as_json:
        print_json(found.as_dict())
    else:
        click.echo(f"{found.found:,} of {counted(found.values, 'value')} of {field} were known")
        for name, count in found.features.items():
            click.echo(f"  field {name}: {counted(count, 'feature')} freed in all versions")
        click.echo(f"  rewritten: {', '.join([*found.bundles, *found.states]) or 'nothing'}")
        for file, count in found.rows.items():
            click.echo(f"  {counted(count, 'row')} removed from {file}")
        for folder in found.removed:
            click.echo(f"  removed {folder}")
        proof = found.proof
        left = "some are left" if proof.left else "nothing is left"
        click.echo(
            f"searched {counted(proof.files, 'file')} ({counted(proof.num_bytes, 'byte')}) for "
            f"{counted(proof.texts, 'text')} and {proof.fingerprints:,} fingerprints: {left}"
        )
        for text in found.stays:
            click.echo(f"stays: {text}")
    for place in found.proof.left:
        click.echo(f"error: still in {place}", err=True)
    if found.proof.left:
        click.get_current_context().exit(UserError.exit_code)
