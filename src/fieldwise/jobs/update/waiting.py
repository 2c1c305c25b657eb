"""Rows that wait for their label, and what is remembered of those that no longer do.

::

    RUN/waiting/rows-0000-1a0f...3c.parquet    raw rows, as they were given, with three columns more
    RUN/waiting/ledger-77d1....parquet         of each row that is done with: the fingerprint of its identifier, when
                                               it was answered, and the place of its class

Raw rows are kept, not their features, for the same reasons as held-out ones (`holdout`). The names of files follow from
what is in them. Which of them count is for the record of the run to say, so an update that is killed has changed
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from fieldwise.errors import ArtefactError, DataError
from fieldwise.features.canonical import canonical, fingerprints
from fieldwise.features.columns import Columns, reading
from fieldwise.features.row_digests import digest_of_rows, row_digests
from fieldwise.io.files import RESTORE, atomic_file, discard, explaining, remove_unfinished, sync_folder
from fieldwise.schema import Schema

__all__ = [
    "EARLY",
    "LABEL",
    "MOMENT",
    "WAITING_NAME",
    "Ledger",
    "WaitingRows",
    "WaitingState",
    "forget_keys",
    "keys_of",
]

WAITING_NAME = "waiting"
"""Of a run: the folder of rows that wait."""
LABEL, MOMENT, EARLY = "@label", "@moment", "@early"
"""Columns of rows that wait: the class that is known so far, when the row was answered, and whether it was learned from
before its label came."""
_SEED = 0x6C6F6F70
"""Of the fingerprints of identifiers: none is that of a field."""


class WaitingState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the record of a run says of rows that wait.

    Attributes
    ----------
    files
        Their files, in order.
    ledger
        The file of those that are done with; None where there are none.
    horizon
        Rows that were answered before it, in seconds since 1970, are passed over: the ledger no longer knows them.
    """

    files: list[str] = []
    ledger: str | None = None
    horizon: float | None = None

    @property
    def names(self) -> list[str]:
        """All files that count."""
        return [*self.files, *([self.ledger] if self.ledger is not None else [])]


class Ledger(NamedTuple):
    """Rows that are done with: the fingerprints of their identifiers, ascending, their moments and classes, (N,)."""

    keys: npt.NDArray[np.uint64]
    moments: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int8]

    @classmethod
    def of(cls, parts: Iterable[tuple[Any, Any, Any]], horizon: float | None) -> Ledger:
        """Return the ledger of keys, moments and classes, without what lies before the horizon."""
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        chosen = columns[0] != 0
        if horizon is not None:
            chosen &= columns[1] >= horizon
        keys, moments, classes = (column[chosen] for column in columns)
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], moments[order], classes[order].astype(np.int8))

    @classmethod
    def empty(cls) -> Ledger:
        """Return the ledger of no rows."""
        return cls(np.zeros(0, np.uint64), np.zeros(0), np.zeros(0, np.int8))


def keys_of(table: pa.Table, schema: Schema, content: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return what rows are known by, (R,): their identifiers, 0 for none; without such a column their content."""
    if schema.id is None:
        return row_digests(table, content)
    array = Columns(table).array(schema.id)
    with reading(schema.id):
        if pa.types.is_nested(array.type):
            raise DataError("an identifier is one value", got=array.type)
        return fingerprints(canonical(array), _SEED)


class WaitingRows:
    """The folder of rows that wait.

    Parameters
    ----------
    folder
        Made when the first file is put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str) -> pa.Table:
        """Return the rows of a file.

        Raises
        ------
        ArtefactError
            It is missing or damaged.
        """
        path = self.folder / name
        try:
            with explaining(path):
                return pq.read_table(path, page_checksum_verification=True)
        except pa.ArrowException as error:
            raise ArtefactError("rows that wait are damaged", where=path, got=error, fix=RESTORE) from None

    def ledger(self, state: WaitingState) -> Ledger:
        """Return what is remembered of the rows that are done with.

        Raises
        ------
        ArtefactError
            Its file is missing or damaged.
        """
        if state.ledger is None:
            return Ledger.empty()
        table = self.read(state.ledger)
        return Ledger(*(table[name].to_numpy() for name in Ledger._fields))

    def write_rows(self, place: int, rows: pa.Table) -> str:
        """Write rows that wait, and return the name of their file."""
        name = f"rows-{place:04d}-{digest_of_rows(row_digests(rows, rows.column_names))}.parquet"
        self._write(name, rows)
        return name

    def write_ledger(self, ledger: Ledger) -> str:
        """Write a ledger, and return the name of its file."""
        digest = xxhash.xxh64()
        for array in ledger:
            digest.update(array.tobytes())
        name = f"ledger-{digest.hexdigest()}.parquet"
        self._write(name, pa.table(ledger._asdict()))
        return name

    def take_from(self, other: Path) -> None:
        """Move the files of another folder here, where all is ready to be named."""
        files = sorted(other.glob("*.parquet"))
        if files:
            with explaining(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                for path in files:
                    path.rename(self.folder / path.name)
                sync_folder(self.folder)

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove all other files, and what killed processes left."""
        kept = set(names)
        if not self.folder.is_dir():
            return
        remove_unfinished(self.folder)
        for path in self.folder.glob("*.parquet"):
            if path.name not in kept:
                path.unlink(missing_ok=True)
        if not kept:
            discard(self.folder)

    def _write(self, name: str, table: pa.Table) -> None:
        with atomic_file(self.folder / name) as file:
            pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def forget_keys(folder: Path, values: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Take identifiers out of the ledgers in a folder, and return their fingerprints."""
    keys = fingerprints(canonical(pa.array(values, pa.string())), _SEED)
    for path in sorted(folder.glob("ledger-*.parquet")):
        with explaining(path):
            table = pq.read_table(path, page_checksum_verification=True)
            gone = np.isin(table["keys"].to_numpy(), keys)
            if gone.any():
                WaitingRows(folder)._write(path.name, table.filter(pa.array(~gone)))
    return keys
