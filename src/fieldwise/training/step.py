"""One step: forward, loss, backward, and both optimizers once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fieldwise.data.cache import Examples
from fieldwise.models.click import ClickModel
from fieldwise.optim.table import TableOptimizer
from fieldwise.training.guard import NotFinite, all_finite
from fieldwise.training.loss import logloss, weighted_mean

__all__ = ["Stepper"]


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

    def step(self, examples: Examples, factor: float) -> float:
        """Learn from a batch at `factor` times the learning rates, and return its loss before that.

        Raises
        ------
        NotFinite
            The loss or a gradient is not finite, and no weight has moved; or a weight that has moved is not.
        """
        assert examples.labels is not None, "training needs labels"
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            logits = self.model.members(examples.batch)
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

    def _check_gradients(self, loss: float) -> None:
        of_table = [part.grad for visit in self.model.table.visits for part in visit[1:] if part.grad is not None]
        if not all_finite(of_table):
            raise NotFinite("a gradient of the table", loss)
        if not all_finite(parameter.grad for parameter in self._parameters if parameter.grad is not None):
            raise NotFinite("a gradient of the dense weights", loss)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that changes from step to step, but for the table's rows, as arrays that a checkpoint can hold."""
        arrays = {f"model.{name}": tensor.detach().numpy() for name, tensor in self.model.state_dict().items()}
        if self.dense_optimizer:
            for index, slots in self.dense_optimizer.state_dict()["state"].items():
                arrays |= {f"optimizer.{index}.{name}": tensor.numpy() for name, tensor in slots.items()}
        arrays["random.torch"] = torch.get_rng_state().numpy()
        arrays["table.num_steps"] = np.array(self.table_optimizer.num_steps)
        return arrays

    def restore(self, table: npt.NDArray[np.floating], arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Go back to where `arrays` and the table's rows were taken."""
        self.model.table.rows[:] = table
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        prefix = "model."
        self.model.load_state_dict(
            {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        )
        if self.dense_optimizer:
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name, tensor in tensors.items():
                if name.startswith("optimizer."):
                    _, index, slot = name.split(".", 2)
                    state.setdefault(int(index), {})[slot] = tensor
            groups = self.dense_optimizer.state_dict()["param_groups"]
            self.dense_optimizer.load_state_dict({"state": state, "param_groups": groups})
        torch.set_rng_state(tensors["random.torch"])
        self.table_optimizer.num_steps = int(arrays["table.num_steps"])
