"""A table whose rows are all in one place: the common part of `host` and `device`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fieldwise.kernels.layout import Layout
from fieldwise.kernels.numbering import WHOLE, Numbering
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.interface import Check, Int64s, Table
from fieldwise.tables.optimizer import SparseOptimizer
from fieldwise.tables.shards import Part

__all__ = ["LocalTable"]


class LocalTable(Table):
    """A table whose rows are in one place; several, each a part, are a `sharded.ShardedTable`."""

    def __init__(self, layout: Layout, num_local: int, num_full: int, dtype: type[np.floating] = np.float32) -> None:
        super().__init__(layout, num_local, num_full, dtype)
        self._optimizer: SparseOptimizer | None = None

    def train_by(
        self,
        config: TableOptimizerConfig,
        batch_size: int = 1,
        seed: int = 0,
        numbering: Numbering = WHOLE,
        num_fields: int | None = None,
    ) -> Self:
        """Allocate weights and state, all zero, with an optimizer; return the table.

        Parameters
        ----------
        config, batch_size, seed, numbering
            As in `optimizer.SparseOptimizer`.
        num_fields
            F of the whole table, if this is a part of it; by default that of the layout.

        Raises
        ------
        ResourceError
            Where it cannot fit, with the sizes.
        """
        self._optimizer = SparseOptimizer(config, num_fields or self.layout.num_fields, batch_size, seed, numbering)
        columns, stored = self._optimizer.columns(self.num_weights, self.dtype)
        self._allocate(
            columns,
            stored,
            f"a table of {self.layout.num_features:,} features with {self.num_weights:,} weights each and their "
            "optimizer's state",
        )
        return self

    @abstractmethod
    def _allocate(self, columns: int, stored: np.dtype[Any], what: str) -> None:
        """Take memory for so many numbers a row, all zero."""

    @property
    def optimizer(self) -> SparseOptimizer:
        """See `Table.optimizer`."""
        assert self._optimizer is not None, "the table is not trained"
        return self._optimizer

    @property
    def part(self) -> Part | None:
        """All rows."""
        return None

    def load(self, weights: npt.NDArray[Any]) -> None:
        """See `Table.load`."""
        self.write(0, weights)

    def stream(self, piece_rows: int) -> Iterator[npt.NDArray[Any]]:
        """See `Table.stream`."""
        for first in range(0, self.layout.num_features, piece_rows):
            yield self.read(first, min(first + piece_rows, self.layout.num_features))

    @abstractmethod
    def hold(self, layout: Layout, order: Int64s, weights: Tensor, num_frozen: int) -> None:
        """Be the small table of one batch: row ``order[i]`` has the weights ``weights[i]``, but for the first columns,
        which are 0.
        """

    @abstractmethod
    def release(self) -> None:
        """Let go of what `hold` was given."""

    @abstractmethod
    def sum_gradients(self) -> Tensor:
        """Return what the last ``backward`` left for each row, (D, n)."""

    @abstractmethod
    def lend(self, places: Int64s) -> Tensor:
        """Return the weights (L, n) of some rows, as numbers."""

    @abstractmethod
    def move_rows(self, places: Int64s, gradients: Tensor, factor: float) -> Check:
        """Move some rows, of which one may be named several times, by the sum of their gradients (L, n)."""
