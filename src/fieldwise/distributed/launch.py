"""Starting workers and starting them again: an agent of torchrun's kind that knows what our exit codes mean.

A worker that was killed, and one that ended because it lost another or because another host's were told to stop, are
started again, all together, up to a number of times; they go on from the last checkpoint. One that says that the input
is wrong, or that the fault is ours, would say so again: its exit code is the agent's.
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
"""Exit codes that decide; and how long the other workers then get to end by themselves."""


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
    say(f"workers were lost {_MAX_RESTARTS} times; to go on, run the same command again")
    return Stopped.exit_code


class _Agent(LocalElasticAgent):
    """Torch's agent, which looks at exit codes before it starts workers again.

    Attributes
    ----------
    code
        The exit code that decided.
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
                self.say(f"{'; '.join(killed) or 'a worker was lost'}: all start again, from the last checkpoint")
        elif not self.meeting.whole:
            self.say("a host was lost: all start again, from the last checkpoint")
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
