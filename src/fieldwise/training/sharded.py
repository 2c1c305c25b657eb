"""One step of several workers: each its share of the batch, together the step of one process."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.bundle import BundleWriter, block_rows
from fieldwise.calibration import Calibration, Method
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Examples
from fieldwise.distributed.device_table import DeviceShardedTable
from fieldwise.distributed.standardise import SharedStandardise
from fieldwise.distributed.table import Planning, ShardedTable
from fieldwise.distributed.wire import pack_arrays, unpack_arrays
from fieldwise.io.arrays import Pieces
from fieldwise.kernels.cooccurrence import AugmentedBatch
from fieldwise.kernels.layout import Batch
from fieldwise.kernels.storage import step_key
from fieldwise.metrics import Metrics
from fieldwise.models.click import ClickModel
from fieldwise.models.load import dense_arrays, load_dense
from fieldwise.nn.standardise import Standardise
from fieldwise.training.averaging import Average
from fieldwise.training.device_step import DeviceAverage
from fieldwise.training.guard import Float64s, NotFinite, all_finite, class_weights
from fieldwise.training.loss import logloss, weighted_mean
from fieldwise.training.score import accumulate, fit_calibration, heads_and_labels, logits_and_labels
from fieldwise.training.step import Stepper, Wishes
from fieldwise.training.unseen import fill_unseen_shards

__all__ = ["ShardedStepper", "share_statistics"]

_NO_WISHES = Wishes(False, False)


class _Planned(NamedTuple):
    """A complete batch, and the plan for its rows in the making."""

    given: AugmentedBatch
    planning: Planning


class ShardedStepper(Stepper):
    """A model whose table is sharded, and what moves it.

    With S the sum of the weights (the number of examples where there are none) of the global batch, a worker's loss is
    ``sum over its examples of weight loss / S``: losses and gradients of the workers add up to those of one process.

    Parameters
    ----------
    model
        After `share_statistics`; its dense weights are the same on all workers.
    sharded
        Of the model's table.
    dense_optimizer, bfloat16
        As in `Stepper`.
    seed
        Of dropout, which is drawn anew for each step and worker.
    """

    def __init__(
        self,
        model: ClickModel,
        sharded: ShardedTable,
        dense_optimizer: torch.optim.Optimizer | None,
        bfloat16: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(model, sharded.optimizer, dense_optimizer, bfloat16)
        self.sharded, self.seed = sharded, seed
        self._table_finite = True
        self._own_wishes = self._agreed = _NO_WISHES
        self._class_weights = np.zeros(self.num_classes)
        self._current: tuple[Examples, _Planned] | None = None
        self._next: tuple[Examples, _Planned] | None = None
        self._device = model.device

    @contextmanager
    def reading(self, batches: Batches, epoch: int, start: int) -> Iterator[Iterator[Examples]]:
        """As `Stepper.reading`, a batch ahead."""
        with closing(batches.epoch(epoch, start, keep=1)) as coming:
            yield self.ahead(coming)

    def ahead(self, batches: Iterable[Examples]) -> Iterator[Examples]:
        """Yield the batches; while the model works on one, messages about the rows of the next are on their way."""
        self._current = self._next = None
        examples: Examples | None = None
        for following in batches:
            if examples is not None:
                self._next = (following, self._plan(following))
                yield examples
                self._current = self._next
            examples = following
        if examples is not None:
            self._next = None
            yield examples

    def step(self, examples: Examples, factor: float) -> float:
        """Learn from this worker's share of a batch, which may be empty; return the loss of the whole batch.

        Raises
        ------
        NotFinite
            As `Stepper.step`, on all workers at once; a weight of the table that is not finite is found one step later.
        """
        assert examples.labels is not None, "training needs labels"
        workers = self.sharded.workers
        torch.manual_seed(step_key(self.seed, self.table_optimizer.num_steps * workers.size + workers.rank))
        with workers.traffic.stepping(examples.batch.num_examples):
            return self._step(examples, factor)

    def _step(self, examples: Examples, factor: float) -> float:
        given, planning = self._current[1] if self._current and self._current[0] is examples else self._plan(examples)
        plan = planning.finish()
        self.sharded.pull(plan)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self.model.member_logits(given._replace(batch=plan.small.batch))
        if self._next:
            self._next[1].planning.advance()
        share = _amount(examples) / plan.total if plan.total else 0.0
        loss = self._share_of_loss(logits, examples, share)
        penalised = loss
        if self.model.penalty is not None and share:
            penalised = loss + weighted_mean(self.model.penalty, self._weights_of(examples)) * share
        penalised.backward()  # type: ignore[no-untyped-call]
        summed = self._sum_dense(loss, class_weights(examples, self.num_classes))
        act = self.sharded.push(plan)
        value = summed()
        if self.dense_optimizer:
            for group, rate in zip(self.dense_optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            self.dense_optimizer.step()
            self.dense_optimizer.zero_grad()
        self._table_finite = act(factor)
        if not all_finite(self._dense):
            raise NotFinite("a dense weight", value)
        return value

    def agree(self, wishes: Wishes) -> Wishes:
        """Return what one of the workers wished for a step ago: wishes travel with the sums of the next step."""
        self._own_wishes = wishes
        return self._agreed

    def class_weights(self, examples: Examples) -> Float64s:
        """See `Stepper.class_weights`: they came with the sums of the step."""
        return self._class_weights

    def logits(self, batch: Batch) -> torch.Tensor:
        """Return the logits (B, O) of a batch that is not learnt from; every worker must call it."""
        return self._say(self.model.logits, batch)

    def all_logits(self, batch: Batch) -> torch.Tensor:
        """See `Stepper.all_logits`; every worker must call it."""
        return self._say(self.model.all_logits, batch)

    def evaluate(self, examples: Iterable[Examples]) -> Metrics:
        """Return the metrics of the examples of all workers together, exactly those of one process."""
        workers = self.sharded.workers
        with workers.uncounted():
            metrics = accumulate(self.model, self.logits, examples)
            parts = workers.gather(pack_arrays(metrics.columns()))

        def merged() -> Metrics:
            whole = accumulate(self.model, self.logits, [])
            for part in parts:
                whole.add_columns(unpack_arrays(part))
            return whole.compute()

        return workers.first(merged, Metrics)

    def calibrated(self, method: Method, examples: Iterable[Examples]) -> Calibration:
        """Return the model's calibration after it has learned from the examples of all workers."""
        workers = self.sharded.workers
        with workers.uncounted():
            parts = [unpack_arrays(p) for p in workers.gather(pack_arrays(logits_and_labels(self.logits, examples)))]

        def fitted() -> Calibration:
            joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            return fit_calibration(self.model, method, joined)

        return workers.first(fitted, Calibration)

    def fit_stacker(self, examples: Iterable[Examples]) -> None:
        """Let the examples of all workers say how much each of a stack's members counts."""
        workers, stacker = self.sharded.workers, self.model.stacker
        assert stacker is not None, "only a stack is weighed"
        with workers.uncounted():
            parts = [unpack_arrays(p) for p in workers.gather(pack_arrays(heads_and_labels(self.all_logits, examples)))]

        def fitted() -> list[float]:
            self._fit_stacker({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
            weight: list[float] = stacker.weight.tolist()
            return weight

        stacker.weight.copy_(torch.tensor(workers.first(fitted, list[float]), dtype=stacker.weight.dtype))

    @property
    def rows(self) -> npt.NDArray[np.floating]:
        """The rows of the table that this worker owns."""
        return self.sharded.owned.rows

    @property
    def weights(self) -> npt.NDArray[np.floating]:
        """The weights of these rows, as they are stored."""
        return self.sharded.owned.weights

    @property
    def table_rows(self) -> ShardedTable:
        """Where the weights of the table are drawn and set."""
        return self.sharded

    def average(self, epochs: float, batches_per_epoch: int) -> Average:
        """See `Stepper.average`: every worker keeps that of the rows that it owns."""
        if isinstance(self.sharded, DeviceShardedTable):
            return DeviceAverage(self.model, self.sharded.on_device, epochs, batches_per_epoch)
        return super().average(epochs, batches_per_epoch)

    def _restore_rows(self, table: npt.NDArray[np.floating]) -> None:
        self.sharded.owned.write(0, table)

    def fill_unseen(self, counts: Sequence[npt.NDArray[np.int64] | None]) -> None:
        """See `Stepper.fill_unseen`: every worker sums up the rows that it owns."""
        with self.sharded.workers.uncounted():
            fill_unseen_shards(self.sharded, counts)

    def save(self, writer: BundleWriter, number: int) -> None:
        """Write the weights into a bundle: worker 0 writes, and holds a piece of the table at a time."""
        sharded, table = self.sharded, self.model.table
        with sharded.workers.together():
            stored = sharded.owned.read(0, 0).dtype
            pieces = sharded.stream(block_rows(table.num_weights * stored.itemsize))
            try:
                if sharded.workers.rank == 0:
                    shape = (sharded.layout.num_features, table.num_weights)
                    writer.save(number, Pieces(stored, shape, pieces), dense_arrays(self.model))
            finally:
                for _ in pieces:  # also where the disk is full: the others send to the end
                    pass

    def load(self, weights: npt.NDArray[np.floating], dense: dict[str, npt.NDArray[Any]]) -> None:
        """Take the weights (D, n) of the table, of which the rows owned here, and all others."""
        self.sharded.load(weights)
        load_dense(self.model, dense)

    def _say(self, answer: Callable[[AugmentedBatch], torch.Tensor], batch: Batch) -> torch.Tensor:
        """Return what the model answers to a batch that is not learnt from."""
        self.model.eval()
        given = self.model.augmented(batch)
        plan = Planning(self.sharded.plan(given.batch)).finish()
        self.sharded.pull(plan, learning=False)
        with torch.no_grad():
            said = answer(given._replace(batch=plan.small.batch))
        self.sharded.give_back()
        return said

    def _plan(self, examples: Examples) -> _Planned:
        given = self.model.augmented(examples.batch)
        return _Planned(given, Planning(self.sharded.plan(given.batch, _amount(examples))))

    def _share_of_loss(self, logits: torch.Tensor, examples: Examples, share: float) -> torch.Tensor:
        if not share:  # the mean over no examples is not a number; every worker must go backward all the same
            return logits.sum() * 0.0
        labels = torch.from_numpy(examples.labels).to(self._device)
        return logloss(logits, labels, self._weights_of(examples)) * share

    def _weights_of(self, examples: Examples) -> torch.Tensor | None:
        return None if examples.weights is None else torch.from_numpy(examples.weights).to(self._device)

    def _sum_dense(self, loss: torch.Tensor, weights: Float64s) -> Callable[[], float]:
        """Begin to add up gradients and losses in one message.

        It also carries the weights of the classes, wishes and what is not finite.

        What is returned waits for the sums, leaves them with the parameters and returns the loss.
        """
        of_table = [part.grad for visit in self.model.table.visits for part in visit[1:3] if part.grad is not None]
        parameters = self._parameters
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flags = (not all_finite(of_table), not self._table_finite, *self._own_wishes)
        head = torch.tensor([0.0, *weights, *map(float, flags)], dtype=loss.dtype, device=self._device)
        head[0] = loss.detach()
        message = torch.cat([head, *(gradient.reshape(-1) for gradient in gradients)])
        wait = self.sharded.workers.add(message, "dense")

        def finish() -> float:
            wait()
            value, *summed = message[: len(head)].tolist()
            self._class_weights = np.array(summed[: len(weights)])
            table_gradient, table_weight, *wishes = summed[len(weights) :]
            self._agreed = Wishes(*(wish > 0 for wish in wishes))
            for wrong, what in (
                (not math.isfinite(value), "the loss"),
                (table_gradient > 0, "a gradient of the table"),
                (table_weight > 0, "a weight of the table, or its optimizer's state,"),
                (not all_finite([message[len(head) :]]), "a gradient of the dense weights"),
            ):
                if wrong:
                    raise NotFinite(what, value)
            parts = torch.split(message[len(head) :], [parameter.numel() for parameter in parameters])
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.grad = part.view_as(parameter)
            return float(value)

        return finish


def _amount(examples: Examples) -> float:
    weights = examples.weights
    return float(examples.batch.num_examples if weights is None else weights.sum(dtype=float))


def share_statistics(model: ClickModel, sharded: ShardedTable) -> None:
    """Let a model standardise its units over the global batch."""
    for member in model.members.values():
        for name, module in member.named_children():
            if isinstance(module, Standardise):
                shared = SharedStandardise(module.num_features, sharded.workers)
                setattr(member, name, shared.to(model.device, model.dtype))
