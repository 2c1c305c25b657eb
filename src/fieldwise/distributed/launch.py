"""Starting workers and starting them again: an agent of torchrun's kind that knows what our exit codes mean.

A worker that was killed, and one that ended because it lost another or because another host's were told to stop, are
started again, all together, up to a number of times; they go on from the last checkpoint. One that says that the input
is wrong, or that the fault is ours, would say so again: its exit code is the agent's.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.api import SubprocessContext
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousError,
    RendezvousHandler,
    RendezvousParameters,
)
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from fieldwise.distributed.interface import address_towards
from fieldwise.errors import ConfigError, Stopped, WorkerLost

__all__ = ["Hosts", "launch"]

_MAX_RESTARTS = 100
_SECONDS_TO_STOP = 600
_FINAL_GRACE_SECONDS = {1: 2.0, 2: 10.0}
"""Exit codes that decide; and how long the other workers then get to end by themselves."""
_SECONDS_BEFORE_NEXT = 10.0


class Hosts:
    """Where agents meet.

    Parameters
    ----------
    at_least, at_most
        Hosts that training needs, and hosts that it takes.
    rendezvous
        ``HOST:PORT``, or several with commas between: the first that can be reached is where all meet. One of the hosts
        answers there itself. None is this host alone.
    """

    def __init__(self, at_least: int = 1, at_most: int = 1, rendezvous: str | None = None) -> None:
        if rendezvous is None and at_most > 1:
            raise ConfigError(
                "several hosts must know where to meet", where="--hosts", fix="name one of them: --rendezvous HOST:PORT"
            )
        self.at_least, self.at_most = at_least, at_most
        self.places = [] if rendezvous is None else [_place(text) for text in rendezvous.split(",")]

    @classmethod
    def parse(cls, text: str, rendezvous: str | None = None) -> Hosts:
        """Read ``N`` or ``MIN:MAX``.

        Examples
        --------
        >>> hosts = Hosts.parse("2:4", "first:29400,second:29400")
        >>> hosts.at_least, hosts.at_most, hosts.places
        (2, 4, [('first', 29400), ('second', 29400)])
        """
        low, _, high = text.partition(":")
        if not (low.isdecimal() and (high or low).isdecimal() and 1 <= int(low) <= int(high or low)):
            raise ConfigError("this is no number of hosts", where="--hosts", expected="N or MIN:MAX", got=text)
        return cls(int(low), int(high or low), rendezvous)

    def meet(self) -> RendezvousHandler:
        """Return the way to the other hosts' agents; waits for a host that answers, or answers itself.

        Who may answer at the second place waits for the first place to answer, and so on, so that hosts that start
        together do not meet in two places.
        """
        place, answer = ("127.0.0.1", 0), True
        begun = time.monotonic()
        while self.places:
            if listening := [place for place in self.places if _answers(place)]:
                place, answer = listening[0], False
                break
            waited = time.monotonic() - begun
            own = [place for turn, place in enumerate(self.places) if waited >= turn * _SECONDS_BEFORE_NEXT]
            if own := [place for place in own if _is_own(place[0])]:
                place = own[0]
                break
            time.sleep(0.2)
        settings = RendezvousParameters(
            backend="c10d",
            endpoint=f"{place[0]}:{place[1]}",
            run_id="fieldwise",
            min_nodes=self.at_least,
            max_nodes=self.at_most,
            local_addr=address_towards(place[0]),
            is_host=answer,
            # A lost host is missed after three times this long; the others, cut off with it, are there again by then.
            keep_alive_interval=2,
            last_call_timeout=5,
        )
        return get_rendezvous_handler(settings)


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
    for _ in range(_MAX_RESTARTS):
        try:
            return _launch_once(arguments, num_workers, hosts, say)
        except SignalException:
            return Stopped.exit_code
        except RendezvousClosedError:
            say("the other hosts have ended this training")
            return Stopped.exit_code
        except (RendezvousError, RuntimeError) as error:  # the latter of torch's stores
            if not hosts.places:
                raise
            say(f"the host where all met is lost, looking for another: {error}")
    return Stopped.exit_code


def _launch_once(arguments: Sequence[str], num_workers: int, hosts: Hosts, say: Callable[[str], None]) -> int:
    handler = hosts.meet()
    spec = WorkerSpec(
        role="fieldwise",
        local_world_size=num_workers,
        entrypoint=sys.executable,
        args=("-m", "fieldwise", *arguments),
        rdzv_handler=handler,
        max_restarts=_MAX_RESTARTS,
        monitor_interval=0.1,
    )
    agent = _Agent(spec, DefaultLogsSpecs(), say)
    try:
        result = agent.run()
    finally:
        with suppress(RendezvousError, RuntimeError):
            handler.shutdown()
    if not result.is_failed():
        return 0
    if agent.code in _FINAL_GRACE_SECONDS:
        return agent.code
    say(f"workers were lost {_MAX_RESTARTS} times; to go on, run the same command again")
    return Stopped.exit_code


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ConfigError("this is no place to meet", where="--rendezvous", expected="HOST:PORT", got=text)
    return host, int(port)


def _answers(place: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(place, timeout=2):
            return True
    except OSError:
        return False


def _is_own(host: str) -> bool:
    own = address_towards(host)
    try:
        return own is not None and own == socket.gethostbyname(host)
    except OSError:
        return False


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
            final = [code for code in codes if code in _FINAL_GRACE_SECONDS]
            deadline = time.monotonic() + (_FINAL_GRACE_SECONDS[min(final)] if final else 0.0)
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
