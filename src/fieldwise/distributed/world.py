"""The workers of a training, seen from one of them: what they say to each other, and nothing where it is alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    """One worker, whose collectives do nothing; `group.Workers` are several.

    Every method must be called by all workers, in the same order.

    Attributes
    ----------
    rank, size
        Which of the workers this is, 0 .. W - 1; and W.
    num_local, local_rank
        How many of them are on this host, and which of those this is.
    traffic
        What this worker has sent.
    stopping
        Asked while this worker waits for worker 0: whether it was told to end.
    """

    rank, size, num_local, local_rank = 0, 1, 1, 0

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.stopping: Callable[[], bool] = lambda: False

    # --- messages of a step ---

    def total(
        self, numbers: Sequence[float | Tensor], tensors: Sequence[Tensor]
    ) -> Callable[[], tuple[list[float], list[Tensor]]]:
        """Begin to add up numbers and tensors over the workers, in one message; what is returned waits for the sums.

        Numbers are rounded to the type of the tensors on their way.

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
        """Begin to send each worker its part; what is returned waits for what all have sent here, and returns that.

        Parameters
        ----------
        parts
            (sum of sent, ...): the part for worker 0, then that for worker 1, and so on. Not to be touched meanwhile.
        sent, received
            (W,) lines that go to, and come from, each worker.
        kind
            Under which it is counted.
        """
        return lambda: parts

    def add(self, tensor: Tensor, kind: str = "other") -> Callable[[], None]:
        """Begin to replace a tensor by its sum over the workers, the same bits on each; what is returned waits."""
        return lambda: None

    def collect(self, numbers: Tensor, kind: str = "other") -> Tensor:
        """Return (W, ...): the tensor of every worker, all of one shape."""
        return numbers.unsqueeze(0)

    def reseed(self, seed: int, step: int) -> None:
        """Draw what is random in a step, such as dropout, by a seed of step and worker.

        One worker goes on with torch's generator, whose state its checkpoints hold.
        """

    @contextmanager
    def stepping(self, num_examples: int) -> Iterator[None]:
        """Count a step that the block does (`traffic`)."""
        yield

    # --- whatever has no part in a step ---

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Leave the messages of the block out of `traffic`."""
        yield

    def report(self) -> list[Traffic]:
        """Return the traffic of every worker, on worker 0; an empty list on the others, and where there is one."""
        return []

    def gather(self, data: bytes) -> list[bytes]:
        """Return the bytes of every worker, on worker 0; an empty list on the others."""
        return [data]

    def gather_arrays(self, arrays: Arrays) -> list[Arrays]:
        """Return the arrays of every worker, on worker 0; an empty list on the others."""
        return [arrays]

    def join_arrays(self, arrays: Arrays) -> Arrays:
        """Return the arrays of all workers, each one behind the other, on worker 0; none on the others."""
        parts = self.gather_arrays(arrays)
        if len(parts) < 2:
            return parts[0] if parts else {}
        names = {name: None for part in parts for name in part}
        return {name: np.concatenate([part[name] for part in parts if name in part]) for name in names}

    def first(self, make: Callable[[], Made], type: type[Made]) -> Made:
        """Call `make` on worker 0, however long it takes, and return or raise the same on all workers.

        Parameters
        ----------
        type
            Of what `make` returns: plain data that msgspec writes and reads.
        """
        return make()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raise on all workers, when the block ends, what it raised on one of them."""
        yield


ALONE = World()
"""The only worker."""
