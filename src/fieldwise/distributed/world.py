"""The collective operations of the workers of a training run, and their trivial form for a single worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.distributed.traffic import Traffic

__all__ = ["ALONE", "Arrays", "World"]

Arrays = Mapping[str, npt.NDArray[Any]]
Made = TypeVar("Made")


class World:
    """A single worker, whose collectives do nothing; `group.Workers` is a group of several.

    All methods are collective: every worker must call them, in the same order.

    Attributes
    ----------
    rank, size
        The number of this worker, 0 to W - 1, and W.
    num_local, local_rank
        The number of workers on this host, and the number of this one among them.
    traffic
        Statistics of the messages of this worker.
    stopping
        Called while this worker waits for worker 0; returns whether this worker has been asked to stop.
    """

    rank, size, num_local, local_rank = 0, 1, 1, 0

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.stopping: Callable[[], bool] = lambda: False

    # --- messages of a step ---

    def total(
        self, numbers: Sequence[float | Tensor], tensors: Sequence[Tensor]
    ) -> Callable[[], tuple[list[float], list[Tensor]]]:
        """Start to sum numbers and tensors over the workers in one message; the returned function waits for the sums.

        Numbers are rounded to the type of the tensors.

        Examples
        --------
        >>> ALONE.total([1.5, torch.tensor(2.0)], [torch.zeros(1)])()
        ([1.5, 2.0], [tensor([0.])])
        """

        def wait() -> tuple[list[float], list[Tensor]]:
            on_device = [number for number in numbers if isinstance(number, Tensor)]
            known = iter(torch.stack(on_device).tolist() if on_device else [])  # waits for the device once
            return [next(known) if isinstance(number, Tensor) else number for number in numbers], list(tensors)

        return wait

    def send(self, parts: Tensor, sent: list[int], received: list[int], kind: str) -> Callable[[], Tensor]:
        """Start an all-to-all exchange; the returned function waits for it and returns the received parts.

        Parameters
        ----------
        parts
            (sum of sent, ...) the parts for workers 0 to W - 1, concatenated. Must not be modified until the exchange
            has finished.
        sent, received
            (W,) number of rows sent to and received from each worker.
        kind
            The kind of message in `traffic`.
        """
        return lambda: parts

    def add(self, tensor: Tensor, kind: str = "other") -> Callable[[], None]:
        """Start an all-reduce (sum) in place, bitwise identical on all workers; the returned function waits for it."""
        return lambda: None

    def collect(self, numbers: Tensor, kind: str = "other") -> Tensor:
        """Return the tensors of all workers, which must have the same shape, as (W, ...)."""
        return numbers.unsqueeze(0)

    def reseed(self, seed: int, step: int) -> None:
        """Seed the randomness of a step, such as dropout, by step and worker.

        One worker goes on with torch's generator, whose state its checkpoints hold.
        """

    def stepping(self, num_examples: int) -> AbstractContextManager[None]:
        """Count the block as a training step in `traffic`."""
        return nullcontext()

    # --- operations outside of training steps ---

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Do not count the messages of the block in `traffic`."""
        yield

    def report(self) -> list[Traffic]:
        """Return the traffic of all workers on worker 0; an empty list on the others, and for a single worker."""
        return []

    def gather(self, data: bytes) -> list[bytes]:
        """Return the bytes of all workers on worker 0, and an empty list on the others."""
        return [data]

    def gather_arrays(self, arrays: Arrays) -> list[Arrays]:
        """Return the arrays of all workers on worker 0, and an empty list on the others."""
        return [arrays]

    def join_arrays(self, arrays: Arrays) -> Arrays:
        """Return the concatenated arrays of all workers on worker 0, and none on the others."""
        parts = self.gather_arrays(arrays)
        if len(parts) < 2:
            return parts[0] if parts else {}
        names = {name: None for part in parts for name in part}
        return {name: np.concatenate([part[name] for part in parts if name in part]) for name in names}

    def first(self, make: Callable[[], Made], type: type[Made]) -> Made:
        """Call `make` on worker 0, without a timeout, and return its result or raise its exception on all workers.

        Parameters
        ----------
        make
            Called on worker 0 only.
        type
            The type of its result, which msgspec must be able to encode.
        """
        return make()

    @contextmanager
    def together(self) -> Iterator[None]:
        """If the block raises a FieldwiseError on one worker, raise it on all workers at the end of the block."""
        yield


ALONE = World()
"""The only worker."""
