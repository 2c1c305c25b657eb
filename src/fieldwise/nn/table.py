"""The first layer as a torch module: a table of rows, gathered by a batch.

Letters: B examples, F fields, D features, K locally connected units per field, W fully connected units, n = K + W.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldwise.io.memory import require_memory
from fieldwise.kernels import table as kernels
from fieldwise.kernels.layout import Batch, Layout
from fieldwise.kernels.threads import num_threads, run_each

__all__ = ["Table", "Visit"]

Floats = npt.NDArray[np.floating]

_SMALL = 0.01


class Visit(NamedTuple):
    """One forward pass in training: what the optimizer needs to act on the rows it touched; and, of a table on another
    device (`nn.cuda`), the batch as it is there.
    """

    batch: Batch
    local: Tensor
    full: Tensor
    placed: Any = None


class Table(nn.Module):
    """A row of n = K + W weights for each of D features: the layer that sees the encoded example (`kernels.table`).

    The weights are no torch parameters: a step touches the rows of its batch only, so they have an optimizer of their
    own (`optim.table`), which asks for the memory of weights and state in one. A table for inference holds weights
    alone, and may be a read-only memory map. Rows of uint16 hold bfloat16 weights (`kernels.storage`).

    Parameters
    ----------
    layout
        Fields, and the rows of each.
    num_local
        K >= 0, units per field. K = 1 is the paper's locally connected layer.
    num_full
        W >= 0, units that see all fields.
    dtype
        Of what comes out, and of the arithmetic: float32, or float64 for checking.
    """

    def __init__(self, layout: Layout, num_local: int, num_full: int, dtype: type[np.floating] = np.float32) -> None:
        super().__init__()
        if num_local < 0 or num_full < 0 or num_local + num_full == 0:
            raise ValueError(f"num_local (={num_local}) and num_full (={num_full}) must be >= 0, one of them > 0")
        self.layout = layout
        self.num_local = num_local
        self.num_full = num_full
        self.dtype = np.dtype(dtype)
        self.rows: npt.NDArray[Any] = np.zeros((0, self.num_weights), dtype=dtype)
        self.visits: list[Visit] = []
        self._outputs = (torch.empty(0), torch.empty(0))
        self._admit: Callable[[Batch], None] | None = None

    @property
    def num_weights(self) -> int:
        """N, the weights of one row: K + W."""
        return self.num_local + self.num_full

    @property
    def num_parameters(self) -> int:
        """D n, the weights of all rows."""
        return self.layout.num_features * self.num_weights

    @property
    def weights(self) -> npt.NDArray[Any]:
        """(D, n) view of the weights as they are stored (`kernels.storage.decode_weights` makes numbers of them)."""
        return self.rows[:, : self.num_weights]

    def allocate(self, columns: int, dtype: npt.DTypeLike | None = None) -> None:
        """Take memory for `columns` numbers a row, all zero, of the table's own type or of `dtype`.

        The system hands out zeros when a page is first touched, so this costs nothing in proportion to D.

        Raises
        ------
        ResourceError
            Where it cannot fit, with the sizes.
        """
        num_features, stored = self.layout.num_features, np.dtype(dtype or self.dtype)
        require_memory(
            num_features * columns * stored.itemsize,
            f"a table of {num_features:,} features with {self.num_weights:,} weights each and their optimizer's state",
            "use a locally connected model, fewer units or features (min_count, buckets), more memory, or (in "
            "train.table) name = rowwise-adagrad and storage = bfloat16",
        )
        self.rows = np.zeros((num_features, columns), dtype=stored)

    def load(self, weights: npt.NDArray[Any], admit: Callable[[Batch], None] | None = None) -> None:
        """Use `weights` (D, n) for inference, without a copy where the type is right or that of bfloat16.

        `admit` is called with every batch before its rows are read.
        """
        if weights.shape != (self.layout.num_features, self.num_weights):
            raise ValueError(
                f"weights of shape {weights.shape} for a table of {(self.layout.num_features, self.num_weights)}"
            )
        self.rows = weights if weights.dtype == np.uint16 else np.asarray(weights, dtype=self.dtype)
        self._admit = admit

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return the weights of rows `first` to `last` as they are stored; to change them, `write` them."""
        return self.weights[first:last]

    def pick(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """Return a copy of the weights of some rows as they are stored."""
        return self.weights[rows]

    def write(self, first: int, stored: npt.NDArray[Any]) -> None:
        """Set the first columns of the rows from `first` on: their weights, or all that they hold."""
        self.rows[first : first + len(stored), : stored.shape[1]] = stored

    def draw(self, seed: int) -> None:
        """Draw the weights of the units at random; wide weights beside locally connected ones stay zero.

        Locally connected weights are small (`_SMALL`), because what Adagrad adds to them is of the size of its
        learning rate: what was learnt soon outweighs what was drawn
        (docs/log/2026-11.md#initial-model). A first layer that is
        fully connected alone is drawn as torch draws a linear layer whose inputs are the F that are not zero.
        """
        num_units, scale = self.drawn
        cuts = [len(self.rows) * part // num_threads() for part in range(num_threads() + 1)]
        run_each(
            kernels.initialise,
            [(self.weights[begin:end], 0, num_units, scale, seed, begin) for begin, end in pairwise(cuts)],
        )

    @property
    def drawn(self) -> tuple[int, float]:
        """How many units `draw` draws, the first ones, and from which [-scale, scale]."""
        if self.num_local:
            return self.num_local, _SMALL
        return self.num_full, 1.0 / math.sqrt(self.layout.num_fields)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return ``local`` (B, F K) and ``full`` (B, W).

        In training mode the pass is remembered as a `Visit`; after ``backward`` the table's optimizer reads the
        gradients of both outputs from it. The memory of the outputs is used again by the first pass after that.
        """
        if self._admit is not None:
            self._admit(batch)
        num_examples = batch.num_examples
        shapes = (num_examples, self.layout.num_fields * self.num_local), (num_examples, self.num_full)
        remembers = self.training and torch.is_grad_enabled()
        dtype = torch.float64 if self.dtype == np.float64 else torch.float32
        if remembers and not self.visits:
            if (self._outputs[0].shape, self._outputs[1].shape, self._outputs[0].dtype) != (*shapes, dtype):
                self._outputs = torch.empty(shapes[0], dtype=dtype), torch.empty(shapes[1], dtype=dtype)
            # Tensors of their own over the same memory: those of the last step may be in a graph.
            local, full = (torch.from_numpy(part.numpy()) for part in self._outputs)
        else:
            local, full = torch.empty(shapes[0], dtype=dtype), torch.empty(shapes[1], dtype=dtype)
        kernels.gather(self.rows, batch, self.layout, local.numpy(), full.numpy())
        if remembers:
            local.requires_grad_(self.num_local > 0)
            full.requires_grad_(self.num_full > 0)
            self.visits.append(Visit(batch, local, full))
        return local, full
