"""Raw rows to the features of a batch, with one call of a kernel (`kernels.serve`) for all that it can take.

The values of rows are laid end to end, as text or as numbers, without a look at what they are: Python's own `join` and
numpy refuse what is neither. Whatever is refused, and whatever the kernel does not know, goes the encoder's own way,
which also has the words for what is wrong with it. Both give the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.tables import as_table
from fieldwise.errors import DataError
from fieldwise.features.bags import split_cells
from fieldwise.features.canonical import as_text, plain
from fieldwise.features.cells import Cells
from fieldwise.features.columns import Columns, reading
from fieldwise.features.encoder import Encoder
from fieldwise.features.numbers import NumberEncoder
from fieldwise.features.served import as_served
from fieldwise.kernels.layout import BAG, Batch
from fieldwise.kernels.serve import DONE, Raw, encode_rows
from fieldwise.serving.plan import Served, plan_of
from fieldwise.serving.values import ROOM, Refused, as_numbers, joined_texts, lay_out, words_of

__all__ = ["RowEncoder"]

_LISTS = (list, tuple)
_NO_GIVEN = np.zeros((0, 0), dtype=np.uint64)


class RowEncoder:
    """Encodes raw rows as an encoder does, but sooner where there are few.

    Parameters
    ----------
    encoder
        Fitted.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.served: Served = plan_of(encoder)
        served, fields = self.served, encoder.fields
        self._fixed = encoder.schema.served
        self.columns = frozenset(encoder.schema.columns) - self._fixed.keys()
        layout = encoder.layout
        self._num_lines = int((layout.single >= 0).sum())
        self._num_values = int((layout.value >= 0).sum())
        self._bag_fields = [name for name, of_field in fields.items() if of_field.form == BAG]
        self._plain_numbers = [name for name in served.numbers if name not in served.styled]
        self._number_columns = [_column_of(fields[name].field.column) for name in self._plain_numbers]
        self._bag_columns = [_column_of(fields[name].field.column) for name in served.bags]
        self._separators = [fields[name].field.separator for name in served.bags]
        lines = dict(zip(fields, layout.single.tolist(), strict=True))
        self._given_lines = [lines[name] for name in served.given]
        self._left = (*served.given, *served.styled, *served.left_bags)
        needed = self._needed(self._left)
        self._needed_left = self._needed((*served.given, *served.left_bags))
        self._left_columns = sorted({column for name in needed for column in fields[name].field.columns})
        self._of_texts = _getter(served.texts)
        self._of_numbers = _getter(self._number_columns)

    def encode(self, rows: Any) -> Batch:
        """Return the features of raw rows; see `Predictor.predict`.

        Raises
        ------
        DataError
            A column is missing, or a value cannot be read.
        TypeError
            It is no table and no list of rows.
        """
        kind = type(rows)
        records: Any = None
        if kind is list and rows and all(type(row) is dict for row in rows):
            records = rows
        elif kind is dict and rows:
            if not any(isinstance(value, (list, tuple, np.ndarray, pa.Array)) for value in rows.values()):
                records = [rows]
            elif all(type(value) in _LISTS for value in rows.values()):
                return self.encode_columns(rows)
        if records is not None:
            try:
                if self._fixed:
                    records = [{**row, **self._fixed} for row in records]
                return self._encode(len(records), *self._of_records(records))
            except (Refused, KeyError):
                return self.encode_table(as_table(rows, self.columns.__contains__), fast=False)
        table = as_table(rows, self.columns.__contains__)
        if not table.num_columns and not table.num_rows:  # an empty list
            table = pa.table({name: pa.array([], pa.string()) for name in self.columns})
        return self.encode_table(table)

    def encode_columns(self, columns: Mapping[str, Any]) -> Batch:
        """Return the features of rows that are given as columns of the same length: lists, numpy or Arrow arrays."""
        if all(type(values) in _LISTS for values in columns.values()):
            lengths = {len(values) for values in columns.values()}
            if len(lengths) == 1 and lengths != {0} and self.columns <= columns.keys():
                num_rows = lengths.pop()
                fixed = {name: [value] * num_rows for name, value in self._fixed.items()}
                with suppress(Refused):
                    return self._encode(num_rows, *self._of_lists({**columns, **fixed}))
            return self.encode_table(as_table(columns, self.columns.__contains__), fast=False)
        return self.encode_table(as_table(columns, self.columns.__contains__))

    def encode_table(self, table: pa.Table, *, fast: bool = True) -> Batch:
        """Return the features of a table's rows; by the encoder's own way unless `fast`."""
        table = as_served(table, self.encoder.schema)
        if fast and table.num_rows:
            with suppress(Refused, DataError):  # which the encoder's own way says better
                return self._encode(table.num_rows, *self._of_table(table))
        encoded = self.encoder.transform(table, labelled=False)
        for bad in encoded.rejects:
            raise DataError(bad.reason, where=f"row {bad.row + 1}, column {bad.column}", got=bad.value)
        return encoded.batch

    # --- rows of each form, as texts end to end and numbers ---

    def _of_records(self, rows: list[dict[str, Any]]) -> tuple[Raw, Callable[[], pa.Table]]:
        texts = list(chain.from_iterable(map(self._of_texts, rows)))
        cells = [[row[name] for row in rows] for name in self._bag_columns]
        numbers = as_numbers(list(chain.from_iterable(map(self._of_numbers, rows))), len(rows), by_row=True)
        data, offsets, bags = lay_out(texts, cells, self._separators, len(rows))

        def rest() -> pa.Table:
            return as_table([{name: row[name] for name in self._left_columns} for row in rows], lambda name: True)

        return _raw(data, offsets, len(self.served.texts), 1, bags, numbers), rest

    def _of_lists(self, columns: Mapping[str, list[Any]]) -> tuple[Raw, Callable[[], pa.Table]]:
        num_rows = len(next(iter(columns.values())))
        texts = list(chain.from_iterable(columns[name] for name in self.served.texts))
        cells = [columns[name] for name in self._bag_columns]
        flat = list(chain.from_iterable(columns[name] for name in self._number_columns))
        numbers = as_numbers(flat, num_rows, by_row=False)
        data, offsets, bags = lay_out(texts, cells, self._separators, num_rows)

        def rest() -> pa.Table:
            return as_table({name: columns[name] for name in self._left_columns}, lambda name: True)

        return _raw(data, offsets, 1, num_rows, bags, numbers), rest

    def _of_table(self, table: pa.Table) -> tuple[Raw, Callable[[], pa.Table]]:
        columns, fields, num_rows = Columns(table), self.encoder.fields, table.num_rows
        pieces = []
        for name in self.served.texts:
            with reading(name):
                pieces.append(as_text(plain(columns.array(name))))
        bags = np.zeros((len(self._bag_columns), num_rows + 1), dtype=np.int64)
        begin = len(self.served.texts) * num_rows
        for place, name in enumerate(self.served.bags):
            column = self._bag_columns[place]
            lengths, values = split_cells(columns, column, fields[name].field)
            with reading(column):
                pieces.append(as_text(plain(values)))
            bags[place, 0] = begin
            bags[place, 1:] = begin + np.cumsum(lengths)
            begin = int(bags[place, -1])
        data, offsets = joined_texts(pieces)
        numbers = np.empty((len(self._plain_numbers), num_rows))
        for place, name in enumerate(self._plain_numbers):
            of_field = fields[name]
            assert isinstance(of_field, NumberEncoder)
            cells = of_field.read_numbers(columns)
            if cells.rejects or cells.numbers is None:
                raise Refused
            numbers[place] = cells.numbers
        return _raw(data, offsets, 1, num_rows, bags, numbers), lambda: table

    # --- features ---

    def _encode(self, num_rows: int, raw: Raw, rest: Callable[[], pa.Table]) -> Batch:
        served = self.served
        cells: Mapping[str, Cells] = {}
        if self._left:
            raw, cells = self._with_left(raw, rest())
        num_texts = raw.bags[-1, -1] - raw.bags[0, 0] if len(raw.bags) else 0
        room = int(num_texts) + raw.bags.shape[0] * num_rows
        longest = int(np.diff(raw.offsets).max(initial=0)) if len(raw.data) > 1 << 12 else len(raw.data)
        scratch = np.empty(longest + ROOM, dtype=np.uint8)
        prints = np.empty((len(served.names), num_rows), dtype=np.uint64)
        batch = Batch(
            np.empty((self._num_lines, num_rows), dtype=np.uint32),
            np.empty((self._num_values, num_rows), dtype=np.float32),
            np.empty((len(self._bag_fields), num_rows + 1), dtype=np.int64),
            np.empty(room, dtype=np.uint32),
            np.empty(room, dtype=np.float32),
        )
        if encode_rows(served.plan, raw, scratch, words_of(scratch), prints, *batch) != DONE:
            raise Refused
        for name, line in zip(served.given, self._given_lines, strict=True):
            batch.ids[line] = self.encoder.fields[name].encode(cells[name])
        if served.left_bags:
            return self._with_bags(batch, cells)
        end = int(batch.offsets[-1, -1]) if len(batch.offsets) else 0
        return batch._replace(bag_ids=batch.bag_ids[:end], bag_weights=batch.bag_weights[:end])

    def _needed(self, names: Sequence[str]) -> set[str]:
        """Return fields and those that they are made of."""
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                left.extend(self.encoder.fields[name].field.parts)
        return found

    def _with_left(self, raw: Raw, table: pa.Table) -> tuple[Raw, Mapping[str, Cells]]:
        """Let the encoder read what it is left, and return the cells of bags."""
        served, fields, columns, found = self.served, self.encoder.fields, Columns(table), dict[str, Cells]()
        for name in fields:
            if name in self._needed_left:
                found[name] = fields[name].read(columns, found)
                if found[name].rejects:
                    raise Refused
        if served.given:
            raw = raw._replace(given=np.stack([found[name].fingerprints for name in served.given]))
        if served.styled:
            plain_numbers, numbers = iter(raw.numbers), []
            for name in served.numbers:
                if name not in served.styled:
                    numbers.append(next(plain_numbers))
                    continue
                of_field = fields[name]
                assert isinstance(of_field, NumberEncoder)
                cells = of_field.read_numbers(columns)
                if cells.rejects or cells.numbers is None:
                    raise Refused
                numbers.append(cells.numbers)
            raw = raw._replace(numbers=np.stack(numbers))
        return raw, found

    def _with_bags(self, batch: Batch, cells: Mapping[str, Cells]) -> Batch:
        """Put the bags that the kernel has made and those that the encoder has read together, in the fields' order."""
        ids, weights, offsets, begin = [], [], [], 0
        for line, name in enumerate(self._bag_fields):
            if name in cells:
                of_field = self.encoder.fields[name]
                of_cells = cells[name]
                assert of_cells.offsets is not None
                bounds, found, of_bag = of_cells.offsets, of_field.encode(of_cells), of_cells.weights
                assert of_bag is not None
            else:
                first, last = int(batch.offsets[line, 0]), int(batch.offsets[line, -1])
                bounds, found, of_bag = (
                    batch.offsets[line] - first, batch.bag_ids[first:last], batch.bag_weights[first:last],
                )  # fmt: skip
            ids.append(found)
            weights.append(of_bag)
            offsets.append(bounds + begin)
            begin += int(bounds[-1])
        return batch._replace(
            offsets=np.stack(offsets), bag_ids=np.concatenate(ids), bag_weights=np.concatenate(weights)
        )


def _column_of(name: str | None) -> str:
    assert name is not None
    return name


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """Return what takes some values of a row, all at once."""
    if len(names) > 1:
        return itemgetter(*names)
    return (lambda row: (row[names[0]],)) if names else (lambda row: ())


def _raw(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], row_step: int, column_step: int,
    bags: npt.NDArray[np.int64], numbers: npt.NDArray[np.float64],
) -> Raw:  # fmt: skip
    return Raw(data, words_of(data), offsets, row_step, column_step, bags, numbers, _NO_GIVEN)
