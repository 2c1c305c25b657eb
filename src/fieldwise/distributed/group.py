"""The workers of a training, and what they say to each other."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from fieldwise.errors import ConfigError

__all__ = ["Workers"]

_TIMEOUT = timedelta(minutes=30)


class Workers:
    """A group of W processes that do the same steps; made by `Workers.join`.

    Attributes
    ----------
    rank, size
        Which of the workers this is, 0 .. W - 1; and W.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    @classmethod
    def join(cls, environment: Mapping[str, str] = os.environ) -> Workers:
        """Join the workers that torchrun started, as its environment says, and wait until all are there.

        The group meets under a prefix of its own after each restart. Without it, torch 2.13 finds the addresses of dead
        workers in torchrun's store, and half of the restarts fail.

        Raises
        ------
        ConfigError
            The environment is not that of a worker.
        """
        try:
            rank, size, port = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
            address = environment["MASTER_ADDR"]
        except (KeyError, ValueError) as error:
            raise ConfigError(
                "this process is no worker",
                expected="RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT",
                got=error,
                fix="start it with torchrun",
            ) from None
        if environment.get("LOCAL_WORLD_SIZE") == environment["WORLD_SIZE"]:
            # All on one machine: whatever its name resolves to, the loopback interface is there.
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        of_agent = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        store = TCPStore(address, port, size, is_master=rank == 0 and not of_agent, timeout=_TIMEOUT)
        restart = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
        prefixed = PrefixStore(f"train/restart_{restart}", store)
        dist.init_process_group("gloo", store=prefixed, rank=rank, world_size=size, timeout=_TIMEOUT)
        return cls(rank, size)

    def close(self) -> None:
        """Leave the group, when all have come so far."""
        dist.barrier()
        dist.destroy_process_group()

    def end(self) -> NoReturn:
        """Leave the group and end the process, all being written, without the clean-up of the interpreter.

        In about one run of ten, torch 2.13 with gloo aborts a process that left its group while the interpreter
        shuts down: "terminate called without an active exception".
        """
        self.close()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def exchange(self, parts: npt.NDArray[Any], sent: list[int], received: list[int]) -> npt.NDArray[Any]:
        """Send each worker its part, and return what all have sent here, in the order of the workers.

        Parameters
        ----------
        parts
            (sum of sent, ...): the part for worker 0, then that for worker 1, and so on.
        sent, received
            (W,) lines that go to, and come from, each worker.
        """
        out = np.empty((sum(received), *parts.shape[1:]), dtype=parts.dtype)
        dist.all_to_all_single(torch.from_numpy(out), torch.from_numpy(np.ascontiguousarray(parts)), received, sent)
        return out

    def add(self, tensor: torch.Tensor) -> None:
        """Replace a tensor by its sum over the workers, the same bits on each of them."""
        dist.all_reduce(tensor)

    def collect(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return (W, ...): the tensor of every worker, all of one shape."""
        out = numbers.new_empty((self.size, *numbers.shape))
        dist.all_gather(list(out), numbers.contiguous())
        return out
