"""``fieldwise prepare``: encode a log into a cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fieldwise.cli.options import Verb, config_argument, config_options, load
from fieldwise.cli.output import print_json
from fieldwise.cli.workers import run_with_workers, worker_options

if TYPE_CHECKING:
    from fieldwise.distributed.group import Workers
    from fieldwise.events import Listener


@click.command(
    name="prepare",
    cls=Verb,
    short_help="Encode a log into a cache on disk.",
    examples=(
        "fieldwise prepare fieldwise.toml",
        "fieldwise prepare fieldwise.toml --dry-run",
        "fieldwise prepare fieldwise.toml --memory 2GB --max-rejects 0.001 --set fields.user_id.min_count=2",
        "fieldwise prepare fieldwise.toml --workers 8 --hosts 2:4 --rendezvous first:29400",
    ),
)
@config_argument
@click.option("--dry-run", is_flag=True, help="Estimate rows, features, memory, disk and time; write nothing.")
@click.option("--memory", metavar="SIZE", help="Memory limit, e.g. 2GB. Default: half of the free memory.")
@click.option(
    "--max-rejects",
    type=click.FloatRange(min=0),
    help="Fail if more rows than this are rejected: a count, or a fraction below 1.",
)
@worker_options
@config_options
def command(
    config: Path,
    dry_run: bool,
    memory: str | None,
    max_rejects: float | None,
    overrides: tuple[str, ...],
    threads: int | None,
    workers: int | None,
    hosts: str | None,
    rendezvous: str | None,
    timeout: float | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Encode the log described by CONFIG into a cache on disk, and print a summary.

    The encoder (vocabularies, bins, scales) is fitted on the training rows only. The cache is stored in the folder
    .fieldwise next to CONFIG, and reused until the log, [data] or [fields] change. `train` and `compare` prepare the
    log themselves if necessary. Rejected rows are counted and listed in rejects.jsonl. The result does not depend on
    the number of threads or workers or on the memory limit; workers divide the files of the log among themselves.
    """
    loaded = load(config, overrides, threads)
    if dry_run:
        from fieldwise.jobs.prepare.estimate import estimate

        expected = estimate(loaded, memory=memory)
        if as_json:
            print_json(expected.as_dict())
        else:
            from fieldwise.cli.tables import print_estimate

            print_estimate(expected)
        return

    def work(team: Workers | None, listen: Listener) -> Callable[[], None]:
        if team is None or team.size == 1:
            from fieldwise.jobs.prepare.prepare import prepare

            prepared = prepare(loaded, memory=memory, max_rejects=max_rejects, listen=listen)
        else:
            from fieldwise.jobs.prepare.together import prepare_together

            prepared = prepare_together(loaded, team, memory=memory, max_rejects=max_rejects, listen=listen)

        def show() -> None:
            if as_json:
                print_json(prepared.summary)
            else:
                from fieldwise.cli.tables import print_prepared

                print_prepared(prepared.summary)

        return show

    run_with_workers(work, workers, hosts, rendezvous, timeout, quiet)
