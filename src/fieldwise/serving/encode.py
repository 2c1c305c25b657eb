"""Raw rows to the features of a batch, with one call of a kernel (`kernels.serve`) for all that it can take.

The values of rows are laid end to end, as text or as numbers, without a look at what they are: Python's own `join` and
numpy refuse what is neither. Whatever is refused, and whatever the kernel does not know, goes the encoder's own way,
which also has the words for what is wrong with it. Both give the same ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.tables import as_table
from fieldwise.errors import DataError
from fieldwise.features.bags import compressed, weigh_cells
from fieldwise.features.canonical import as_text, is_text, plain
from fieldwise.features.cells import Cells
from fieldwise.features.columns import Columns, reading
from fieldwise.features.encoder import Encoder
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.numbers import NumberEncoder
from fieldwise.features.served import as_served
from fieldwise.kernels.layout import BAG, Batch
from fieldwise.kernels.serve import BAG_OF_TEXTS, Raw, encode_rows
from fieldwise.schema import Field
from fieldwise.serving.plan import Served, plan_of
from fieldwise.serving.values import ROOM, Bag, Refused, Texts, as_numbers, joined_texts, lay_out, words_of

__all__ = ["RowEncoder"]

_LISTS = (list, tuple)
_NO_GIVEN = np.zeros((0, 0), dtype=np.uint64)
_NO_WEIGHTS = np.zeros(0, dtype=np.float32)

Int64s = npt.NDArray[np.int64]


class RowEncoder:
    """Encodes raw rows as an encoder does, but sooner where there are few.

    Parameters
    ----------
    encoder
        Fitted.

    Attributes
    ----------
    fields_alike
        From columns with the same cell in all rows to the fields of the log (F,) that read these alone, or combine such
        fields.
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
        self._bags = [fields[name].field for name in served.bags]
        self._are_bags = np.flatnonzero(served.plan.kind == BAG_OF_TEXTS)
        self._are_weighted = any(field.weighted or field.weights is not None for field in self._bags)
        lines = dict(zip(fields, layout.single.tolist(), strict=True))
        self._given_lines = [lines[name] for name in served.given]
        self._left = (*served.given, *served.styled, *served.left_bags)
        needed = self._needed(self._left)
        self._needed_left = self._needed((*served.given, *served.left_bags))
        self._left_columns = sorted({column for name in needed for column in fields[name].field.columns})
        self._of_texts = _getter(served.texts)
        self._of_numbers = _getter(self._number_columns)
        self._by_row = np.arange(len(served.texts)), np.full(len(served.texts), len(served.texts))
        self._none_alike = np.zeros(len(served.names), dtype=np.bool_)
        # No methods of its own, which would be a cycle.
        self._alike_in_plan = lru_cache(maxsize=16)(partial(_alike_in_plan, served, fields))
        self.fields_alike = lru_cache(maxsize=16)(partial(_fields_alike, served, fields))

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

    def encode_columns(self, columns: Mapping[str, Any], shared: frozenset[str] = frozenset()) -> Batch:
        """Return the features of rows that are given as columns of the same length: lists, numpy or Arrow arrays.

        The cells of `shared` columns are the same in all rows, and those of the first are encoded.
        """
        if all(type(values) in _LISTS for values in columns.values()):
            lengths = {len(values) for values in columns.values()}
            if len(lengths) == 1 and lengths != {0} and self.columns <= columns.keys():
                num_rows = lengths.pop()
                if self._fixed:
                    columns = {**columns, **{name: [value] * num_rows for name, value in self._fixed.items()}}
                with suppress(Refused):
                    return self._encode(num_rows, *self._of_lists(columns, num_rows, shared))
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
        def column(name: str) -> list[Any]:
            return [row[name] for row in rows]

        texts = list(chain.from_iterable(map(self._of_texts, rows)))
        numbers = as_numbers(list(chain.from_iterable(map(self._of_numbers, rows))), len(rows), by_row=True)
        laid = lay_out(texts, [_bag(field, column) for field in self._bags], len(rows))

        def rest() -> pa.Table:
            return as_table([{name: row[name] for name in self._left_columns} for row in rows], lambda name: True)

        return self._raw(laid, *self._by_row, numbers, self._none_alike), rest

    def _of_lists(
        self, columns: Mapping[str, list[Any]], num_rows: int, shared: frozenset[str]
    ) -> tuple[Raw, Callable[[], pa.Table]]:
        texts: list[Any] = []
        first, step = np.empty((2, len(self.served.texts)), dtype=np.int64)
        for place, name in enumerate(self.served.texts):
            first[place], step[place] = len(texts), name not in shared
            texts += columns[name][:1] if name in shared else columns[name]
        alike = self._alike_in_plan(shared) if shared else self._none_alike
        numbers = np.empty((len(self._plain_numbers), num_rows))
        for are_shared in (False, True) if shared else (False,):
            own = [place for place, name in enumerate(self._number_columns) if (name in shared) == are_shared]
            cells = [columns[self._number_columns[place]] for place in own]
            if are_shared:
                cells = [of_column[:1] for of_column in cells]
            flat = list(chain.from_iterable(cells))
            numbers[own] = as_numbers(flat, 1 if are_shared else num_rows, by_row=False)

        firsts = {name: columns[name][:1] for name in shared if name in columns}
        bags = [
            _bag(field, (firsts if shared.issuperset(field.columns) else columns).__getitem__) for field in self._bags
        ]
        laid = lay_out(texts, bags, num_rows)

        def rest() -> pa.Table:
            return as_table({name: columns[name] for name in self._left_columns}, lambda name: True)

        return self._raw(laid, first, step, numbers, alike), rest

    def _of_table(self, table: pa.Table) -> tuple[Raw, Callable[[], pa.Table]]:
        columns, fields, num_rows = Columns(table), self.encoder.fields, table.num_rows
        pieces, weights = [], []
        for name in self.served.texts:
            with reading(name):
                array = plain(columns.array(name))
                if name in self.served.patterned and not is_text(array.type):
                    raise Refused
                pieces.append(as_text(array))
        bags = np.zeros((len(self._bags), num_rows + 1), dtype=np.int64)
        begin = len(self.served.texts) * num_rows
        for place, field in enumerate(self._bags):
            lengths, values, of_values, are_known = weigh_cells(columns, field)
            if not are_known:
                raise Refused
            with reading(_column_of(field.column)):
                pieces.append(as_text(plain(values)))
            weights.append(of_values)
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
        num_texts = len(self.served.texts)
        laid = Texts(data, offsets, bags, np.concatenate(weights) if self._are_weighted else _NO_WEIGHTS)
        first, step = np.arange(num_texts) * num_rows, np.ones(num_texts, dtype=np.int64)
        return self._raw(laid, first, step, numbers, self._none_alike), lambda: table

    def _raw(
        self, laid: Texts, first: Int64s, step: Int64s, numbers: npt.NDArray[np.float64], alike: npt.NDArray[np.bool_]
    ) -> Raw:
        data, offsets, bags, weights = laid
        for place, field in enumerate(self._bags):
            if field.weight_scale == "log":
                begin, end = bags[place, 0] - bags[0, 0], bags[place, -1] - bags[0, 0]
                weights[begin:end] = compressed(weights[begin:end])
        return Raw(data, words_of(data), offsets, first, step, bags, weights, numbers, _NO_GIVEN, alike)

    # --- features ---

    def _encode(self, num_rows: int, raw: Raw, rest: Callable[[], pa.Table]) -> Batch:
        served = self.served
        cells: Mapping[str, Cells] = {}
        if self._left:
            raw, cells = self._with_left(raw, rest())
        times = np.where(raw.alike[self._are_bags], num_rows, 1)
        room = int((raw.bags[:, -1] - raw.bags[:, 0]) @ times) + raw.bags.shape[0] * num_rows
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
        moments, places = np.empty((len(served.plan.moments), num_rows)), np.zeros(9, dtype=np.int64)
        if not encode_rows(served.plan, raw, scratch, words_of(scratch), places, moments, prints, *batch):
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
                bounds, found, of_bag = of_cells.offsets, of_field.encode(of_cells), of_field.inputs(of_cells)
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


def _bag(field: Field, column: Callable[[str], Sequence[Any]]) -> Bag:
    weights = None if field.weights is None else column(field.weights)
    return Bag(column(_column_of(field.column)), field.separator, field.weighted, weights)


def _alike_in_plan(served: Served, fields: Mapping[str, FieldEncoder], shared: frozenset[str]) -> npt.NDArray[np.bool_]:
    """Return which fields of the plan read `shared` columns alone, or combine such fields."""
    left = {*served.given, *served.styled}
    alike: dict[str, bool] = {}
    for name in served.names:
        field = fields[name].field
        alike[name] = name not in left and shared.issuperset(field.columns) and all(alike[p] for p in field.parts)
    return np.array([*alike.values()], dtype=np.bool_)


def _fields_alike(served: Served, fields: Mapping[str, FieldEncoder], shared: frozenset[str]) -> npt.NDArray[np.bool_]:
    alike = dict(zip(served.names, _alike_in_plan(served, fields, shared).tolist(), strict=True))
    return np.array([alike.get(name, False) for name in fields])
