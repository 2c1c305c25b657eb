"""One step on a device: what `training.step` does, waiting for the device once.

The processor only queues work. It waits in one place, after the backward pass, for the loss and for whether all
gradients are finite; by then the next batch is on its way. So the updates of one step run while the next is queued.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from fieldwise.bundle import BundleWriter, block_rows
from fieldwise.data.batches import ROOMS, Batches, prefetch
from fieldwise.data.cache import Examples
from fieldwise.errors import UserError
from fieldwise.io.arrays import Pieces
from fieldwise.kernels.cooccurrence import AugmentedBatch
from fieldwise.kernels.layout import Batch
from fieldwise.models.click import ClickModel
from fieldwise.models.load import dense_arrays
from fieldwise.nn.cuda.staging import Staging
from fieldwise.nn.cuda.storage import decode, encode_nearest
from fieldwise.nn.cuda.table import DeviceTable, require_device_memory
from fieldwise.optim.device import DeviceTableOptimizer
from fieldwise.training.averaging import Average
from fieldwise.training.guard import NotFinite
from fieldwise.training.loss import logloss, weighted_mean
from fieldwise.training.step import Stepper

__all__ = ["DeviceAverage", "DeviceStepper"]

_RANDOM = "random.cuda"


class DeviceStepper(Stepper):
    """A model on a device (`training.device.place_model`), and what moves it.

    Parameters
    ----------
    model, table_optimizer, dense_optimizer, bfloat16
        As in `Stepper`.
    """

    def __init__(
        self,
        model: ClickModel,
        table_optimizer: DeviceTableOptimizer,
        dense_optimizer: torch.optim.Optimizer | None,
        bfloat16: bool = False,
    ) -> None:
        super().__init__(model, table_optimizer, dense_optimizer, bfloat16)
        self.on_device = table_optimizer
        self.table: DeviceTable = table_optimizer.on_device
        self.device = self.table.device
        self._staging = Staging(self.device)
        self._next: Examples | None = None
        self._coming: tuple[Examples, AugmentedBatch] | None = None
        self._written = torch.zeros(2, dtype=model.dtype, device=self.device)

    @contextmanager
    def reading(self, batches: Batches, epoch: int, start: int) -> Iterator[Iterator[Examples]]:
        """As `Stepper.reading`, a batch ahead, in a thread of its own beside the device."""
        with prefetch(batches.epoch(epoch, start, keep=ROOMS)) as coming:
            yield self.ahead(coming)

    def ahead(self, batches: Iterable[Examples]) -> Iterator[Examples]:
        """Yield the batches; while the model works on one, the next is copied to the device."""
        examples = self._next = None
        for following in batches:
            if examples is not None:
                self._next = following
                yield examples
            examples = following
        self._next = None
        if examples is not None:
            yield examples

    def step(self, examples: Examples, factor: float) -> float:
        """Learn from a batch; see `Stepper.step`.

        Raises
        ------
        NotFinite
            As `Stepper.step`; a weight that is not finite after a step is found in the next one, where there is one.
        """
        assert examples.labels is not None, "training needs labels"
        labels, *others = self._staging.send(
            [[part] for part in (examples.labels, examples.weights) if part is not None]
        )
        weights = others[0] if others else None
        coming = self._coming
        given = coming[1] if coming and coming[0] is examples else self.model.augmented(examples.batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self.model.member_logits(given)
        loss = penalised = logloss(logits, labels, weights)
        if self.model.penalty is not None:
            penalised = loss + weighted_mean(self.model.penalty, weights)
        penalised.backward()  # type: ignore[no-untyped-call]
        if self._next is not None:
            self._coming = self._next, self.model.augmented(self._next.batch)
            self.table.place(self._coming[1].batch)
        value = self._wait(loss)
        if self.dense_optimizer:
            for group, rate in zip(self.dense_optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            self.dense_optimizer.step()
            self.dense_optimizer.zero_grad()
        self._written[0] = self.on_device.act(factor)
        self._written[1] = self._largest(self._dense)
        if self._next is None:
            self._refuse_written(value, *self._written.tolist())
        return value

    def _wait(self, loss: Tensor) -> float:
        """Wait for the loss, and for whether gradients, and what the step before has written, are finite."""
        of_table = [part.grad for visit in self.table.visits for part in visit[1:3] if part.grad is not None]
        of_dense = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        numbers = [loss.detach(), self._largest(of_table), self._largest(of_dense), *self._written]
        value, table, dense, *written = torch.stack(numbers).tolist()
        self._refuse_written(value, *written)
        if not math.isfinite(value):
            raise NotFinite("the loss", value)
        if not math.isfinite(table):
            raise NotFinite("a gradient of the table", value)
        if not math.isfinite(dense):
            raise NotFinite("a gradient of the dense weights", value)
        return float(value)

    def _refuse_written(self, loss: float, table: float, dense: float) -> None:
        if not math.isfinite(table):
            raise NotFinite("a weight of the table, or its optimizer's state,", loss)
        if not math.isfinite(dense):
            raise NotFinite("a dense weight", loss)

    def _largest(self, tensors: Iterable[Tensor]) -> Tensor:
        """Return the largest absolute value of all, which is finite only where all are."""
        tensors = [tensor.detach() for tensor in tensors if tensor.numel()]
        if not tensors:
            return self._written.new_zeros(())
        return get_total_norm(tensors, math.inf).to(self._written.dtype)

    def logits(self, batch: Batch) -> Tensor:
        """Return the logits (B, O) of a batch that is not learnt from, on the host."""
        return super().logits(batch).cpu()

    @property
    def weights(self) -> npt.NDArray[Any]:
        """A copy of the weights, as they are stored."""
        return self.table.weights

    def save(self, writer: BundleWriter, number: int) -> None:
        """Write the weights into a bundle, a piece of the table at a time."""
        stored, shape = self.table.read(0, 0).dtype, (self.table.layout.num_features, self.table.num_weights)
        pieces = self.table.pieces(block_rows(shape[1] * stored.itemsize))
        writer.save(number, Pieces(stored, shape, pieces), dense_arrays(self.model))

    def average(self, epochs: float, batches_per_epoch: int) -> DeviceAverage:
        """Return the average of the weights, which is kept on the device."""
        return DeviceAverage(self.model, self.table, epochs, batches_per_epoch)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """As `Stepper.arrays`, with the state of the device's random numbers.

        Raises
        ------
        UserError
            A weight is not finite, and no checkpoint must hold it.
        """
        try:
            self._refuse_written(math.nan, *self._written.tolist())
        except NotFinite as error:
            raise UserError(
                f"training stopped: {error.what} is not a finite number", expected="finite numbers"
            ) from None
        arrays = super().arrays()
        if self.device.type == "cuda":
            arrays[_RANDOM] = torch.cuda.get_rng_state(self.device).numpy()
        return arrays

    def restore(self, table: npt.NDArray[Any], arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Go back to where `arrays` and the table's rows were taken, on this device or elsewhere."""
        super().restore(table, arrays)
        self._written.zero_()
        if self.device.type == "cuda" and _RANDOM in arrays:
            torch.cuda.set_rng_state(torch.from_numpy(np.array(arrays[_RANDOM])), self.device)

    def _restore_rows(self, table: npt.NDArray[Any]) -> None:
        self.table.write(0, table)


class DeviceAverage(Average):
    """The average of a model's weights on its device; see `training.averaging`.

    Parameters
    ----------
    model, epochs, batches_per_epoch
        As in `Average`.
    table
        The model's.
    """

    def __init__(self, model: ClickModel, table: DeviceTable, epochs: float, batches_per_epoch: int) -> None:
        self.device = table.device
        super().__init__(model, table.stored[:-1, : table.num_weights], epochs, batches_per_epoch)

    def _make_room(self, num_bytes: int) -> None:
        require_device_memory(num_bytes, self.device, "the average of the table's weights")
        dtype = self.model.dtype
        self.there = torch.zeros(self.weights.shape, dtype=dtype, device=self.device)

    def _mix_table(self, share: float) -> None:
        for some in self._slices():
            average = self.there[some]
            average += share * (decode(self.weights[some]) - average)

    def _exchange_table(self) -> Any:
        own = self.weights.clone()
        for some in self._slices():
            self.weights[some] = encode_nearest(self.there[some], self.weights)
        return own

    def _take_back(self, own: Any) -> None:
        self.weights.copy_(own)

    def _average(self, some: slice) -> npt.NDArray[np.floating]:
        array: npt.NDArray[np.floating] = self.there[some].cpu().numpy()
        return array

    def _set_average(self, average: npt.NDArray[np.floating]) -> None:
        self.there.copy_(torch.from_numpy(np.array(average)))
