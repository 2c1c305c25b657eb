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
        "fieldwise prepare fieldwise.toml --set fields.user_id.min_count=2",
    ),
)
@config_argument
@set_option
@threads_option
@quiet_option
@json_option
def command(config: Path, overrides: tuple[str, ...], threads: int | None, quiet: bool, as_json: bool) -> None:
    """Encode the log that CONFIG describes into a cache on disk, and say what is in it.

    The encoder (vocabularies, bins, scales) learns from the training rows alone. The cache lies in the folder
    .fieldwise beside CONFIG, and is used again while neither the log nor [data] and [fields] change. `train` and
    `compare` prepare by themselves; this verb is for looking first. Rows that cannot be used are counted, and listed
    in rejects.jsonl.
    """
    from fieldwise.cli.progress import show_progress
    from fieldwise.verbs.prepare import prepare

    loaded = load(config, overrides, threads)
    with show_progress(quiet) as listen:
        prepared = prepare(loaded, listen=listen)
    if as_json:
        from fieldwise.cli.output import print_json

        print_json(prepared.summary)
    else:
        from fieldwise.cli.tables import print_prepared

        print_prepared(prepared.summary)
