"""What elastic training needs of torch 2.13 beyond its documented interface: its agent, and workarounds for defects.

`Agent` overrides private methods of torch's agent, which restarts workers whatever their exit codes are. The defects:

* **The address for workers is published once** (`DynamicRendezvousHandler._bootstrap_store_info`): by the first host,
  in its first round. A host that joins later gets no answer within 20 seconds and leaves, while the first host waits a
  minute for it; and the other hosts keep the old address if another host becomes the first. `Meeting.next_rendezvous`
  asks for the address in every round.
* **A lost host is not noticed** until a message to its workers times out; and a host that was suspended for longer than
  the heartbeat timeout (a busy machine, a paused virtual machine) is removed but not told so: its workers continue, it
  sends no more heartbeats, and a host that joins later finds no one and starts alone. `Meeting.whole` detects both.
* **Keys of dead workers stay in the store** of the agents, which outlives the workers: torch takes the addresses of
  dead workers from it in half of all restarts. `meet` gives the keys of every start a prefix of their own.
* **The interpreter aborts at its end** in about one run in ten after leaving a group of gloo ("terminate called without
  an active exception"). `end_process` ends without the clean-up of the interpreter.

tests/distributed/test_torch_internals.py says which of these torch still has; `benchmarks/elastic.py` compares recovery
with that of plain torchrun.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.api import SubprocessContext
from torch.distributed.elastic.rendezvous import RendezvousError, RendezvousInfo
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler

from fieldwise.distributed.store import KeyValueStore, pause, wait_for
from fieldwise.errors import WorkerLost

__all__ = ["FINAL_GRACE_SECONDS", "Agent", "Meeting", "end_process", "meet"]

_SECONDS_TO_STOP = 600
FINAL_GRACE_SECONDS = {1: 2.0, 2: 10.0}
"""Final exit codes, and how many seconds the other workers then have to end by themselves."""


class Meeting(DynamicRendezvousHandler):
    """The rendezvous handler of the agent of one host."""

    _met: frozenset[object] = frozenset()

    def next_rendezvous(self) -> RendezvousInfo:
        """Meet the other agents and return what the workers need to find each other."""
        self._bootstrap_store_info = None
        info = super().next_rendezvous()
        self._met = frozenset(self._state_holder.state.participants)
        return info

    @property
    def whole(self) -> bool:
        """Whether all hosts of the last round, including this one, are still alive, or the run has ended."""
        if self._settings.max_nodes == 1:
            return True
        with self._heartbeat_lock:
            self._state_holder.sync()
            state = self._state_holder.state
            return state.closed or self._met <= state.participants.keys()

    def close(self) -> None:
        """End the run for all hosts."""
        with suppress(RendezvousError, RuntimeError):
            self.shutdown()

    def leave(self) -> None:
        """Stop the heartbeats of this host; the other hosts continue."""
        self._stop_heartbeats()


class Agent(LocalElasticAgent):
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
            final = [code for code in codes if code in FINAL_GRACE_SECONDS]
            deadline = time.monotonic() + (FINAL_GRACE_SECONDS[min(final)] if final else 0.0)
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


def meet(store: KeyValueStore, rank: int, size: int, seconds: float) -> str:
    """Return the name of a meeting that all workers of the current start, 0 to size - 1, have joined.

    Starts cannot be distinguished by the number of restarts, because every agent counts its own. So worker 0 opens a
    meeting under a new random name, every other worker registers with a random number, and worker 0 closes the meeting
    with the numbers of all workers. A worker that finds its own number there has met only living workers. The name of
    the meeting is the prefix of all their keys.

    Parameters
    ----------
    store
        Shared by all workers.
    rank, size
        The number of this worker, and the number of workers.
    seconds
        Timeout.

    Raises
    ------
    WorkerLost
        A worker did not join in time.
    """
    deadline, own = time.monotonic() + seconds, secrets.token_hex(8)
    if rank == 0:
        store.set("meeting", own)
        keys = [f"{own}/{other}" for other in range(1, size)]
        for key in keys:
            wait_for(store, key, deadline)
        store.set(f"{own}/all", " ".join(store.get(key).decode() for key in keys))
        return own
    name = ""
    while True:
        wait_for(store, "meeting", deadline)
        newest = store.get("meeting").decode()
        if newest != name:
            name = newest
            store.set(f"{name}/{rank}", own)
        elif store.check([f"{name}/all"]) and own in store.get(f"{name}/all").decode().split():
            return name
        pause(deadline)


def end_process(code: int) -> NoReturn:
    """Flush the output and end the process without the clean-up of the interpreter."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
