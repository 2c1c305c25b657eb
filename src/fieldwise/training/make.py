"""A model, placed where it is to be trained, with all that moves it."""

from __future__ import annotations

import msgspec
import torch

from fieldwise.distributed.world import ALONE, World
from fieldwise.models.click import ClickModel
from fieldwise.models.lc import LocallyConnected
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.place import place_table
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.dense import build_dense_optimizer
from fieldwise.training.precision import takes_bfloat16
from fieldwise.training.standardise import share_statistics
from fieldwise.training.step import Stepper

__all__ = ["make_stepper", "with_epsilon"]

_EPSILON = 0.1
"""Adam's epsilon where interactions are fitted, in gradients of one example."""
_LEAST_EXAMPLES = 100_000


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


def with_epsilon(
    config: TableOptimizerConfig, model: ClickModel, batch_size: int, num_examples: int
) -> TableOptimizerConfig:
    """Return Adam for a table whose rows take part in fitted interactions: with an epsilon of .1 / batch size, unless
    one is given, or an epoch has fewer than 100,000 examples.

    The root of Adam's second moment is ``g sqrt(1 - betas[1]^n)`` after n batches with a gradient g, so without an
    epsilon a feature of few examples moves by 3 to 6 times the rate, whatever they say, where a frequent one moves by
    the rate: its factors are noise, and so is every product with them
    (docs/log/2026-11/accuracy.md#why-do-interactions-hurt-on-a-long-tail). With g0 the gradient of one example, ::

        rate m / (sqrt(v) + .1 / B)     n < 1000 (.1 / (B g0))^2: as if by gradient descent with momentum
                                        n above that, or many examples in a batch: Adam's

    Factors then grow more slowly from the small numbers that they begin with: on MovieLens-1M six epochs are best in
    place of three. On small logs, of few steps, it costs epochs and brings nothing (Adult).
    """
    fits = any(isinstance(each, LocallyConnected) and each.interactions is not None for each in model.trained.values())
    if config.name != "adam" or config.epsilon is not None or not fits or num_examples < _LEAST_EXAMPLES:
        return config
    return msgspec.structs.replace(config, epsilon=_EPSILON / batch_size)
