"""A model's weights into a bundle, and back, wherever its table's rows lie."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from fieldwise.bundle import BundleWriter, block_rows
from fieldwise.distributed.world import ALONE, World
from fieldwise.io.arrays import Pieces
from fieldwise.models.click import ClickModel
from fieldwise.models.load import dense_arrays, load_dense

__all__ = ["load_weights", "save_weights"]


def save_weights(model: ClickModel, writer: BundleWriter, number: int, world: World = ALONE) -> None:
    """Write the weights into a bundle: worker 0 writes, and holds a piece of the table at a time."""
    table = model.table
    with world.together():
        stored = table.read(0, 0).dtype
        pieces = table.stream(block_rows(table.num_weights * stored.itemsize))
        try:
            if world.rank == 0:
                shape = (table.layout.num_features, table.num_weights)
                writer.save(number, Pieces(stored, shape, pieces), dense_arrays(model))
        finally:
            for _ in pieces:  # also where the disk is full: the others send to the end
                pass


def load_weights(model: ClickModel, weights: npt.NDArray[Any], dense: dict[str, npt.NDArray[Any]]) -> None:
    """Take the weights (D, n) of the table and all others; the optimizers' states stay."""
    model.table.load(weights)
    load_dense(model, dense)
