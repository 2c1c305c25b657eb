"""Launching and restarting workers: an agent like torchrun's that interprets fieldwise's exit codes.

If a worker was killed, or ended because it lost another worker or because those of another host were stopped, all
workers are restarted from the last checkpoint, up to a maximum number of times. If a worker ended because of invalid
input or an internal error, a restart would fail again: its exit code becomes that of the agent.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence

from torch.distributed.elastic.agent.server.api import WorkerSpec
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.rendezvous import RendezvousClosedError, RendezvousError

from fieldwise.distributed.rendezvous import Hosts
from fieldwise.distributed.torch_internals import FINAL_GRACE_SECONDS, Agent
from fieldwise.errors import Stopped

__all__ = ["launch"]

_MAX_RESTARTS = 100


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
    agent = Agent(spec, meeting, say)
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
    if agent.code in FINAL_GRACE_SECONDS:
        return agent.code
    say(f"workers were lost {_MAX_RESTARTS} times; run the same command again to resume")
    return Stopped.exit_code
