"""A model's weights into a bundle, and back, wherever its table's rows lie."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch

from fieldwise.bundle import BundleWriter, block_rows
from fieldwise.distributed.world import ALONE, World
from fieldwise.io.arrays import Pieces
from fieldwise.kernels.layout import Batch
from fieldwise.models.click import ClickModel
from fieldwise.models.load import dense_arrays, load_dense

__all__ = ["load_weights", "save_weights"]


def save_weights(
    model: ClickModel, writer: BundleWriter, number: int, world: World = ALONE, rows: Batch | None = None
) -> str | None:
    """Write the weights into a bundle: worker 0 writes, and holds a piece of the table at a time.

    Parameters
    ----------
    rows
        Real examples: the network for those who answer without torch is published where its answers to them are those
        of torch.

    Returns
    -------
    Why there is no such network; None where there is one.
    """
    table = model.table
    network, ranking, reason = (None, None, None) if rows is None else _graphs(model, rows, world)
    with world.together():
        stored = table.read(0, 0).dtype
        pieces = table.stream(block_rows(table.num_weights * stored.itemsize))
        try:
            if world.rank == 0:
                shape = (table.layout.num_features, table.num_weights)
                writer.save(number, Pieces(stored, shape, pieces), dense_arrays(model), network, reason, ranking)
        finally:
            for _ in pieces:  # also where the disk is full: the others send to the end
                pass
    return reason


def _graphs(model: ClickModel, rows: Batch, world: World) -> tuple[bytes | None, bytes | None, str | None]:
    """Return the network, its form for candidates of one context, and why there is none."""
    was_training = model.training
    model.eval()
    with torch.inference_mode(), world.uncounted():
        units, full = model.gathered(model.augmented(rows))
    try:
        if world.rank > 0:
            return None, None, None
        # Here, for they take time to import, and training that is not saved does without.
        from fieldwise.models.network import NotExportable, export_network, refuse_another_answer
        from fieldwise.models.ranking import export_ranking, refuse_another_order

        network = export_network(model)
        refuse_another_answer(network, model, units, full)
        ranking = export_ranking(model, network)
        try:
            if ranking is not None:
                refuse_another_order(ranking, network, model, units, full)
        except NotExportable:  # candidates are then answered as whole rows
            ranking = None
        return network, ranking, None
    except ImportError as error:
        return None, None, f"{error.name} is not installed: pip install 'fieldwise[train]'"
    except NotExportable as error:
        return None, None, str(error)
    finally:
        model.train(was_training)


def load_weights(model: ClickModel, weights: npt.NDArray[Any], dense: dict[str, npt.NDArray[Any]]) -> None:
    """Take the weights (D, n) of the table and all others; the optimizers' states stay."""
    model.table.load(weights)
    load_dense(model, dense)
