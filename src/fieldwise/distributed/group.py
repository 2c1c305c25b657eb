"""A group of several worker processes, with collectives by torch.distributed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn, TypeVar

import msgspec
import numpy as np
import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # public, yet not in its __all__

from fieldwise.distributed.failures import decode_failure, encode_failure
from fieldwise.distributed.interface import address_towards, interface_of
from fieldwise.distributed.packing import pack_arrays, unpack_arrays
from fieldwise.distributed.store import KeyValueStore, wait_for
from fieldwise.distributed.torch_internals import end_process, meet
from fieldwise.distributed.traffic import Traffic
from fieldwise.distributed.world import Arrays, World
from fieldwise.errors import ConfigError, FieldwiseError, WorkerLost
from fieldwise.kernels.storage import step_key

__all__ = ["TIMEOUT", "Workers"]

Made = TypeVar("Made")

TIMEOUT = 300.0
"""Timeout of a message in seconds, after which a worker counts as lost. Legitimate delays are a slow disk when a
checkpoint is written, and kernels that only one worker still has to compile."""


class Workers(World):
    """A group of W processes that train together; created by `Workers.join`.

    The attributes are those of `World`. All methods but `end` are collective: every worker must call them, in the same
    order.
    """

    def __init__(self, rank: int, size: int, store: KeyValueStore, num_local: int, local_rank: int) -> None:
        super().__init__()
        self.rank, self.size, self.num_local, self.local_rank = rank, size, num_local, local_rank
        self._store = store
        self._num_firsts = 0

    @classmethod
    def join(cls, environment: Mapping[str, str] = os.environ, timeout: float = TIMEOUT) -> Workers:
        """Join the group described by the environment variables of torchrun, and wait for all workers.

        Parameters
        ----------
        environment
            RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
        timeout
            Timeout in seconds, of joining and then of every message.

        Raises
        ------
        ConfigError
            The environment variables are missing or invalid.
        WorkerLost
            A worker did not join in time.
        """
        try:
            rank, size, port = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
            address = environment["MASTER_ADDR"]
        except (KeyError, ValueError) as error:
            raise ConfigError(
                "this process is not a worker",
                expected="RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT",
                got=error,
                fix="start it with --workers or with torchrun",
            ) from None
        # All workers are on this machine: use the loopback interface, whatever the host name resolves to.
        local = environment.get("LOCAL_WORLD_SIZE") == environment["WORLD_SIZE"]
        own = address_towards("127.0.0.1" if local else address)
        if own is not None and (interface := interface_of(own)) is not None:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        of_agent = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        if of_agent:
            _end_with_parent()
        limit = timedelta(seconds=timeout)
        with _losing_workers():
            store = TCPStore(address, port, None, rank == 0 and not of_agent, limit, wait_for_workers=False)
            prefixed = PrefixStore(f"fieldwise/{meet(store, rank, size, timeout)}", store)
            dist.init_process_group(_backend(), store=prefixed, rank=rank, world_size=size, timeout=limit)
        num_local = int(environment.get("LOCAL_WORLD_SIZE", size))
        return cls(rank, size, prefixed, num_local, int(environment.get("LOCAL_RANK", rank % num_local)))

    def close(self) -> None:
        """Wait for all workers and leave the group."""
        self.collect(torch.zeros(1))  # torch's barrier would wait on GPUs where there are some
        with _losing_workers():
            dist.destroy_process_group()

    def end(self, code: int = 0) -> NoReturn:
        """Flush the output and end the process (`torch_internals.end_process`)."""
        end_process(code)

    # --- messages of a step ---

    def total(
        self, numbers: Sequence[float | torch.Tensor], tensors: Sequence[torch.Tensor]
    ) -> Callable[[], tuple[list[float], list[torch.Tensor]]]:
        """See `World.total`."""
        like = tensors[0] if tensors else torch.zeros(0, dtype=torch.float64)
        known = [0.0 if isinstance(number, torch.Tensor) else number for number in numbers]
        head = torch.tensor(known, dtype=like.dtype, device=like.device)
        for place, number in enumerate(numbers):
            if isinstance(number, torch.Tensor):
                head[place] = number
        message = torch.cat([head, *(tensor.reshape(-1) for tensor in tensors)])
        wait_for_sums = self.add(message, "dense")

        def wait() -> tuple[list[float], list[torch.Tensor]]:
            wait_for_sums()
            parts = torch.split(message[len(head) :], [tensor.numel() for tensor in tensors])
            return message[: len(head)].tolist(), [
                part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)
            ]

        return wait

    def send(self, parts: torch.Tensor, sent: list[int], received: list[int], kind: str) -> Callable[[], torch.Tensor]:
        """See `World.send`."""
        parts = parts.contiguous()
        out = parts.new_empty((sum(received), *parts.shape[1:]))
        own = sent[self.rank] * (parts.nbytes // len(parts)) if len(parts) else 0
        with self.traffic.counting(kind, parts.nbytes - own), _losing_workers():
            work = dist.all_to_all_single(out, parts, received, sent, async_op=True)

        def wait() -> torch.Tensor:
            with self.traffic.waiting(kind), _losing_workers():
                work.wait()
            del parts_held[:]
            return out

        parts_held = [parts]
        return wait

    def add(self, tensor: torch.Tensor, kind: str = "other") -> Callable[[], None]:
        """See `World.add`."""
        # In a ring all-reduce every worker sends all parts but its own, once for the sum and once for the result.
        with self.traffic.counting(kind, 2 * tensor.nbytes * (self.size - 1) // self.size), _losing_workers():
            work = dist.all_reduce(tensor, async_op=True)

        def wait() -> None:
            with self.traffic.waiting(kind), _losing_workers():
                work.wait()

        return wait

    def collect(self, numbers: torch.Tensor, kind: str = "other") -> torch.Tensor:
        """See `World.collect`."""
        out = numbers.new_empty((self.size, *numbers.shape))
        with self.traffic.counting(kind, numbers.nbytes * (self.size - 1)), _losing_workers():
            dist.all_gather(list(out), numbers.contiguous())
        return out

    def reseed(self, seed: int, step: int) -> None:
        """See `World.reseed`."""
        torch.manual_seed(step_key(seed, step * self.size + self.rank))

    @contextmanager
    def stepping(self, num_examples: int) -> Iterator[None]:
        """See `World.stepping`."""
        with self.traffic.stepping(num_examples):
            yield

    # --- operations outside of training steps ---

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """See `World.uncounted`."""
        traffic, self.traffic = self.traffic, Traffic()
        try:
            yield
        finally:
            self.traffic = traffic

    def report(self) -> list[Traffic]:
        """See `World.report`."""
        parts = self.gather(msgspec.json.encode(self.traffic))
        return [msgspec.json.decode(part, type=Traffic) for part in parts]

    def gather(self, data: bytes) -> list[bytes]:
        """See `World.gather`."""
        sizes = self.collect(torch.tensor([len(data)]))[:, 0].tolist()
        first = self.rank == 0
        received = sizes if first else [0] * self.size
        parts = np.frombuffer(bytearray(data), dtype=np.uint8)  # torch warns of memory that it must not write
        sent = [len(data)] + [0] * (self.size - 1)
        joined = self.send(torch.from_numpy(parts), sent, received, "other")().numpy().tobytes()
        ends = np.cumsum(received).tolist()
        return [joined[end - size : end] for end, size in zip(ends, received, strict=True)] if first else []

    def gather_arrays(self, arrays: Arrays) -> list[Arrays]:
        """See `World.gather_arrays`."""
        return [unpack_arrays(part) for part in self.gather(pack_arrays(arrays))]

    def first(self, make: Callable[[], Made], type: type[Made]) -> Made:
        """See `World.first`."""
        key = f"first/{self._num_firsts}"
        self._num_firsts += 1
        if self.rank == 0:
            try:
                made = make()
            except FieldwiseError as error:
                self._tell(key, "!" + encode_failure(error).decode())
                raise
            self._tell(key, "=" + msgspec.json.encode(made).decode())
            return made
        with _losing_workers():
            wait_for(self._store, key, stopping=self.stopping)
            text = self._store.get(key).decode()
        if text.startswith("!"):
            raise decode_failure(text[1:].encode())
        return msgspec.json.decode(text[1:], type=type)

    def _tell(self, key: str, text: str) -> None:
        with _losing_workers():
            self._store.set(key, text)

    @contextmanager
    def together(self) -> Iterator[None]:
        """See `World.together`."""
        failure = b""
        try:
            yield
        except WorkerLost:
            raise
        except FieldwiseError as error:
            failure = encode_failure(error)
        failed = self.collect(torch.tensor([len(failure)]))[:, 0]
        if failed.any():
            texts = self.gather(failure)
            raise decode_failure(self.first(lambda: next(filter(None, texts)).decode(), str).encode())


def _backend() -> str:
    """Return the torch.distributed backend: gloo for CPU tensors, NCCL for GPU tensors if there are GPUs."""
    return "cpu:gloo,cuda:nccl" if dist.is_nccl_available() and torch.cuda.is_available() else "gloo"


@contextmanager
def _losing_workers() -> Iterator[None]:
    """Turn torch's errors into WorkerLost: another worker, or the store, does not respond."""
    try:
        yield
    except RuntimeError as error:
        raise WorkerLost(f"another worker has ended or cannot be reached: {error}") from error


def _end_with_parent() -> None:
    """End this process when its agent ends: a killed agent would leave its workers running."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(WorkerLost.exit_code)

    threading.Thread(target=watch, name="fieldwise-parent", daemon=True).start()
