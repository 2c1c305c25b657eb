"""Checkpoints: all that training needs to go on as if it had never stopped.

::

    checkpoints/
        00000042/                  the number of steps done
            manifest.json          position, history and the checksums of the other files; written last
            table.safetensors      (D, columns) weights and optimizer state
            dense.safetensors      model, optimizer and random states

Where W workers each own a block of the table, there are W files ``table-00000-of-W.safetensors`` in place of one, each
written by its owner. How rows are spread does not depend on W, so any number of workers, or one process, reads the rows
that it needs from the files that hold them.

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

from fieldwise.distributed.world import ALONE, World
from fieldwise.errors import ArtefactError
from fieldwise.io.arrays import Pieces, load_verified, save_arrays
from fieldwise.io.disk import require_disk
from fieldwise.io.files import discard, explaining, sync_folder
from fieldwise.io.manifests import read_manifest, write_manifest
from fieldwise.tables.shards import Part, Shards

__all__ = [
    "CHECKPOINT_FORMAT",
    "Checkpoint",
    "Checkpoints",
    "Sharding",
    "checkpoint_files",
    "checkpoint_state",
    "read_checkpoint",
    "set_checkpoint_state",
]

CHECKPOINT_FORMAT = "fieldwise-checkpoint"
_VERSION = 2
_SLAB = 1 << 18
_RUN = "run"

Int64s = npt.NDArray[np.int64]


class Sharding(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How the rows of a table are dealt to files: spread with a seed (`tables.shards`), cut into blocks."""

    num_rows: int
    num_parts: int
    seed: int

    @property
    def shards(self) -> Shards:
        """The same, to compute with."""
        return Shards(self.num_rows, self.num_parts, self.seed)

    def name(self, part: int) -> str:
        """Return the name of a part's file."""
        return f"table-{part:05d}-of-{self.num_parts:05d}"


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    state: dict[str, Any]
    checksums: dict[str, str]
    spread: Sharding | None = None


class Checkpoint(NamedTuple):
    """What was saved: the table's rows, arrays by name, and plain values."""

    table: npt.NDArray[np.floating]
    dense: dict[str, npt.NDArray[Any]]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one training, in a folder that all workers see; each must call `save` and `newest`.

    Parameters
    ----------
    folder
        Theirs alone; made when the first is saved.
    keep
        How many of the newest stay, 1 or more.
    warn
        Called with a sentence where a checkpoint cannot be used.
    run
        What tells this training from others: a checkpoint of another cannot be used. Any can where it is empty.
    world, part
        The workers, and which rows of the table are kept here; all unless given.
    """

    def __init__(
        self,
        folder: str | Path,
        keep: int = 3,
        warn: Callable[[str], None] = lambda text: None,
        run: str = "",
        world: World = ALONE,
        part: Part | None = None,
    ) -> None:
        self.folder, self.keep, self.warn, self.run = Path(folder), keep, warn, run
        self.world, self.part = world, part

    def save(
        self,
        step: int,
        table: npt.NDArray[Any] | Pieces,
        dense: Mapping[str, npt.NDArray[Any]],
        state: Mapping[str, Any],
    ) -> None:
        """Write the checkpoint of a step, `table` being the rows kept here; when this returns it is on the disk.

        Raises
        ------
        ResourceError
            The disk has no room for it; those of before are kept.
        """
        world, spread, name = self.world, None, "table"
        num_rows = table.shape[0]
        if self.part is not None:
            shards = self.part.shards
            spread, num_rows = Sharding(shards.num_rows, shards.num_workers, shards.seed), shards.num_rows
            name = spread.name(world.rank)
        num_bytes = table.itemsize * table.shape[1] * num_rows + sum(array.nbytes for array in dense.values())
        temporary = Path(world.first(lambda: str(self._begin(step, num_bytes)), str))
        checksum = ""
        with world.together():
            checksum = save_arrays(temporary / f"{name}.safetensors", {"rows": table})
        checksums = {
            name if spread is None else spread.name(part): text.decode()
            for part, text in enumerate(world.gather(checksum.encode()))
        }
        world.first(lambda: self._finish(step, temporary, dense, state, checksums, spread), type(None))

    def _begin(self, step: int, num_bytes: int) -> Path:
        """Make the folder in which the checkpoint of a step is written, and return it."""
        temporary = self.folder / f".{step:08d}.tmp"
        for leftover in self.folder.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        require_disk(num_bytes, self.folder, f"the checkpoint of step {step}")
        with explaining(temporary):
            temporary.mkdir(parents=True)
        return temporary

    def _finish(
        self,
        step: int,
        temporary: Path,
        dense: Mapping[str, npt.NDArray[Any]],
        state: Mapping[str, Any],
        checksums: dict[str, str],
        spread: Sharding | None,
    ) -> None:
        """Write all but the table, give the folder its name, and remove the oldest."""
        folder = self.folder / f"{step:08d}"
        checksums["dense"] = save_arrays(temporary / "dense.safetensors", dense)
        manifest = _Manifest({**state, **({_RUN: self.run} if self.run else {})}, checksums, spread)
        write_manifest(temporary / "manifest.json", manifest, format=CHECKPOINT_FORMAT, version=_VERSION)
        discard(folder)
        with explaining(folder):
            temporary.rename(folder)
            sync_folder(self.folder)
        for old in self._numbered()[: -self.keep]:
            discard(old)

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is whole for all workers, with the rows kept here; None where none is.

        Raises
        ------
        ArtefactError
            There are checkpoints, and none of them is whole.
        """
        numbered = self.world.first(lambda: [path.name for path in self._numbered()], list[str])
        for name in reversed(numbered):
            checkpoint = None
            try:
                with self.world.together():
                    checkpoint = self._own(self.folder / name, read_checkpoint(self.folder / name, self.part))
            except ArtefactError as error:
                self.warn(f"checkpoint {name} cannot be used, taking the one before it: {error}")
            else:
                return checkpoint
        if numbered:
            raise ArtefactError(
                "no checkpoint is complete",
                where=self.folder,
                fix="train again with --overwrite, or restore the folder",
            )
        return None

    def _own(self, folder: Path, checkpoint: Checkpoint) -> Checkpoint:
        """Return a checkpoint of this training, without what says so."""
        if self.run and checkpoint.state.get(_RUN, self.run) != self.run:
            raise ArtefactError("the checkpoint is of another training", where=folder)
        return checkpoint._replace(state={key: value for key, value in checkpoint.state.items() if key != _RUN})

    def remove(self) -> None:
        """Remove all of them: the training is done."""
        discard(self.folder)

    def _numbered(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("*") if path.name.isdecimal())


def read_checkpoint(folder: Path, part: Part | None = None) -> Checkpoint:
    """Return a checkpoint after all of its bytes that are used were verified.

    Parameters
    ----------
    part
        Which of the table's rows are wanted, in which order; all of them, in theirs, unless given.

    Raises
    ------
    ArtefactError
        A file of it is missing or damaged, or it holds another table.
    """
    manifest, _ = read_manifest(folder / "manifest.json", _Manifest, format=CHECKPOINT_FORMAT, version=_VERSION)

    def load(name: str) -> dict[str, npt.NDArray[Any]]:
        return load_verified(folder / f"{name}.safetensors", manifest.checksums.get(name))

    def load_rows(name: str) -> npt.NDArray[Any]:
        rows = load(name).get("rows")
        if rows is None or rows.ndim != 2:
            raise ArtefactError("the table has an unexpected type or shape", where=folder / f"{name}.safetensors")
        return rows

    dense, spread = load("dense"), manifest.spread
    if spread is None:
        table = load_rows("table")
        if part is not None:
            _refuse_other_table(folder, part.shards.num_rows, len(table))
            table = _pick(part, lambda rows: (np.zeros(len(rows), np.int64), rows), lambda file: table)
    else:
        shards = _shards_of(folder, spread, manifest.checksums)
        part = part or Part.whole(spread.num_rows)
        _refuse_other_table(folder, part.shards.num_rows, spread.num_rows)

        def find(rows: Int64s) -> tuple[Int64s, Int64s]:
            files, offsets = np.divmod(shards.places(rows), shards.block)
            return files, offsets

        def load_part(file: int) -> npt.NDArray[Any]:
            rows = load_rows(spread.name(file))
            if len(rows) != len(shards.owned(file)):
                raise ArtefactError(
                    "a part of the table has another size",
                    where=folder / f"{spread.name(file)}.safetensors",
                    expected=f"{len(shards.owned(file))} rows",
                    got=len(rows),
                )
            return rows

        table = _pick(part, find, load_part)
    return Checkpoint(table, dense, manifest.state)


def checkpoint_files(folder: Path) -> tuple[str, ...]:
    """Return the names of the files of a checkpoint."""
    manifest, _ = read_manifest(folder / "manifest.json", _Manifest, format=CHECKPOINT_FORMAT, version=_VERSION)
    return ("manifest.json", *(f"{name}.safetensors" for name in manifest.checksums))


def checkpoint_state(folder: Path) -> dict[str, Any]:
    """Return the plain values of a checkpoint; its arrays are not looked at."""
    path = folder / "manifest.json"
    return read_manifest(path, _Manifest, format=CHECKPOINT_FORMAT, version=_VERSION)[0].state


def set_checkpoint_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the plain values of a checkpoint atomically; its arrays are not touched."""
    path = folder / "manifest.json"
    manifest, _ = read_manifest(path, _Manifest, format=CHECKPOINT_FORMAT, version=_VERSION)
    manifest.state = dict(state)
    write_manifest(path, manifest, format=CHECKPOINT_FORMAT, version=_VERSION)


def _shards_of(folder: Path, spread: Sharding, checksums: Mapping[str, str]) -> Shards:
    """Return how the rows are dealt to the files that there are."""
    sizes = [path.stat().st_size for path in folder.glob("table-*.safetensors")]
    try:
        shards = spread.shards
    except ValueError as error:
        raise ArtefactError("the checkpoint's table is invalid", where=folder, got=error) from None
    named = sum(name.startswith("table-") for name in checksums)
    if not named == len(sizes) == spread.num_parts or spread.num_rows > sum(sizes):
        raise ArtefactError(
            "parts of the table are missing",
            where=folder,
            expected=f"{spread.num_parts} files of {spread.num_rows:,} rows",
            got=f"{len(sizes)} files of {sum(sizes):,} bytes",
        )
    return shards


def _refuse_other_table(folder: Path, expected: int, got: int) -> None:
    if expected != got:
        raise ArtefactError(
            "the checkpoint is of another table",
            where=folder,
            expected=f"{expected:,} rows",
            got=f"{got:,}",
            fix="train again with --overwrite, or name another folder",
        )


def _pick(
    part: Part,
    find: Callable[[Int64s], tuple[Int64s, Int64s]],
    load: Callable[[int], npt.NDArray[np.floating]],
) -> npt.NDArray[np.floating]:
    """Return the rows of a part; `find` says in which file, and where in it, a row lies, and `load` maps a file."""
    loaded: dict[int, npt.NDArray[np.floating]] = {}
    out: npt.NDArray[np.floating] | None = None
    for first in range(part.places.start, part.places.stop, _SLAB):
        places = np.arange(first, min(first + _SLAB, part.places.stop), dtype=np.int64)
        files, offsets = find(part.rows(places))
        for file in np.unique(files).tolist():
            if file not in loaded:
                loaded[file] = load(file)
            if out is None:
                out = np.empty((len(part.places), loaded[file].shape[1]), dtype=loaded[file].dtype)
            here = files == file
            out[places[here] - part.places.start] = loaded[file][offsets[here]]
    if out is None:  # more workers than rows: this one owns none
        empty = load(0)
        out = np.empty((0, empty.shape[1]), dtype=empty.dtype)
    return out
