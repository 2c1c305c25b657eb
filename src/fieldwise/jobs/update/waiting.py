"""Rows that wait for their label, and what is remembered of those that no longer do.

::

    RUN/waiting/rows-0000-1a0f...3c.parquet    raw rows, as they were given, with three columns more
    RUN/waiting/ledger-77d1....parquet         of each row that is done with: the fingerprint of its identifier, when
                                               it was answered, and the place of its class

Of both, names follow from what is in them (`row_files`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from fieldwise.errors import DataError
from fieldwise.features.canonical import canonical, fingerprints
from fieldwise.features.columns import Columns, reading
from fieldwise.features.row_digests import digest_of_rows, row_digests
from fieldwise.jobs.update.row_files import RowFiles
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


class WaitingRows(RowFiles):
    """The folder of rows that wait."""

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
        return self.write(f"rows-{place:04d}-{digest_of_rows(row_digests(rows, rows.column_names))}.parquet", rows)

    def write_ledger(self, ledger: Ledger) -> str:
        """Write a ledger, and return the name of its file."""
        digest = xxhash.xxh64()
        for array in ledger:
            digest.update(array.tobytes())
        return self.write(f"ledger-{digest.hexdigest()}.parquet", pa.table(ledger._asdict()))


def forget_keys(folder: Path, values: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Take identifiers out of the ledgers in a folder, and return their fingerprints."""
    keys = fingerprints(canonical(pa.array(values, pa.string())), _SEED)
    files = WaitingRows(folder)
    for path in sorted(folder.glob("ledger-*.parquet")):
        table = files.read(path.name)
        gone = np.isin(table["keys"].to_numpy(), keys)
        if gone.any():
            files.write(path.name, table.filter(pa.array(~gone)))
    return keys
