"""The part of each day that is not learned from until it leaves the window of the gate.

A row is held out by its content alone: its digest (`features.row_digests`) falls into the lowest ``share`` of all. So a
day that is read again, in another order, by more threads or in two halves has the same rows held out, rows that repeat
one another lie on one side, and a label that comes late moves none: labels are not part of the content.

A file (`row_files`) holds the rows of one part of a day, in the order in which they came::

    RUN/heldout/000012-1a0f...3c.parquet        the number of the day, and the digest of the rows
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.features.row_digests import digest_of_rows, row_digests
from fieldwise.jobs.update.row_files import RowFiles
from fieldwise.schema import Schema

__all__ = ["HELD_OUT_NAME", "HeldOutDays", "HeldOutFile", "content_columns", "held_out"]

HELD_OUT_NAME = "heldout"
"""Of a run: the folder of held-out rows."""


def content_columns(schema: Schema, columns: Iterable[str]) -> list[str]:
    """Return the columns that make up a row's content, of those that a log has: inputs, identifier and time."""
    time = schema.time.column if schema.time is not None else None
    wanted = dict.fromkeys(name for name in (*schema.columns, schema.id, schema.group, time) if name is not None)
    present = set(columns)
    return [name for name in wanted if name in present and name != schema.label]


def held_out(digests: npt.NDArray[np.uint64], share: float = 0.1) -> npt.NDArray[np.bool_]:
    """Return which rows are held out, (R,), by their digests.

    Examples
    --------
    >>> digests = row_digests(pa.table({"n": np.arange(10_000)}), ["n"])
    >>> int(held_out(digests).sum())
    1021
    """
    chosen: npt.NDArray[np.bool_] = digests < np.uint64(int(share * 2.0**64))
    return chosen


class HeldOutFile(NamedTuple):
    """A file of held-out rows: its name, and the number of its day."""

    name: str
    day: int

    @classmethod
    def of(cls, name: str) -> HeldOutFile:
        """Return what a name says."""
        return cls(name, int(name.partition("-")[0]))


class HeldOutDays(RowFiles):
    """The folder of held-out rows.

    The name of a file follows from its rows, labels apart: a part that is added again takes its own place.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     days = HeldOutDays(Path(folder) / "heldout")
    ...     names = [days.add(day, pa.table({"city": ["Rome"], "click": [day % 2]}), ["city"]) for day in range(9)]
    ...     names[8] == days.add(8, pa.table({"city": ["Rome"], "click": [0]}), ["city"])
    ...     [days.read(name)["click"].to_pylist() for name in days.leaving(names, newest=8, window=7)]
    True
    [[0], [1]]
    """

    def add(self, day: int, rows: pa.Table, content: Sequence[str]) -> str:
        """Write the held-out rows of a part of a day, all columns that learning needs, and return the file's name."""
        return self.write(f"{day:06d}-{digest_of_rows(row_digests(rows, content))}.parquet", rows)

    @staticmethod
    def within(names: Iterable[str], newest: int, window: int) -> list[str]:
        """Return those of some files whose days are among the last `window` up to `newest`, in order."""
        return sorted(name for name in names if newest - window < HeldOutFile.of(name).day <= newest)

    @staticmethod
    def leaving(names: Iterable[str], newest: int, window: int) -> list[str]:
        """Return those of some files whose days have left the window, in order: to be learned, then removed."""
        return sorted(name for name in names if HeldOutFile.of(name).day <= newest - window)
