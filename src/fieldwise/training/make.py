"""A model, placed where it is to be trained, with all that moves it."""

from __future__ import annotations

import torch

from fieldwise.distributed.world import ALONE, World
from fieldwise.models.click import ClickModel
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.place import place_table
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.dense import build_dense_optimizer
from fieldwise.training.precision import takes_bfloat16
from fieldwise.training.standardise import share_statistics
from fieldwise.training.step import Stepper

__all__ = ["make_stepper"]


def make_stepper(
    model: ClickModel,
    table: TableOptimizerConfig,
    dense: DenseOptimizerConfig,
    batch_size: int,
    *,
    world: World = ALONE,
    device: torch.device | None = None,
    precision: str = "float32",
    seed: int = 0,
    comm_bfloat16: bool = False,
) -> Stepper:
    """Place a model's table and move the model there, and return what moves its weights; those of the table are zero.

    Parameters
    ----------
    table, dense, batch_size
        The optimizers, and the examples in a batch of all workers.
    world, device
        Who trains together, and where; in memory unless given.
    precision
        Of matrix products (`precision.takes_bfloat16`).
    seed
        Of what is random in steps.
    comm_bfloat16
        Whether workers send each other rows and gradients in 16 bits.

    Raises
    ------
    ResourceError
        There is no room for the table's rows, here or on another worker.
    """
    with world.together():
        model.table = place_table(
            model.table,
            table,
            batch_size,
            world=world,
            device=device,
            seed=seed,
            num_frozen=model.num_frozen,
            comm_bfloat16=comm_bfloat16,
        )
    if device is not None:
        model.to(device)
    share_statistics(model, world)
    return Stepper(
        model, build_dense_optimizer(model.parameters(), dense), world, takes_bfloat16(precision, model), seed
    )
