"""The step: forward, loss, backward, and both optimizers once; for every model, wherever its table's rows lie.

Of several workers each has a share of every batch. With S the sum of the weights (the number of examples where there
are none) of the whole batch, a worker's loss is ``sum over its examples of weight loss / S``: losses and gradients of
the workers add up to those of one process. One worker has a share of 1.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldwise.data.batches import ROOMS, Batches, prefetch
from fieldwise.data.cache import Examples
from fieldwise.distributed.world import ALONE, World
from fieldwise.io.memory import freed_memory_kept
from fieldwise.kernels.cooccurrence import AugmentedBatch
from fieldwise.models.click import ClickModel
from fieldwise.nn.blocks import single_threaded_torch
from fieldwise.nn.linear import owns_products
from fieldwise.tables.interface import Check, Table, Ticket
from fieldwise.training.dense import DenseOptimizer
from fieldwise.training.device import random_state, set_random_state
from fieldwise.training.guard import Float64s, NotFinite, all_finite, class_weights, sum_all
from fieldwise.training.loss import logloss, weighted_mean

__all__ = ["ControlFlags", "Stepper", "at_work"]

_NUM_CHECKS = 5


class ControlFlags(NamedTuple):
    """What the loop would do after a step, if it were alone: stop on request, save a checkpoint."""

    stop: bool
    save: bool


class _Planned(NamedTuple):
    """A batch, what it is to the model and to the table, and the sum of its weights."""

    examples: Examples
    augmented: AugmentedBatch
    amount: float
    ticket: Ticket


@contextmanager
def at_work(model: nn.Module) -> Iterator[None]:
    """Set the process up for steps or evaluations, one after the other, and leave it as it was.

    Results then do not depend on the number of threads, unless the deep part has matrices that are not in a
    `nn.linear.Linear`: for those torch keeps its threads.
    """
    with freed_memory_kept(), single_threaded_torch() if owns_products(model) else nullcontext():
        yield


def _some(batches: Generator[Examples, None, None], count: int) -> Generator[Examples, None, None]:
    """Yield so many batches, and let their reader end."""
    with closing(batches):
        yield from islice(batches, count)


class Stepper:
    """A model and what moves it.

    Parameters
    ----------
    model
        With its table placed (`tables.place`); its dense weights are the same on all workers.
    dense
        The optimizer of all other weights.
    world
        The workers that take the same steps.
    bfloat16
        Whether matrix products are taken in bfloat16; weights and all else stay as they are.
    seed
        Of what is random in the steps of several workers (`World.reseed`).

    Attributes
    ----------
    class_weights
        `guard.class_weights` of the batch of the last step, of all workers together.
    """

    def __init__(
        self, model: ClickModel, dense: DenseOptimizer, world: World = ALONE, bfloat16: bool = False, seed: int = 0
    ) -> None:
        self.model, self.dense, self.world, self.bfloat16, self.seed = model, dense, world, bfloat16, seed
        self.num_classes = 2 * len(model.labels) + 1 if model.labels else max(model.num_outputs, 2)
        self.class_weights: Float64s = np.zeros(self.num_classes)
        self._buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        bias = model.logistic_bias if self.table.has_logistic else None
        # Views of the bias and its gradient: torch's own way to a number takes 30 microseconds between large kernels.
        self._bias = None if bias is None else bias.detach().numpy()
        self._slopes = [torch.zeros(1, dtype=torch.float64)]
        self._slope = self._slopes[0].numpy()
        self._written: tuple[Check, Check] = (0.0, 0.0)
        self._loss, self._logits = 0.0, torch.empty(0, 1, 1)
        self._own_flags = self._agreed = ControlFlags(False, False)
        self._coming: deque[_Planned] = deque()

    @property
    def table(self) -> Table:
        """The model's."""
        return self.model.table

    def at_work(self) -> AbstractContextManager[None]:
        """See `at_work`."""
        return at_work(self.model)

    @contextmanager
    def reading(
        self, batches: Batches, epoch: int, start: int, stop: int | None = None
    ) -> Iterator[Iterator[Examples]]:
        """Read the batches from `start` to `stop` of an epoch, those that are learnt from next, in a thread of its own
        where steps leave the cores free.

        The memory of a batch is used again when the next is asked for.
        """
        count = (batches.num_batches if stop is None else stop) - start
        if self.table.leaves_cores:
            with prefetch(_some(batches.epoch(epoch, start, keep=ROOMS), count)) as read:
                yield self.ahead(read)
        else:
            with closing(_some(batches.epoch(epoch, start, keep=self.table.lookahead), count)) as coming:
                yield self.ahead(coming)

    def ahead(self, batches: Iterable[Examples]) -> Iterator[Examples]:
        """Yield the batches, each when the table knows of as many after it as it wants to know (`Table.lookahead`)."""
        coming = self._coming = deque()
        for examples in batches:
            coming.append(self._plan(examples))
            if len(coming) > self.table.lookahead:
                yield coming[0].examples
                coming.popleft()
        while coming:
            yield coming[0].examples
            coming.popleft()

    def _plan(self, examples: Examples) -> _Planned:
        weights = examples.weights
        amount = float(examples.batch.num_examples if weights is None else weights.sum(dtype=float))
        augmented = self.model.augmented(examples.batch)
        return _Planned(examples, augmented, amount, self.table.plan(augmented.batch, amount))

    def step(self, examples: Examples, factor: float) -> float:
        """Learn from this worker's share of a batch, which may be empty, at `factor` times the learning rates; return
        the loss of the whole batch before that.

        Raises
        ------
        NotFinite
            On all workers at once. The loss or a gradient is not finite, and no weight has moved; or a weight that the
            step before has moved is not.
        """
        with self.world.stepping(examples.batch.num_examples):
            return self._step(examples, factor)

    def _step(self, examples: Examples, factor: float) -> float:
        table, world = self.table, self.world
        world.reseed(self.seed, table.optimizer.num_steps)
        known = bool(self._coming) and self._coming[0].examples is examples
        planned = self._coming[0] if known else self._plan(examples)
        total = table.pull(planned.ticket)
        loss: float | Tensor
        if self._bias is not None:
            loss, slopes = self._logistic(planned, float(self._bias[0]), total), self._slopes
            of_slopes: float | Tensor = float(self._slope[0])
        else:
            loss, slopes = self._backpropagate(planned, planned.amount / total if total else 0.0)
            of_slopes = sum_all(slopes)
        of_batch, of_table = class_weights(examples, self.num_classes, self.model.labels), table.gradients()
        checks = (loss, sum_all(of_table), of_slopes, *self._written)
        summed = world.total([*checks, *of_batch.tolist(), *map(float, self._own_flags)], slopes)
        move = table.push()
        numbers, slopes = summed()
        if not math.isfinite(sum(numbers[:_NUM_CHECKS])):
            self._refuse(numbers[:_NUM_CHECKS], of_table, slopes)
        self._loss = numbers[0]
        self.class_weights = np.array(numbers[_NUM_CHECKS:-2])
        self._agreed = ControlFlags(numbers[-2] > 0, numbers[-1] > 0)
        of_dense = self.dense.step(slopes, factor) + sum_all(self._buffers)
        self._written = move(factor), of_dense
        return self._loss

    def _backpropagate(self, planned: _Planned, share: float) -> tuple[Tensor, list[Tensor]]:
        """Leave the gradients of its outputs with the table; return the loss, and those of the dense weights."""
        labels, weights, device = planned.examples.labels, planned.examples.weights, self.model.device
        assert labels is not None, "training needs labels"
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self.model.member_logits(planned.augmented)
        for following in list(self._coming)[1:]:
            following.ticket.advance()
        if share:
            of = None if weights is None else torch.from_numpy(weights).to(device)
            loss = penalised = logloss(logits, torch.from_numpy(labels).to(device), of, self.model.labels) * share
            if self.model.penalty is not None:
                penalised = loss + weighted_mean(self.model.penalty, of) * share
        else:  # the mean over no examples is not a number; every worker must go backward all the same
            loss = penalised = logits.sum() * 0.0
        penalised.backward()  # type: ignore[no-untyped-call]
        self._logits, parameters = logits.detach(), self.dense.parameters
        slopes = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        for each in parameters:
            each.grad = None
        return loss.detach(), slopes

    def _logistic(self, planned: _Planned, bias: float, total: float) -> float:
        """As `_backpropagate` for logistic regression, by the table's kernel that does both passes in one."""
        examples = planned.examples
        assert examples.labels is not None, "training needs labels"
        loss, self._slope[0], sums = self.table.logistic(
            planned.augmented.batch, bias, examples.labels, examples.weights, total
        )
        self._logits = torch.from_numpy(sums).unsqueeze(2) + bias
        for following in list(self._coming)[1:]:
            following.ticket.advance()
        return loss

    def logits(self, every: int) -> npt.NDArray[np.floating[Any]]:
        """Return what the last step was predicted before it moved a weight: the logits (n, O) of every so-manieth
        example of this worker's share, the mean of the heads that are trained.
        """
        found: npt.NDArray[np.floating[Any]] = self._logits[::every].mean(dim=1).float().cpu().numpy()
        return found

    def refuse_written(self) -> None:
        """Raise `NotFinite`, on all workers, where a weight that the last step has moved is not finite."""
        numbers, _ = self.world.total([self._loss / self.world.size, 0.0, 0.0, *self._written], [])()
        if not math.isfinite(sum(numbers)):
            self._refuse(numbers, [], [])

    def _refuse(self, numbers: Sequence[float], of_table: Sequence[Tensor], slopes: Sequence[Tensor]) -> None:
        """Raise NotFinite where a number is not finite, and not just the sum that was taken to see it."""
        loss, _, _, table_written, dense_written = numbers
        wrong = [
            not all_finite([*self.dense.parameters, *self._buffers]),
            not all_finite(of_table),
            not all_finite(slopes),
        ]
        found, _ = self.world.total([float(each) for each in wrong], [])()
        for is_so, what, written in (
            (not math.isfinite(table_written), "a weight of the table, or its optimizer's state,", True),
            (found[0] > 0 and not math.isfinite(dense_written), "a dense weight", True),
            (not math.isfinite(loss), "the loss", False),
            (found[1] > 0, "a gradient of the table", False),
            (found[2] > 0, "a gradient of the dense weights", False),
        ):
            if is_so:
                raise NotFinite(what, self._loss if written else loss, before=written)

    def agree(self, flags: ControlFlags) -> ControlFlags:
        """Return what one of the workers wanted a step ago: flags travel with the sums of the next step."""
        self._own_flags = flags
        return self._agreed

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that changes from step to step, but for the table's rows, as arrays that a checkpoint can hold."""
        return {
            **{f"model.{name}": tensor.detach().cpu().numpy() for name, tensor in self.model.state_dict().items()},
            **self.dense.arrays(),
            **random_state(self.model.device),
            "table.num_steps": np.array(self.table.optimizer.num_steps),
        }

    def restore(self, rows: npt.NDArray[np.floating], arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Go back to where `arrays` and the table's rows were taken, on this device or elsewhere.

        Raises
        ------
        LookupError, TypeError, ValueError, RuntimeError
            They were taken of another model.
        """
        own = self.table.rows
        if (rows.shape, rows.dtype) != (own.shape, own.dtype):
            raise ValueError(f"a table of {rows.dtype} {rows.shape} for one of {own.dtype} {own.shape}")
        self.table.write(0, rows)
        self.restore_others(arrays)

    def restore_others(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Go back to where `arrays` were taken, but for the table's rows; see `restore`."""
        prefix = "model."
        self.model.load_state_dict(
            {
                name.removeprefix(prefix): torch.from_numpy(np.array(array))
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
        )
        self.dense.restore(arrays)
        set_random_state(arrays, self.model.device)
        self.table.optimizer.num_steps = int(arrays["table.num_steps"])
        self._written = (0.0, 0.0)
