"""Checkpoints: all that training needs to go on as if it had never stopped.

::

    checkpoints/
        00000042/                  the number of steps done
            manifest.json          position, history and the checksums of the other files; written last
            table.safetensors      (D, columns) weights, gradient slots and optimizer state
            dense.safetensors      model, optimizer and random states

A checkpoint is written under a temporary name and renamed when it is whole. The newest whole one is taken; one that is
damaged is passed by, loudly. The last `keep` stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from fieldwise.disk import require_disk
from fieldwise.errors import ArtefactError
from fieldwise.files import discard, explaining, load_verified, read_manifest, save_arrays, sync_folder, write_manifest

__all__ = ["CHECKPOINT_FORMAT", "Checkpoint", "Checkpoints", "read_checkpoint"]

CHECKPOINT_FORMAT = "fieldwise-checkpoint"
_VERSION = 2
_FILES = ("table", "dense")


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    state: dict[str, Any]
    checksums: dict[str, str]


class Checkpoint(NamedTuple):
    """What was saved: the table's rows, arrays by name, and plain values."""

    table: npt.NDArray[np.floating]
    dense: dict[str, npt.NDArray[Any]]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training.

    Parameters
    ----------
    folder
        Theirs alone; made when the first is saved.
    keep
        How many of the newest stay, 1 or more.
    warn
        Called with a sentence where a checkpoint cannot be used.
    """

    def __init__(self, folder: str | Path, keep: int = 3, warn: Callable[[str], None] = lambda text: None) -> None:
        self.folder, self.keep, self.warn = Path(folder), keep, warn

    def save(
        self,
        step: int,
        table: npt.NDArray[np.floating],
        dense: Mapping[str, npt.NDArray[Any]],
        state: Mapping[str, Any],
    ) -> None:
        """Write the checkpoint of a step; when this returns it is on the disk.

        Raises
        ------
        ResourceError
            The disk has no room for it; those of before are kept.
        """
        folder = self.folder / f"{step:08d}"
        temporary = self.folder / f".{folder.name}.tmp"
        for leftover in self.folder.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        num_bytes = table.nbytes + sum(array.nbytes for array in dense.values())
        require_disk(num_bytes, self.folder, f"the checkpoint of step {step}")
        with explaining(temporary):
            temporary.mkdir(parents=True)
        checksums = {
            "table": save_arrays(temporary / "table.safetensors", {"rows": table}),
            "dense": save_arrays(temporary / "dense.safetensors", dense),
        }
        write_manifest(
            temporary / "manifest.json", _Manifest(dict(state), checksums), format=CHECKPOINT_FORMAT, version=_VERSION
        )
        discard(folder)
        with explaining(folder):
            temporary.rename(folder)
            sync_folder(self.folder)
        for old in self._numbered()[: -self.keep]:
            discard(old)

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole; None where there is none.

        Raises
        ------
        ArtefactError
            There are checkpoints, and none of them is whole.
        """
        numbered = self._numbered()
        for folder in reversed(numbered):
            try:
                return read_checkpoint(folder)
            except ArtefactError as error:
                self.warn(f"checkpoint {folder.name} cannot be used, taking the one before it: {error}")
        if numbered:
            raise ArtefactError(
                "no checkpoint is whole", where=self.folder, fix="train anew with --overwrite, or restore the folder"
            )
        return None

    def remove(self) -> None:
        """Remove all of them: the training is done."""
        discard(self.folder)

    def _numbered(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if path.name.isdecimal())


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return a checkpoint after all of its bytes were verified.

    Raises
    ------
    ArtefactError
        A file of it is missing or damaged.
    """
    manifest, _ = read_manifest(folder / "manifest.json", _Manifest, format=CHECKPOINT_FORMAT, version=_VERSION)
    arrays = {name: load_verified(folder / f"{name}.safetensors", manifest.checksums.get(name)) for name in _FILES}
    return Checkpoint(arrays["table"]["rows"], arrays["dense"], manifest.state)
