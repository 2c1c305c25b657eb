"""``fieldwise init``: a configuration to start from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldwise.cli.options import Verb, csv_options, format_option, json_option, replace_option
from fieldwise.cli.output import print_json

if TYPE_CHECKING:
    from fieldwise.data.csv_dialect import CsvOptions


@click.command(
    name="init",
    cls=Verb,
    short_help="Infer a configuration from a log and print it.",
    examples=(
        "fieldwise init clicks.parquet --label click > fieldwise.toml",
        "fieldwise init 'logs/*.tsv.gz' --no-header --columns click,user,item --out fieldwise.toml",
    ),
)
@click.argument("log", metavar="LOG...", nargs=-1, required=True)
@click.option("--label", metavar="COLUMN", help="The label column; inferred by default.")
@click.option("--weight", metavar="COLUMN", help="The column of example weights.")
@click.option("--group", metavar="COLUMN", help="The column to group by for GAUC, such as the user or session id.")
@click.option("--id", metavar="COLUMN", help="The column that identifies an example; copied to the predictions.")
@click.option("--split", metavar="COLUMN", help="The column with the values train, valid, test.")
@click.option("--time", metavar="COLUMN", help="The column by which valid and test are cut from the end of the log.")
@format_option
@csv_options
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write the configuration to this file.")
@replace_option
@json_option
def command(
    log: tuple[str, ...],
    label: str | None,
    weight: str | None,
    group: str | None,
    id: str | None,
    split: str | None,
    time: str | None,
    format_: str | None,
    csv: CsvOptions,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Infer a configuration from the first rows of LOG (files, globs or folders) and print it for review and editing.

    Every column becomes a field with an inferred type and the reason in a comment; a time becomes an hour and a
    weekday. Columns that cannot help on new examples (row ids, constants) are left out. Settings deleted from the
    configuration are inferred again when it is used.
    """
    from fieldwise.data.read_report import describe
    from fieldwise.errors import ConfigError
    from fieldwise.jobs.init.inference import starting_config
    from fieldwise.jobs.init.sample import look_at
    from fieldwise.jobs.outputs import refuse_output

    if out is not None and out.exists() and not overwrite:
        raise ConfigError(
            "the configuration file already exists",
            where=out,
            fix="choose another file, or use --overwrite to replace it",
        )
    sample = look_at(log, format_, csv, {name for name in (label, weight, group, id, split, time) if name is not None})
    if out is not None:  # without a format its ending says that it would be none of the log
        refuse_output(out, sample.log.files, log if format_ is not None else (), mark=None)
    text, _ = starting_config(
        sample,
        _seen_from(log, out),
        label,
        weight=weight,
        group=group,
        id=id,
        split=split,
        time=time,
        format=format_,
        remarks=describe(sample.read),
        file="fieldwise.toml" if out is None else str(out),
    )
    if out is not None:
        from fieldwise.io.files import write_bytes

        write_bytes(out, text.encode())
    if as_json:
        import tomllib

        print_json({**tomllib.loads(text), "read": sample.read.as_dict()})
        return
    for line in describe(sample.read):
        click.echo(f"note: {line}", err=True)
    click.echo(text.rstrip() if out is None else f"Configuration written to {out}; please review it.")


def _seen_from(paths: Sequence[str], out: Path | None) -> list[str]:
    """Return the paths as the configuration must name them: relative paths relative to its own folder."""
    if out is None:
        return list(paths)
    return [path if os.path.isabs(path) or "://" in path else os.path.relpath(path, out.parent) for path in paths]
