"""Launching and restarting workers: an agent like torchrun's that interprets fieldwise's exit codes.

If a worker was killed, or ended because it lost another worker or because those of another host were stopped, all
workers are restarted from the last checkpoint, up to a maximum number of times. If a worker ended because of invalid
input or an internal error, a restart would fail again: its exit code becomes that of the agent.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.api import SubprocessContext
from torch.distributed.elastic.rendezvous import RendezvousClosedError, RendezvousError

from fieldwise.distributed.rendezvous import Hosts, Meeting
from fieldwise.errors import Stopped, WorkerLost

__all__ = ["launch"]

_MAX_RESTARTS = 100
_SECONDS_TO_STOP = 600
_FINAL_GRACE_SECONDS = {1: 2.0, 2: 10.0}
"""Final exit codes, and how many seconds the other workers then have to end by themselves."""


def launch(arguments: Sequence[str], num_workers: int, hosts: Hosts, say: Callable[[str], None]) -> int:
    """Run ``python -m fieldwise ARGUMENTS`` on several workers of this host, and return the exit code.

    Parameters
    ----------
    arguments
        The command line.
    num_workers
        Number of workers on this host, >= 1.
    hosts
        The hosts, each of which launches the same command.
    say
        Called with a message when workers are restarted.
    """
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("TORCHELASTIC_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT,SIGHUP,SIGQUIT")
    for _ in range(_MAX_RESTARTS):
        try:
            return _launch_once(arguments, num_workers, hosts, say)
        except SignalException:
            return Stopped.exit_code
        except RendezvousClosedError:
            say("the other hosts have ended the training run")
            return Stopped.exit_code
        except (RendezvousError, RuntimeError) as error:  # the latter of torch's stores
            if not hosts.places:
                raise
            say(f"the rendezvous host was lost, trying another one: {error}")
    return Stopped.exit_code


def _launch_once(arguments: Sequence[str], num_workers: int, hosts: Hosts, say: Callable[[str], None]) -> int:
    meeting = hosts.meet()
    spec = WorkerSpec(
        role="fieldwise",
        local_world_size=num_workers,
        entrypoint=sys.executable,
        args=("-m", "fieldwise", *arguments),
        rdzv_handler=meeting,
        max_restarts=_MAX_RESTARTS,
        monitor_interval=0.1,
    )
    agent = _Agent(spec, meeting, say)
    try:
        result = agent.run()
    except (RendezvousError, RuntimeError):
        meeting.leave()
        raise
    except SignalException:
        meeting.close()
        raise
    meeting.close()
    if not result.is_failed():
        return 0
    if agent.code in _FINAL_GRACE_SECONDS:
        return agent.code
    say(f"workers were lost {_MAX_RESTARTS} times; run the same command again to resume")
    return Stopped.exit_code


class _Agent(LocalElasticAgent):
    """Torch's agent, except that it checks exit codes before it restarts workers.

    Attributes
    ----------
    code
        The final exit code.
    """

    def __init__(self, spec: WorkerSpec, meeting: Meeting, say: Callable[[str], None]) -> None:
        super().__init__(spec, DefaultLogsSpecs(), exit_barrier_timeout=60)
        self.meeting, self.say, self.code = meeting, say, 0

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
                self.say(f"{'; '.join(killed) or 'a worker was lost'}; restarting all workers from the last checkpoint")
        elif not self.meeting.whole:
            self.say("a host was lost; restarting all workers from the last checkpoint")
            self._restart_workers(worker_group)
            return RunResult(state=WorkerState.HEALTHY)
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
