"""``fieldwise train --ray``: the same training, its workers started by Ray, for those whose cluster is Ray's.

Ray places the workers, keeps them alive and says when one has died; all else is `jobs.train.train` with its own
messages and its own checkpoints. The log, the cache and the run folder lie where every host sees them under one path.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.config import Config
from fieldwise.distributed.failures import decode_failure, encode_failure
from fieldwise.distributed.group import TIMEOUT, Workers
from fieldwise.errors import ConfigError, FieldwiseError, Stopped, WorkerLost
from fieldwise.jobs.result import Result
from fieldwise.jobs.train.train import train

__all__ = ["train_on_ray"]

_MAX_RESTARTS = 100


class _Done(msgspec.Struct):
    """What a worker came to: a result, or what it raised."""

    result: Result | None = None
    failure: str | None = None


def train_on_ray(
    config: Config,
    out: str | Path,
    num_workers: int,
    *,
    address: str | None = None,
    overwrite: bool = False,
    timeout: float | None = None,
    imports: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Train the model of `config` into the run folder `out` on workers of a Ray cluster.

    Parameters
    ----------
    address
        Of the cluster: ``auto`` for the one that this host belongs to, ``ray://HOST:PORT`` for another; None starts one
        on this machine for the time of the training.
    timeout
        Seconds that a message between workers may take, see `Workers.join`.
    imports
        Modules that workers import first, which register what the configuration names.
    say
        Called with a sentence where workers are started again; they go on from the last checkpoint.
    config, out, overwrite
        As in `train`; paths must be the same on all hosts.

    Raises
    ------
    ConfigError
        Ray is not installed, or the configuration asks for GPUs.
    UserError, Stopped
        As in `train`; Stopped also where workers were lost too often.
    """
    if config.train.device in ("auto", "cuda"):
        raise ConfigError(
            "Ray's workers train on processors",
            where="train.device",
            expected="cpu",
            got=config.train.device,
            fix="start the workers with --workers or torchrun",
        )
    try:
        import ray
    except ImportError:
        raise ConfigError("Ray is not installed", where="--ray", fix="pip install 'fieldwise[ray]'") from None
    with redirect_stdout(sys.stderr):  # Ray prints what befell its workers; standard output belongs to the result
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
        try:
            return _train(ray, config, out, num_workers, overwrite, timeout or TIMEOUT, imports, say)
        finally:
            ray.shutdown()


def _train(
    ray: Any,
    config: Config,
    out: str | Path,
    num_workers: int,
    overwrite: bool,
    timeout: float,
    imports: Sequence[str],
    say: Callable[[str], None],
) -> Result:
    plain, folder = msgspec.json.encode(config), str(Path(out).absolute())
    actor = ray.remote(_Worker).options(num_cpus=config.train.threads or 1, scheduling_strategy="SPREAD")
    for attempt in range(_MAX_RESTARTS + 1):
        actors = [actor.remote() for _ in range(num_workers)]
        try:
            place = ray.get(actors[0].place.remote())
            shared = {"WORLD_SIZE": str(num_workers), "MASTER_ADDR": place[0], "MASTER_PORT": place[1]}
            running = [
                each.train.remote(
                    plain, folder, overwrite and attempt == 0, {**shared, "RANK": str(rank)}, timeout, imports
                )
                for rank, each in enumerate(actors)
            ]
            done = [msgspec.json.decode(answer, type=_Done) for answer in ray.get(running)]
        except ray.exceptions.RayActorError:
            say("a worker died; restarting all workers from the last checkpoint")
            continue
        finally:
            for each in actors:
                ray.kill(each)
        failures = [decode_failure(each.failure.encode()) for each in done if each.failure is not None]
        for failure in failures:
            if not isinstance(failure, WorkerLost):
                raise failure
        if not failures and done[0].result is not None:
            return done[0].result
        say("a worker was lost; restarting all workers from the last checkpoint")
    raise Stopped(f"workers were lost {_MAX_RESTARTS} times; run the same command again to resume")


class _Worker:
    """A worker, as an actor of Ray's."""

    def place(self) -> tuple[str, str]:
        """Return this host's address, and a free port on it."""
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            return str(ray.util.get_node_ip_address()), str(free.getsockname()[1])

    def pid(self) -> int:
        """Return this process's number."""
        return os.getpid()

    def train(
        self,
        plain: bytes,
        out: str,
        overwrite: bool,
        environment: dict[str, str],
        timeout: float,
        imports: Sequence[str] = (),
    ) -> bytes:
        """Train as one of the workers."""
        for name in imports:
            import_module(name)
        config: Any = msgspec.json.decode(plain, type=Config)
        try:
            workers = Workers.join(environment, timeout)
            result = train(config, out, overwrite=overwrite, workers=workers)
            workers.close()
            return msgspec.json.encode(_Done(result))
        except FieldwiseError as error:
            return msgspec.json.encode(_Done(failure=encode_failure(error).decode()))
