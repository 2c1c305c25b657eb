"""The average of the weights over the last stretch of training: what is validated, kept and saved.

A snapshot of the weights w is taken ten times an epoch. With n snapshots so far, and E the epochs that the average
looks back on::

    average += max(1 / n, 1 / (E snapshots per epoch)) (w - average)

the plain mean at first, an exponential one later. Single weights still move with every batch when training has
settled, and the rows of rare features with every example of theirs; their average lies in the middle of where they
move, and generalises better: on MovieLens-1M as much as all other settings together
(docs/log/2026-11/accuracy.md#which-changes-make-a-better-model). Polyak and
Juditsky 1992; Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization".

Training itself goes on from the weights, not from their average.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldwise.io.arrays import Pieces
from fieldwise.io.memory import require_memory
from fieldwise.kernels.storage import decode_weights, encode_weights
from fieldwise.models.click import ClickModel

__all__ = ["Average"]

_SNAPSHOTS_PER_EPOCH = 10
_CHUNK_NUMBERS = 1 << 20
_DENSE, _COUNT = "average.dense.", "average.num_snapshots"


class Average:
    """The average of one model's weights, and of the statistics that it standardises with.

    Takes as much of the host's memory as the weights of the table's rows that are kept here, in the type of its
    arithmetic where they are stored as bfloat16, and as much again while it is applied. A snapshot is one pass over
    them: ten of those an epoch, whatever the number of batches, and none in a step between.

    Parameters
    ----------
    model
        With its table placed.
    epochs
        E > 0: how far the average looks back.
    batches_per_epoch
        Steps of an epoch, 1 or more.
    """

    def __init__(self, model: ClickModel, epochs: float, batches_per_epoch: int) -> None:
        if epochs <= 0:
            raise ValueError(f"epochs (={epochs}) must be above 0")
        self.model, table = model, model.table
        self.every = max(batches_per_epoch // _SNAPSHOTS_PER_EPOCH, 1)
        self.least_rate = min(1.0, self.every / (epochs * batches_per_epoch))
        self.num_snapshots = 0
        num_rows, itemsize = table.num_rows, table.read(0, 0).itemsize
        require_memory(
            num_rows * table.num_weights * (table.dtype.itemsize + itemsize),
            "the average of the table's weights",
            "set train.average_epochs=0, or use fewer units",
        )
        self.rows: npt.NDArray[np.floating] = np.zeros((num_rows, table.num_weights), table.dtype)
        self.dense = {name: torch.zeros_like(tensor) for name, tensor in self._tensors().items()}

    def after(self, step: int) -> None:
        """Take a snapshot where one is due after `step` steps, counted from 1 over all epochs."""
        if step % self.every:
            return
        self.num_snapshots += 1
        rate = max(1.0 / self.num_snapshots, self.least_rate)
        for average, weights in self._chunks():
            average += average.dtype.type(rate) * (decode_weights(weights) - average)
        for name, tensor in self._tensors().items():
            self.dense[name] += rate * (tensor - self.dense[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model have the average for its weights, and its own again afterwards."""
        if not self.num_snapshots:
            yield
            return
        table = self.model.table
        own = np.array(table.read(0, table.num_rows))
        for first, last in self._pieces():
            stored = np.empty_like(own[first:last])
            for unit in range(stored.shape[1]):
                encode_weights(stored, unit, self.rows[first:last, unit])
            table.write(first, stored)
        own_dense = {name: tensor.clone() for name, tensor in self._tensors().items()}
        self._set_dense(self.dense)
        try:
            yield
        finally:
            table.write(0, own)
            self._set_dense(own_dense)

    def beside(self, rows: npt.NDArray[Any]) -> Pieces:
        """Return the table's `rows` (R, columns) with the average beside each, as bytes, for a checkpoint.

        The average of a row goes wherever the row goes, to whichever worker reads the checkpoint.
        """

        def joined() -> Iterator[npt.NDArray[np.uint8]]:
            for first, last in self._pieces():
                yield np.concatenate([_bytes(rows[first:last]), _bytes(self.rows[first:last])], axis=1)

        width = rows.itemsize * rows.shape[1] + self.rows.itemsize * self.rows.shape[1]
        return Pieces(np.dtype(np.uint8), (len(rows), width), joined())

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all else that is remembered, as arrays that a checkpoint can hold."""
        dense = {_DENSE + name: tensor.cpu().numpy() for name, tensor in self.dense.items()}
        return {_COUNT: np.array(self.num_snapshots), **dense}

    def restore(
        self, rows: npt.NDArray[Any], joined: npt.NDArray[Any], arrays: dict[str, npt.NDArray[Any]]
    ) -> npt.NDArray[Any]:
        """Go back to where `joined` (`beside`) and `arrays` were taken, and return what `rows` were then."""
        num_bytes = rows.itemsize * rows.shape[1]
        self.rows[:] = joined[:, num_bytes:].view(self.rows.dtype)
        self.num_snapshots = int(arrays[_COUNT])
        for name, tensor in self.dense.items():
            tensor.copy_(torch.from_numpy(np.array(arrays[_DENSE + name])))
        then: npt.NDArray[Any] = joined[:, :num_bytes].view(rows.dtype)
        return then

    def _tensors(self) -> dict[str, Tensor]:
        """Return the dense weights and statistics, without what counts."""
        return {name: tensor.detach() for name, tensor in self.model.state_dict().items() if tensor.is_floating_point()}

    def _chunks(self) -> Iterator[tuple[npt.NDArray[np.floating], npt.NDArray[Any]]]:
        """Yield the same rows of the average and of the weights as they are stored, few at a time."""
        for first, last in self._pieces():
            yield self.rows[first:last], self.model.table.read(first, last)

    def _pieces(self) -> Iterator[tuple[int, int]]:
        step = max(_CHUNK_NUMBERS // max(self.rows.shape[1], 1), 1)
        for first in range(0, len(self.rows), step):
            yield first, min(first + step, len(self.rows))

    def _set_dense(self, values: dict[str, Tensor]) -> None:
        for name, tensor in self._tensors().items():
            tensor.copy_(values[name])


def _bytes(rows: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(rows).view(np.uint8)
