"""Labels that come after their rows: a file of identifiers and labels, and what rows they belong to.

A file has the column of the identifiers (``data.id``) and that of the label (``data.label``); other columns that
learning needs and a server does not log, as a weight, may stand beside them. An identifier with one label twice counts
once; one with two labels has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.log import open_log
from fieldwise.errors import ConfigError
from fieldwise.features.columns import Columns
from fieldwise.features.labels import Spelling, read_labels
from fieldwise.jobs.update.result import LabelCounts
from fieldwise.jobs.update.waiting import Ledger, keys_of
from fieldwise.schema import Schema

__all__ = ["CONTRADICTORY", "NONE", "LateLabels", "places_of", "read_late_labels"]

NONE, CONTRADICTORY = -1, -2
"""In place of a class."""

Int8s = npt.NDArray[np.int8]
Uint64s = npt.NDArray[np.uint64]


class LateLabels(NamedTuple):
    """Labels by identifier.

    Attributes
    ----------
    keys, classes
        (N,): fingerprints of the identifiers, ascending, each once; the place of the class, or `CONTRADICTORY`.
    others
        The other columns that learning needs, (N,).
    counts
        What was in the file; whose rows they are, is not known yet.
    """

    keys: Uint64s
    classes: Int8s
    others: pa.Table
    counts: LabelCounts

    def of(self, keys: Uint64s) -> Int8s:
        """Return the class of each of some rows, (R,): `NONE` where no label has come."""
        places = places_of(keys, self.keys)
        return np.where(places >= 0, np.append(self.classes, np.int8(NONE))[places], NONE).astype(np.int8)

    def counted(self, rows: Uint64s, done: Ledger) -> LabelCounts:
        """Return the counts with whose labels they are: of `rows`, of rows that are done with, or of none."""
        is_clear = self.classes != CONTRADICTORY
        belongs = np.isin(self.keys, rows) & is_clear
        places = places_of(self.keys, done.keys)
        before = np.append(done.classes, np.int8(NONE))[places]
        is_known = (places >= 0) & is_clear & ~belongs
        same = is_known & (before == self.classes)
        return msgspec.structs.replace(
            self.counts,
            used=int(belongs.sum()),
            known=int(same.sum()),
            contradictory=self.counts.contradictory + int((is_known & ~same).sum()),
            unknown=int((is_clear & ~belongs & ~is_known).sum()),
        )


def places_of(keys: Uint64s, among: Uint64s) -> npt.NDArray[np.int64]:
    """Return where each of some keys stands among others, which ascend; -1 where it does not.

    Examples
    --------
    >>> places_of(np.array([5, 6], np.uint64), np.array([1, 5], np.uint64)).tolist()
    [1, -1]
    """
    if not len(among):
        return np.full(len(keys), -1)
    places = np.minimum(np.searchsorted(among, keys), len(among) - 1)
    return np.where(among[places] == keys, places, -1)


def read_late_labels(files: Sequence[str | Path], schema: Schema, others: Sequence[str]) -> LateLabels:
    """Read labels that came late.

    Parameters
    ----------
    files
        CSV, Parquet and so on; none for no labels.
    others
        Columns that are taken along where the files have them.

    Raises
    ------
    ConfigError
        The model knows of no identifier.
    DataError
        A file is missing or damaged, or lacks a column.
    """
    if schema.id is None:
        raise ConfigError(
            "labels are joined with rows by an identifier, and the model knows of none",
            where="data.id",
            expected="the column that identifies a row, sent with each request",
            fix="name it in [data], and train again",
        )
    keys, classes, tables, num_rows = [np.zeros(0, np.uint64)], [np.zeros(0, np.int8)], [], 0
    log = open_log(files) if files else None
    if log is not None:
        others = [name for name in others if name in log.columns and name != schema.id]
        spelling = Spelling(schema.classes)
        for chunk in log.chunks([schema.id, schema.label, *others]):
            num_rows += chunk.num_rows
            labels = read_labels(Columns(chunk.table), schema.label, spelling, schema.missing)
            places = [spelling.place(text) if isinstance(text, str) else NONE for text in labels.texts]
            keys.append(keys_of(chunk.table, schema, ()))
            classes.append(np.array(places, np.int8)[labels.places])
            tables.append(chunk.table.select(others))
    found, of = np.concatenate(keys), np.concatenate(classes)
    usable = np.flatnonzero((found != 0) & (of != NONE))
    chosen, first, inverse = np.unique(found[usable], return_index=True, return_inverse=True)
    lowest, highest = np.full(len(chosen), 127, np.int8), np.full(len(chosen), -1, np.int8)
    np.minimum.at(lowest, inverse, of[usable])
    np.maximum.at(highest, inverse, of[usable])
    is_clear = lowest == highest
    rows_of_clear = int(is_clear[inverse].sum())
    taken = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    return LateLabels(
        chosen,
        np.where(is_clear, lowest, CONTRADICTORY).astype(np.int8),
        taken.take(pa.array(usable[first])) if taken.num_columns else taken,
        LabelCounts(
            read=num_rows,
            twice=rows_of_clear - int(is_clear.sum()),
            contradictory=len(usable) - rows_of_clear,
            unreadable=num_rows - len(usable),
        ),
    )
