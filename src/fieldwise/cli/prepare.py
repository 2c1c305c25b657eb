"""``fieldwise prepare``: encode a log."""

from __future__ import annotations

from pathlib import Path

import click

from fieldwise.cli.options import Verb, config_argument, json_option, load, quiet_option, set_option, threads_option


@click.command(
    name="prepare",
    cls=Verb,
    short_help="Encode the log: fields to features, rows to a cache.",
    examples=(
        "fieldwise prepare fieldwise.toml",
        "fieldwise prepare fieldwise.toml --dry-run",
        "fieldwise prepare fieldwise.toml --memory 2GB --max-rejects 0.001 --set fields.user_id.min_count=2",
    ),
)
@config_argument
@click.option("--dry-run", is_flag=True, help="Print rows, features, memory, disk and time expected; write nothing.")
@click.option("--memory", metavar="SIZE", help="What may be taken, as in 2GB; half of what is free unless given.")
@click.option(
    "--max-rejects",
    type=click.FloatRange(min=0),
    help="Stop where more rows than this cannot be used: a number, or a share below 1.",
)
@set_option
@threads_option
@quiet_option
@json_option
def command(
    config: Path,
    dry_run: bool,
    memory: str | None,
    max_rejects: float | None,
    overrides: tuple[str, ...],
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Encode the log that CONFIG describes into a cache on disk, and say what is in it.

    The encoder (vocabularies, bins, scales) learns from the training rows alone. The cache lies in the folder
    .fieldwise beside CONFIG, and is used again while neither the log nor [data] and [fields] change. `train` and
    `compare` prepare by themselves; this verb is for looking first. Rows that cannot be used are counted, and listed
    in rejects.jsonl. Neither threads nor memory change what is written.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.verbs.prepare import prepare

    loaded = load(config, overrides, threads)
    if dry_run:
        from fieldwise.verbs.estimate import estimate

        expected = estimate(loaded, memory=memory)
        if as_json:
            from fieldwise.cli.output import print_json

            print_json(expected.as_dict())
        else:
            from fieldwise.cli.tables import print_estimate

            print_estimate(expected)
        return
    with show_progress(quiet) as listen:
        prepared = prepare(loaded, memory=memory, max_rejects=max_rejects, listen=listen)
    if as_json:
        from fieldwise.cli.output import print_json

        print_json(prepared.summary)
    else:
        from fieldwise.cli.tables import print_prepared

        print_prepared(prepared.summary)
