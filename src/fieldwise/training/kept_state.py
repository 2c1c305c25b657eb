"""What a training leaves for daily updates to go on from: the weights that were kept, with the optimizers' state.

::

    RUN/state/00000001/       a checkpoint (`training.checkpoint`); the number is that of the version it belongs to

The state is that of the last step, the weights are those of the bundle, which may be an average or those of an earlier
epoch: an update begins where the model is that answers. FTRL derives a weight from its state, so that is set to what
gives these weights, with the sums of squared gradients as they are.

A logistic regression at its optimum has taken no steps. With c_i the occurrences of feature i and r the base rate,
steps of B examples that had led there would have left, of each example's squared gradient, r (1 - r) in the mean::

    s_i = c_i r (1 - r) / B^2

so that weights of frequent features move little by a day, those of rare ones much.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.distributed.world import ALONE, World
from fieldwise.errors import ArtefactError
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.tables.interface import Table
from fieldwise.tables.local import LocalTable
from fieldwise.tables.sharded import ShardedTable
from fieldwise.training.checkpoint import Checkpoint, Checkpoints, read_checkpoint
from fieldwise.training.step import Stepper

__all__ = ["KeptState", "as_if_trained", "keep_state", "read_state", "settle", "state_folder"]

_ALL = 1 << 30


class KeptState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a kept state.

    Attributes
    ----------
    bundle
        The digest of the bundle that it belongs to.
    batch_size
        Of the steps.
    table
        The optimizer of the table.
    day
        How many days the vocabularies have been renewed by (`features.renewal`).
    """

    bundle: str
    batch_size: int
    table: TableOptimizerConfig
    day: int = 0


def state_folder(run: Path, version: int) -> Path:
    """Return the folder of the state of a version."""
    return run / "state" / f"{version:08d}"


def keep_state(
    run: Path,
    version: int,
    stepper: Stepper,
    state: KeptState,
    memories: dict[str, npt.NDArray[Any]] | None = None,
    world: World = ALONE,
) -> None:
    """Write the state of a version, whole or not at all; all workers call it.

    Parameters
    ----------
    memories
        Arrays that the vocabularies remember, by name.
    """
    checkpoints = Checkpoints(run / "state", keep=_ALL, world=world, part=stepper.table.part)
    arrays = stepper.arrays() | (memories or {})
    checkpoints.save(version, stepper.table.rows, arrays, msgspec.to_builtins(state))


def read_state(run: Path, version: int) -> tuple[Checkpoint, KeptState]:
    """Return the state of a version, mapped into memory.

    Raises
    ------
    ArtefactError
        There is none, or it is damaged.
    """
    folder = state_folder(run, version)
    if not folder.exists():
        raise ArtefactError(
            "the run keeps no state of its optimizers, so nothing can go on from it",
            where=folder,
            fix="train it again with this version of fieldwise",
        )
    checkpoint = read_checkpoint(folder)
    try:
        return checkpoint, msgspec.convert(checkpoint.state, KeptState)
    except msgspec.ValidationError as error:
        raise ArtefactError("the state is damaged", where=folder, got=error) from None


def settle(table: Table) -> None:
    """Give FTRL the state that belongs to the weights, after they were loaded."""
    _local(table).derive_state()


def as_if_trained(table: Table, counts: npt.NDArray[np.int64], base_rate: float) -> None:
    """Give the optimizer of a solved logistic regression the state that training by steps would have left.

    The squared gradients of feature i, with c_i occurrences, base rate r and batch size B, sum to about ::

        c_i r (1 - r) / B^2

    because at the optimum an example's gradient, (p - y) / B, has mean 0 and variance of about r (1 - r) / B^2.

    Parameters
    ----------
    counts
        (D,): how often each feature occurred.
    base_rate
        Mean label of the training examples, 0 < r < 1.
    """
    local = _local(table)
    if table.part is not None:
        counts = counts[table.part.rows(np.asarray(table.part.places))]
    batch_size = local.optimizer.batch_size
    rows = np.array(local.rows)
    local.optimizer.seed_sums(rows, local.num_weights, counts * (base_rate * (1 - base_rate) / batch_size**2))
    local.write(0, rows)
    local.derive_state()


def _local(table: Table) -> LocalTable:
    """Return the rows that are kept here."""
    local = table.owned if isinstance(table, ShardedTable) else table
    assert isinstance(local, LocalTable)
    return local
