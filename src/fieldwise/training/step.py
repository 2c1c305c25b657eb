"""One step: forward, loss, backward, and both optimizers once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.bundle import BundleWriter
from fieldwise.calibration import Calibration, Method
from fieldwise.data.batches import Batches
from fieldwise.data.cache import Examples
from fieldwise.distributed.table import ShardedTable
from fieldwise.io.memory import freed_memory_kept
from fieldwise.kernels.layout import Batch
from fieldwise.metrics import Metrics
from fieldwise.models.click import ClickModel
from fieldwise.models.load import dense_arrays, load_dense
from fieldwise.nn.blocks import single_threaded_torch
from fieldwise.nn.linear import owns_products
from fieldwise.optim.table import TableOptimizer
from fieldwise.training.averaging import Average
from fieldwise.training.guard import Float64s, NotFinite, all_finite, class_weights
from fieldwise.training.loss import logloss, weighted_mean
from fieldwise.training.score import evaluate_model, fit_calibration, heads_and_labels, logits_and_labels
from fieldwise.training.unseen import fill_unseen

__all__ = ["Stepper", "Wishes"]


class Wishes(NamedTuple):
    """What the loop would do after a step, if it were alone: stop on request, save a checkpoint."""

    stop: bool
    save: bool


class Stepper:
    """A model and what moves it.

    Parameters
    ----------
    model, table_optimizer, dense_optimizer
        The model with its weights set; the optimizer of its table; torch's over its parameters, or None.
    bfloat16
        Whether matrix products are taken in bfloat16; weights and all else stay as they are.
    """

    def __init__(
        self,
        model: ClickModel,
        table_optimizer: TableOptimizer,
        dense_optimizer: torch.optim.Optimizer | None,
        bfloat16: bool = False,
    ) -> None:
        self.model, self.table_optimizer, self.dense_optimizer = model, table_optimizer, dense_optimizer
        self.bfloat16 = bfloat16
        self._parameters = list(model.parameters())
        self._dense = [*self._parameters, *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
        self._rates = [group["lr"] for group in dense_optimizer.param_groups] if dense_optimizer else []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Set the process up for steps, one after the other, and leave it as it was.

        Results then do not depend on the number of threads, unless the deep part has matrices that are not in a
        `nn.linear.Linear`: for those torch keeps its threads.
        """
        with freed_memory_kept(), single_threaded_torch() if owns_products(self.model) else nullcontext():
            yield

    def step(self, examples: Examples, factor: float) -> float:
        """Learn from a batch at `factor` times the learning rates, and return its loss before that.

        Raises
        ------
        NotFinite
            The loss or a gradient is not finite, and no weight has moved; or a weight that has moved is not.
        """
        assert examples.labels is not None, "training needs labels"
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            logits = self.model.member_logits(self.model.augmented(examples.batch))
        weights = None if examples.weights is None else torch.from_numpy(examples.weights)
        loss = logloss(logits, torch.from_numpy(examples.labels), weights)
        value = float(loss.item())
        if not math.isfinite(value):
            raise NotFinite("the loss", value)
        if self.model.penalty is not None:
            loss = loss + weighted_mean(self.model.penalty, weights)
        loss.backward()  # type: ignore[no-untyped-call]
        self._check_gradients(value)
        if self.dense_optimizer:
            for group, rate in zip(self.dense_optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            self.dense_optimizer.step()
            self.dense_optimizer.zero_grad()
        if not self.table_optimizer.step(factor):
            raise NotFinite("a weight of the table, or its optimizer's state,", value)
        if not all_finite(self._dense):
            raise NotFinite("a dense weight", value)
        return value

    @property
    def num_classes(self) -> int:
        """Classes that the model tells apart."""
        return max(self.model.num_outputs, 2)

    def class_weights(self, examples: Examples) -> Float64s:
        """Return the `guard.class_weights` of the batch of the last step: of all workers together."""
        return class_weights(examples, self.num_classes)

    @contextmanager
    def reading(self, batches: Batches, epoch: int, start: int) -> Iterator[Iterator[Examples]]:
        """Read the batches that are learnt from next; the memory of one is used again when the next is asked for."""
        with closing(batches.epoch(epoch, start, keep=0)) as coming:
            yield coming

    def agree(self, wishes: Wishes) -> Wishes:
        """Return what all workers do now; there is one here."""
        return wishes

    def logits(self, batch: Batch) -> torch.Tensor:
        """Return the logits (B, O) of a batch that is not learnt from."""
        self.model.eval()
        with torch.no_grad():
            logits: torch.Tensor = self.model(batch)
        return logits

    def all_logits(self, batch: Batch) -> torch.Tensor:
        """Return the logits (B, H, O) of every head, for a batch that is not learnt from."""
        self.model.eval()
        with torch.no_grad():
            return self.model.all_logits(self.model.augmented(batch))

    def evaluate(self, examples: Iterable[Examples]) -> Metrics:
        """Return the metrics of all examples together."""
        return evaluate_model(self.model, examples)

    def calibrated(self, method: Method, examples: Iterable[Examples]) -> Calibration:
        """Return the model's calibration after it has learned from examples."""
        return fit_calibration(self.model, method, logits_and_labels(self.logits, examples))

    def fit_stacker(self, examples: Iterable[Examples]) -> None:
        """Let labelled examples say how much each of a stack's members counts (`models.stack`)."""
        self._fit_stacker(heads_and_labels(self.all_logits, examples))

    @property
    def rows(self) -> npt.NDArray[np.floating]:
        """The rows of the table that are kept here."""
        return self.model.table.rows

    @property
    def weights(self) -> npt.NDArray[np.floating]:
        """The weights of these rows, as they are stored."""
        return self.model.table.weights

    @property
    def table_rows(self) -> TableOptimizer | ShardedTable:
        """Where the weights of the table are drawn and set."""
        return self.table_optimizer

    def fill_unseen(self, counts: Sequence[npt.NDArray[np.int64] | None]) -> None:
        """Give the features of values never seen, where no example has them, the mean weights of their fields."""
        fill_unseen(self.model.table, counts)

    def save(self, writer: BundleWriter, number: int) -> None:
        """Write the weights into a bundle."""
        writer.save(number, self.model.table.weights, dense_arrays(self.model))

    def load(self, weights: npt.NDArray[np.floating], dense: dict[str, npt.NDArray[Any]]) -> None:
        """Take the weights (D, n) of the table and all others; the optimizers' states stay."""
        self.model.table.write(0, weights)
        load_dense(self.model, dense)

    def _fit_stacker(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        assert self.model.stacker is not None, "only a stack is weighed"
        self.model.stacker.fit(columns["heads"], columns["labels"], columns.get("weights"))

    def _check_gradients(self, loss: float) -> None:
        of_table = [part.grad for visit in self.model.table.visits for part in visit[1:3] if part.grad is not None]
        if not all_finite(of_table):
            raise NotFinite("a gradient of the table", loss)
        if not all_finite(parameter.grad for parameter in self._parameters if parameter.grad is not None):
            raise NotFinite("a gradient of the dense weights", loss)

    def _restore_rows(self, table: npt.NDArray[np.floating]) -> None:
        self.rows[:] = table

    def average(self, epochs: float, batches_per_epoch: int) -> Average:
        """Return the average of the weights, to be taken from now on (`training.averaging`)."""
        return Average(self.model, self.weights, epochs, batches_per_epoch)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that changes from step to step, but for the table's rows, as arrays that a checkpoint can hold."""
        arrays = {f"model.{name}": tensor.detach().cpu().numpy() for name, tensor in self.model.state_dict().items()}
        if self.dense_optimizer:
            for index, slots in self.dense_optimizer.state_dict()["state"].items():
                arrays |= {f"optimizer.{index}.{name}": tensor.cpu().numpy() for name, tensor in slots.items()}
        arrays["random.torch"] = torch.get_rng_state().numpy()
        arrays["table.num_steps"] = np.array(self.table_optimizer.num_steps)
        return arrays

    def restore(self, table: npt.NDArray[np.floating], arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Go back to where `arrays` and the table's rows were taken.

        Raises
        ------
        LookupError, TypeError, ValueError, RuntimeError
            They were taken of another model.
        """
        if (table.shape, table.dtype) != (self.rows.shape, self.rows.dtype):
            raise ValueError(f"a table of {table.dtype} {table.shape} for one of {self.rows.dtype} {self.rows.shape}")
        self._restore_rows(table)
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        prefix = "model."
        self.model.load_state_dict(
            {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        )
        if self.dense_optimizer:
            state: dict[int, dict[str, torch.Tensor]] = {}
            moved = [parameter for group in self.dense_optimizer.param_groups for parameter in group["params"]]
            for name, tensor in tensors.items():
                if name.startswith("optimizer."):
                    _, index, slot = name.split(".", 2)
                    if tensor.dim() and tensor.shape != moved[int(index)].shape:
                        raise ValueError(f"{name} is of shape {tuple(tensor.shape)}")
                    state.setdefault(int(index), {})[slot] = tensor
            groups = self.dense_optimizer.state_dict()["param_groups"]
            self.dense_optimizer.load_state_dict({"state": state, "param_groups": groups})
        torch.set_rng_state(tensors["random.torch"])
        self.table_optimizer.num_steps = int(arrays["table.num_steps"])
