"""The same verb on several workers: one process that starts them, or one of those that were started."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn

import click

from fieldwise.errors import ConfigError, FieldwiseError, Stopped, UserError, WorkerLost

if TYPE_CHECKING:
    from fieldwise.distributed.group import Workers

__all__ = [
    "hosts_option",
    "is_worker",
    "ray_option",
    "refuse_alone",
    "rendezvous_option",
    "run_as_worker",
    "start_workers",
    "timeout_option",
    "workers_option",
]

workers_option = click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    help="Work on N processes of this machine. (Or start this command with torchrun.)",
)

hosts_option = click.option(
    "--hosts",
    metavar="N|MIN:MAX",
    help="Hosts that work together, each running this same command with --workers and --rendezvous.",
)

ray_option = click.option(
    "--ray",
    metavar="ADDRESS",
    help="Let Ray start the workers: auto, ray://HOST:PORT, or local for a cluster of its own on this machine.",
)

timeout_option = click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=5),
    help="How long workers wait for one that does not answer, until all start again without it; 300 unless given.",
)

rendezvous_option = click.option(
    "--rendezvous",
    metavar="HOST:PORT",
    help="Where the hosts meet: one of them, and a free port there; more after commas, should that one be lost.",
)


def is_worker(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process was started as one of several workers, by us or by torchrun."""
    return all(name in environment for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"))


def start_workers(num_workers: int, hosts: str | None, rendezvous: str | None, quiet: bool) -> NoReturn:
    """Run this process's own command line on workers, and exit as they do."""
    from fieldwise.distributed.launch import launch
    from fieldwise.distributed.rendezvous import Hosts

    def say(text: str) -> None:
        if not quiet:
            click.echo(f"note: {text}", err=True)

    sys.exit(launch(sys.argv[1:], num_workers, Hosts.parse(hosts or "1", rendezvous), say))


def run_as_worker(work: Callable[[Workers], Callable[[], None]], timeout: float | None = None) -> NoReturn:
    """Do a verb's work as one of several workers, and end this process.

    Parameters
    ----------
    work
        Takes the workers; returns what prints the outcome, which worker 0 does when all are done.
    timeout
        See `timeout_option`.
    """
    from fieldwise.distributed.group import TIMEOUT, Workers

    try:
        workers = Workers.join(timeout=timeout or TIMEOUT)
    except WorkerLost:
        os._exit(WorkerLost.exit_code)
    try:
        show = work(workers)
        workers.close()
    except FieldwiseError as error:
        # One worker speaks for all. The one that started them says who was lost.
        if workers.rank == 0 and not isinstance(error, WorkerLost):
            click.echo(f"error: {error}", err=True)
        workers.end(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        workers.end(Stopped.exit_code)
    except Exception as error:
        # Here and not where other verbs' exceptions end up: a worker must not go through the interpreter's clean-up.
        click.echo(f"worker {workers.rank}: {traceback.format_exc()}", err=True)
        workers.end(UserError.exit_code if isinstance(error, MemoryError) else 1)
    if workers.rank == 0:
        show()
    workers.end()


def refuse_alone(hosts: str | None, rendezvous: str | None) -> None:
    """Raise ConfigError where hosts are named and workers are not."""
    if hosts is not None or rendezvous is not None:
        raise ConfigError("--hosts and --rendezvous say where workers meet", fix="add --workers N, for each host")
