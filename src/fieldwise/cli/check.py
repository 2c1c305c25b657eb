"""``fieldwise check``: profile a log before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fieldwise.cli.options import (
    Verb,
    common_options,
    csv_options,
    format_option,
    limit_threads,
    load,
    replace_option,
    set_option,
)
from fieldwise.cli.output import print_json

if TYPE_CHECKING:
    from fieldwise.config import Config
    from fieldwise.data.csv_dialect import CsvOptions


@click.command(
    name="check",
    cls=Verb,
    short_help="Profile a raw log before training: fields, leaks, drift.",
    examples=(
        "fieldwise check clicks.parquet --label click",
        "fieldwise check fieldwise.toml --html check.html",
        "fieldwise check fieldwise.toml --crosses",
        "fieldwise check 'logs/*.tsv.gz' --no-header --columns click,user,item --rows 200000",
    ),
)
@click.argument("log", metavar="CONFIG|LOG...", nargs=-1, required=True)
@click.option(
    "--rows", type=click.IntRange(min=0), default=1_000_000, show_default=True, help="Number of rows to read; 0: all."
)
@click.option(
    "--html", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Also write an HTML report."
)
@click.option(
    "--crosses", is_flag=True, help="Also prepare the log and search for useful crosses of two or three fields."
)
@replace_option
@set_option
@click.option("--label", metavar="COLUMN", help="With LOG: the label column; inferred by default.")
@click.option("--weight", metavar="COLUMN", help="With LOG: the column of example weights.")
@click.option("--group", metavar="COLUMN", help="With LOG: the column to group by for GAUC, e.g. user id.")
@click.option("--id", metavar="COLUMN", help="With LOG: the column that identifies an example.")
@click.option("--split", metavar="COLUMN", help="With LOG: the column with values train, valid, test.")
@format_option
@csv_options
@common_options
def command(
    log: tuple[str, ...],
    rows: int,
    html: Path | None,
    crosses: bool,
    overwrite: bool,
    overrides: tuple[str, ...],
    label: str | None,
    weight: str | None,
    group: str | None,
    id: str | None,
    split: str | None,
    format_: str | None,
    csv: CsvOptions,
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Profile the log described by CONFIG (a .toml file), or LOG (files, globs or folders) with an inferred
    configuration.

    For every field: type, number of distinct values, coverage, the most frequent values with their label rates, the AUC
    of the field alone on held-out rows, and the drift from training to test. For every time column: the label rate by
    day. Warnings report leaks, row numbers, test rows that also occur in training, and more, each with a suggested fix.
    Nothing is trained or changed. The exit code is 0 even if there are warnings.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.jobs.check.check import check
    from fieldwise.jobs.prepare.prepare import search_crosses

    roles = {"label": label, "weight": weight, "group": group, "id": id, "split": split}
    if any(path.endswith(".toml") for path in log):
        _refuse_beside_config(log, {**roles, "format": format_}, csv)
        config = load(Path(log[0]), overrides, threads)
    else:
        config = _inferred(log, roles, format_, csv, overrides, threads)
    if html is not None:
        from fieldwise.jobs.outputs import refuse_output
        from fieldwise.jobs.prepare.logs import open_sources
        from fieldwise.report.check import PAGE_MARK, survey_page

        files = [path for source in open_sources(config) for path in source.log.files]
        refuse_output(html, [*files, *log], _read_again(config), mark=None if overwrite else PAGE_MARK)
    with show_progress(quiet) as listen:
        survey = check(config, rows=rows or None, listen=listen)
        found = search_crosses(config, listen) if crosses else None
    if html is not None:
        from fieldwise.io.files import write_bytes

        write_bytes(html, survey_page(survey).encode())
    if as_json:
        print_json(survey.as_dict() | ({} if found is None else {"crosses": found.as_dict()}))
    else:
        from fieldwise.cli.survey import print_crosses, print_survey

        print_survey(survey)
        if found is not None:
            print_crosses(found)
        if html is not None:
            click.echo(f"Report written to {html}")


def _read_again(config: Config) -> list[str]:
    """Return the folders and patterns whose files are all read, whatever their names: those of a log with a format."""
    return [name for part in ("train", "valid", "test") for name in config.paths(part)] if config.data.format else []


def _refuse_beside_config(log: Sequence[str], options: dict[str, str | None], csv: CsvOptions) -> None:
    """Raise UsageError if options describe a log that the configuration already describes."""
    import msgspec

    if len(log) > 1:
        raise click.UsageError("Pass either one configuration (a .toml file) or logs, not both.")
    usual = msgspec.structs.asdict(type(csv)())
    options |= {name: value for name, value in msgspec.structs.asdict(csv).items() if value != usual[name]}
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise click.BadParameter(
            f"not allowed with a configuration; to change {log[0]}, use --set data.KEY=VALUE.",
            param_hint="--no-header" if given[-1] == "header" else f"--{given[-1]}",
        )


def _inferred(
    log: Sequence[str],
    roles: dict[str, Any],
    format_: str | None,
    csv: CsvOptions,
    overrides: Sequence[str],
    threads: int | None,
) -> Config:
    """Return the configuration that `init` would print, without its `exclude` key: the user has not excluded anything
    yet, and `check` reports the reason for each column that is left out.
    """
    from fieldwise.config import parse_config
    from fieldwise.jobs.init.inference import starting_config
    from fieldwise.jobs.init.sample import look_at

    sample = look_at(log, format_, csv, {name for name in roles.values() if name is not None})
    text, mixed = starting_config(sample, log, format=format_, **roles)
    for remark in sample.read.remarks:
        click.echo(f"note: {remark}", err=True)
    if threads is not None:
        overrides = (*overrides, f"train.threads={threads}")
    config = parse_config(text, where="the inferred configuration", base=Path.cwd(), overrides=overrides)
    if not any(override.startswith("data.exclude") for override in overrides):
        config = config.changed("data", exclude=tuple(mixed))
    limit_threads(config)
    return config
