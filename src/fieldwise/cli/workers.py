"""Running a verb on several workers: the launching process, and the workers themselves."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

import click

from fieldwise.cli.options import all_of
from fieldwise.errors import ConfigError, FieldwiseError, Stopped, UserError, WorkerLost

if TYPE_CHECKING:
    from fieldwise.distributed.group import Workers
    from fieldwise.events import Listener

__all__ = ["ray_option", "run_with_workers", "worker_options"]

_workers = click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    help="Number of worker processes on this machine. torchrun works as well.",
)

_hosts = click.option(
    "--hosts",
    metavar="N|MIN:MAX",
    help="Number of hosts, each of which runs this command with --workers and --rendezvous.",
)

ray_option = click.option(
    "--ray",
    metavar="ADDRESS",
    help="Start the workers with Ray: auto, ray://HOST:PORT, or local for a temporary cluster on this machine.",
)

_timeout = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=5),
    help="Time after which an unresponsive worker counts as lost and the others restart without it. Default: 300.",
)

_rendezvous = click.option(
    "--rendezvous",
    metavar="HOST:PORT",
    help="Host and free port for the rendezvous; comma-separated alternatives are used if that host is lost.",
)


worker_options = all_of(_workers, _hosts, _rendezvous, _timeout)


def run_with_workers(
    work: Callable[[Workers | None, Listener], Callable[[], None]],
    num_workers: int | None,
    hosts: str | None,
    rendezvous: str | None,
    timeout: float | None,
    quiet: bool,
) -> None:
    """Do a verb's work: in this process, on workers that it starts, or as one of them.

    Parameters
    ----------
    work
        Takes the group of workers, None where there is none, and returns a function that prints the result; worker 0
        calls it at the end.
    timeout
        Seconds, at least 5, after which an unresponsive worker counts as lost; 300 by default.

    Raises
    ------
    ConfigError
        Hosts are given without workers.
    """

    def told(team: Workers | None) -> Callable[[], None]:
        from fieldwise.cli.progress import show_progress

        with show_progress(quiet or (team is not None and team.rank > 0)) as listen:
            return work(team, listen)

    if _is_worker():
        _run_as_worker(told, timeout)
    _start(num_workers, hosts, rendezvous, quiet)
    told(None)()


def _is_worker(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process is one of several workers, started by ``--workers`` or by torchrun."""
    return all(name in environment for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


def _start(num_workers: int | None, hosts: str | None, rendezvous: str | None, quiet: bool) -> None:
    """Run this command line on workers, and exit with their exit code; return where none are asked for."""
    if num_workers is None:
        if hosts is not None or rendezvous is not None:
            raise ConfigError("--hosts and --rendezvous require --workers", fix="add --workers N on every host")
        return
    from fieldwise.distributed.launch import launch
    from fieldwise.distributed.rendezvous import Hosts

    def say(text: str) -> None:
        if not quiet:
            click.echo(f"note: {text}", err=True)

    sys.exit(launch(sys.argv[1:], num_workers, Hosts.parse(hosts or "1", rendezvous), say))


def _run_as_worker(work: Callable[[Workers], Callable[[], None]], timeout: float | None) -> NoReturn:
    """Do a verb's work as one of several workers, and end this process."""
    from fieldwise.distributed.group import TIMEOUT, Workers

    try:
        workers = Workers.join(timeout=timeout or TIMEOUT)
    except WorkerLost:
        os._exit(WorkerLost.exit_code)
    try:
        show = work(workers)
        workers.close()
    except FieldwiseError as error:
        # Worker 0 reports for all workers; the launching process reports lost workers.
        if workers.rank == 0 and not isinstance(error, WorkerLost):
            click.echo(f"error: {error}", err=True)
        workers.end(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        workers.end(Stopped.exit_code)
    except Exception as error:
        # Handled here, not in `cli.main`: a worker must not run the clean-up of the interpreter.
        click.echo(f"worker {workers.rank}: {traceback.format_exc()}", err=True)
        workers.end(UserError.exit_code if isinstance(error, MemoryError) else 1)
    if workers.rank == 0:
        show()
    workers.end()
