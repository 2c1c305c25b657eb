"""Checkpoints of several workers: every one writes its block of the table, and reads the block that it owns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from fieldwise.distributed.group import Workers
from fieldwise.distributed.shards import Shards
from fieldwise.errors import ArtefactError
from fieldwise.io.arrays import Pieces, save_arrays
from fieldwise.training.checkpoint import Checkpoint, Checkpoints, Part, Spread, read_checkpoint

__all__ = ["ShardedCheckpoints"]


class ShardedCheckpoints(Checkpoints):
    """As `Checkpoints`, in a folder that all workers see; every worker must call `save` and `newest`.

    Parameters
    ----------
    workers, shards
        Who owns which rows.
    """

    def __init__(
        self,
        folder: str | Path,
        workers: Workers,
        shards: Shards,
        keep: int = 3,
        warn: Callable[[str], None] = lambda text: None,
        run: str = "",
    ) -> None:
        super().__init__(folder, keep, warn, run)
        self.workers, self.shards = workers, shards

    def save(
        self,
        step: int,
        table: npt.NDArray[Any] | Pieces,
        dense: Mapping[str, npt.NDArray[Any]],
        state: Mapping[str, Any],
    ) -> None:
        """Write the checkpoint of a step, `table` being the rows owned here; when this returns it is on the disk."""
        workers, shards = self.workers, self.shards
        spread = Spread(shards.num_rows, shards.num_workers, shards.seed)
        of_table = table.itemsize * table.shape[1] * shards.num_rows
        num_bytes = of_table + sum(array.nbytes for array in dense.values())
        temporary = Path(workers.first(lambda: str(self._begin(step, num_bytes)), str))
        checksum = ""
        with workers.together():
            checksum = save_arrays(temporary / f"{spread.name(workers.rank)}.safetensors", {"rows": table})
        parts = enumerate(workers.gather(checksum.encode()))
        checksums = {spread.name(part): text.decode() for part, text in parts}
        workers.first(lambda: self._finish(step, temporary, dense, state, checksums, spread), type(None))

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint whose parts are whole for all workers, with the rows owned here.

        Raises
        ------
        ArtefactError
            There are checkpoints, and none of them is whole.
        """
        numbered = self.workers.first(lambda: [path.name for path in self._numbered()], list[str])
        part = Part(self.shards, self.shards.owned(self.workers.rank))
        for name in reversed(numbered):
            checkpoint = None
            try:
                with self.workers.together():
                    checkpoint = self._own(self.folder / name, read_checkpoint(self.folder / name, part))
            except ArtefactError as error:
                self.warn(f"checkpoint {name} cannot be used, taking the one before it: {error}")
            else:
                return checkpoint
        if numbered:
            raise ArtefactError(
                "no checkpoint is whole", where=self.folder, fix="train anew with --overwrite, or restore the folder"
            )
        return None
