"""Starting workers and starting them again: an agent of torchrun's kind that knows what our exit codes mean.

A worker that was killed, and one that ended because it lost another, are started again, all together, up to a number
of times; they go on from the last checkpoint. One that says that the input is wrong, that it stopped on request, or
that the fault is ours, would say so again: its exit code is the agent's.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.api import SubprocessContext
from torch.distributed.elastic.rendezvous import RendezvousClosedError, RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from fieldwise.errors import ConfigError, Stopped, WorkerLost

__all__ = ["Hosts", "launch"]

_MAX_RESTARTS = 100
_SECONDS_TO_STOP = 600
_FINAL = (1, 2, 3)
_GRACE_SECONDS = {1: 2.0, 2: 10.0, 3: float(_SECONDS_TO_STOP)}
"""How long the other workers get to end by themselves, by the exit code of the first that did."""


class Hosts:
    """Where agents meet.

    Parameters
    ----------
    at_least, at_most
        Hosts that training needs, and hosts that it takes.
    rendezvous
        ``HOST:PORT``, which one of the hosts answers to; this one alone unless given.
    """

    def __init__(self, at_least: int = 1, at_most: int = 1, rendezvous: str | None = None) -> None:
        if rendezvous is None and at_most > 1:
            raise ConfigError(
                "several hosts must know where to meet", where="--hosts", fix="name one of them: --rendezvous HOST:PORT"
            )
        self.at_least, self.at_most, self.rendezvous = at_least, at_most, rendezvous

    @classmethod
    def parse(cls, text: str, rendezvous: str | None = None) -> Hosts:
        """Read ``N`` or ``MIN:MAX``.

        Examples
        --------
        >>> hosts = Hosts.parse("2:4", "first:29400")
        >>> hosts.at_least, hosts.at_most
        (2, 4)
        """
        low, _, high = text.partition(":")
        if not (low.isdecimal() and (high or low).isdecimal() and 1 <= int(low) <= int(high or low)):
            raise ConfigError(
                "the number of hosts is not understood", where="--hosts", expected="N or MIN:MAX", got=text
            )
        return cls(int(low), int(high or low), rendezvous)


def launch(arguments: Sequence[str], num_workers: int, hosts: Hosts, say: Callable[[str], None]) -> int:
    """Run ``python -m fieldwise ARGUMENTS`` as so many workers on this host, and return the exit code.

    Parameters
    ----------
    hosts
        The hosts, each of which runs the same.
    say
        Called with a sentence where workers are started again.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGHUP,SIGQUIT")
    alone = hosts.rendezvous is None
    handler = get_rendezvous_handler(
        RendezvousParameters(
            backend="c10d",
            endpoint=hosts.rendezvous or "127.0.0.1:0",
            run_id=str(uuid.uuid4()) if alone else "fieldwise",
            min_nodes=hosts.at_least,
            max_nodes=hosts.at_most,
            local_addr="127.0.0.1" if alone else None,
            # The others of this round have been told by their workers, which were cut off at the same time.
            last_call_timeout=10,
        )
    )
    spec = WorkerSpec(
        role="fieldwise",
        local_world_size=num_workers,
        entrypoint=sys.executable,
        args=("-m", "fieldwise", *arguments),
        rdzv_handler=handler,
        max_restarts=_MAX_RESTARTS,
        monitor_interval=0.1,
        local_addr="127.0.0.1" if alone else None,
    )
    agent = _Agent(spec, DefaultLogsSpecs(), say)
    try:
        result = agent.run()
    except SignalException:
        return Stopped.exit_code
    except RendezvousClosedError:
        say("the other hosts have ended this training")
        return Stopped.exit_code
    finally:
        handler.shutdown()
    if not result.is_failed():
        return 0
    if agent.code in _FINAL:
        return agent.code
    say(f"workers were lost {_MAX_RESTARTS} times; to go on, run the same command again")
    return Stopped.exit_code


class _Agent(LocalElasticAgent):
    """Torch's agent, which looks at exit codes before it starts workers again.

    Attributes
    ----------
    code
        The exit code that decided.
    """

    def __init__(self, spec: WorkerSpec, logs: DefaultLogsSpecs, say: Callable[[str], None]) -> None:
        super().__init__(spec, logs, exit_barrier_timeout=60)
        self.say, self.code = say, 0

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        codes = self._exit_codes()
        if any(codes):
            final = [code for code in codes if code in _FINAL]
            deadline = time.monotonic() + (_GRACE_SECONDS[min(final)] if final else 0.0)
            while time.monotonic() < deadline and None in self._exit_codes():
                time.sleep(0.05)
            for process in self._processes():
                if process.poll() is None:
                    process.kill()
            self.code = min(final, default=WorkerLost.exit_code)
            if final:
                self._remaining_restarts = 0
            elif self._remaining_restarts:
                killed = [
                    f"worker {worker.global_rank} was killed by {signal.Signals(-code).name}"
                    for worker, code in zip(worker_group.workers, codes, strict=True)
                    if code is not None and code < 0
                ]
                self.say(f"{'; '.join(killed) or 'a worker was lost'}: all start again, from the last checkpoint")
        result: RunResult = super()._monitor_workers(worker_group)
        return result

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = _SECONDS_TO_STOP) -> None:
        # A worker that was asked to stop saves a checkpoint first, however large.
        super()._shutdown(death_sig, _SECONDS_TO_STOP)

    def _processes(self) -> list[subprocess.Popen[bytes]]:
        context = self._pcontext
        assert isinstance(context, SubprocessContext)  # the entry point is a command
        return [handler.proc for _, handler in sorted(context.subprocess_handlers.items())]

    def _exit_codes(self) -> list[int | None]:
        return [process.poll() for process in self._processes()]
