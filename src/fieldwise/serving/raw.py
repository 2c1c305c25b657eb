"""Rows of each form as the kernel takes them (`kernels.serve.Raw`): texts end to end, numbers by field.

Letters: B rows, T columns of text, N fields of numbers, G bags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.data.tables import as_table
from fieldwise.features.bags import compressed, weigh_cells
from fieldwise.features.canonical import as_text, is_text, plain
from fieldwise.features.cells import Cells
from fieldwise.features.columns import Columns, reading
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.numbers import NumberEncoder
from fieldwise.kernels.serve import Raw
from fieldwise.schema import Field
from fieldwise.serving.plan import Served
from fieldwise.serving.values import Bag, Refused, Texts, as_numbers, as_vectors, joined_texts, lay_out, words_of

__all__ = ["Laid", "RawReader", "numbers_of"]

_NO_GIVEN = np.zeros((0, 0), dtype=np.uint64)
_NO_WEIGHTS = np.zeros(0, dtype=np.float32)

Bools = npt.NDArray[np.bool_]
Float64s = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]


class Laid(NamedTuple):
    """Rows for the kernel, and what it does not take.

    Attributes
    ----------
    raw
        What it takes.
    vectors
        The cells of vectors by field.
    rest
        Makes a table of the columns that the encoder reads.
    """

    raw: Raw
    vectors: Mapping[str, Cells]
    rest: Callable[[], pa.Table]


class _Order(NamedTuple):
    """How columns are laid end to end, those with one cell for all rows after the others.

    Attributes
    ----------
    texts, texts_once
        The columns of text, and those of them with one cell.
    columns_before, cells_before, step
        (T,): where the cells of each column begin, in columns and in single cells, and how far its rows are apart.
    numbers, numbers_once, places, places_once
        The columns of numbers, and their places among all.
    alike
        As in `kernels.serve.Raw`.
    of_texts, of_numbers
        Take the cells of `texts` and of `numbers` from a row.
    """

    texts: list[str]
    texts_once: list[str]
    columns_before: Int64s
    cells_before: Int64s
    step: Int64s
    numbers: list[str]
    numbers_once: list[str]
    places: Int64s
    places_once: Int64s
    alike: Bools
    of_texts: Callable[[Mapping[str, Any]], Sequence[Any]]
    of_numbers: Callable[[Mapping[str, Any]], Sequence[Any]]


class _Cells(NamedTuple):
    """The cells of columns in so many rows; those of a context are the same in all of them."""

    column: Callable[[str], Sequence[Any]]
    context: Mapping[str, Any]
    num_rows: int

    def whole(self, name: str) -> Sequence[Any]:
        """Return the cells of all rows."""
        return [self.context[name]] * self.num_rows if name in self.context else self.column(name)

    def of_bag(self, field: Field) -> Callable[[str], Sequence[Any]]:
        """Return what has the cells of a bag's columns: one of each where the context has them all."""
        return (lambda name: [self.context[name]]) if self.context.keys() >= set(field.columns) else self.whole

    def of_vector(self, field: Field) -> tuple[Sequence[Any], int]:
        """Return the cells of a vector's column, and how many rows each is for."""
        name = _column_of(field)
        return ([self.context[name]], self.num_rows) if name in self.context else (self.column(name), 1)


class RawReader:
    """Lays rows out; raises `Refused` for a value that is read otherwise.

    Parameters
    ----------
    fields, served
        Of a fitted encoder, and how they are encoded.
    left_columns
        The columns that the encoder reads.
    """

    def __init__(self, fields: Mapping[str, FieldEncoder], served: Served, left_columns: Sequence[str]) -> None:
        self._fields, self._served, self._left_columns = fields, served, left_columns
        self._plain_numbers = [name for name in served.numbers if name not in served.styled]
        self._number_columns = [_column_of(fields[name].field) for name in self._plain_numbers]
        self._bags = [fields[name].field for name in served.bags]
        self._vectors = [fields[name].field for name in served.vectors]
        self._are_weighted = any(field.weighted or field.weights is not None for field in self._bags)
        self._of_texts = _getter(served.texts)
        self._of_numbers = _getter(self._number_columns)
        self._by_row = np.arange(len(served.texts)), np.full(len(served.texts), len(served.texts))
        self._none_alike = np.zeros(len(served.names), dtype=np.bool_)
        # No methods of its own, which would be a cycle.
        self._order = lru_cache(maxsize=16)(partial(_order, served, fields, self._number_columns))
        self.fields_alike = lru_cache(maxsize=16)(partial(_fields_alike, served, fields))

    def of_records(self, rows: Sequence[Mapping[str, Any]], context: Mapping[str, Any] | None = None) -> Laid:
        """Lay out dicts with all columns, or all but those of a context, which is the same for all of them.

        Raises
        ------
        KeyError
            A row lacks a column.
        """
        num_rows = len(rows)
        if context is None:
            texts = list(chain.from_iterable(map(self._of_texts, rows)))
            numbers = as_numbers(list(chain.from_iterable(map(self._of_numbers, rows))), num_rows, by_row=True)
            cells = _Cells(lambda name: [row[name] for row in rows], {}, num_rows)
            return self._laid(texts, cells, *self._by_row, numbers, self._none_alike)
        order = self._order(frozenset(context))
        texts = list(chain.from_iterable(map(order.of_texts, rows)))
        texts += [context[name] for name in order.texts_once]
        numbers = np.empty((len(self._plain_numbers), num_rows))
        if order.numbers:
            listed = list(chain.from_iterable(map(order.of_numbers, rows)))
            numbers[order.places] = as_numbers(listed, num_rows, by_row=True)
        self._numbers_once(order, context, numbers)
        first = np.where(order.step, order.columns_before, order.columns_before * num_rows + order.cells_before)
        cells = _Cells(lambda name: [row[name] for row in rows], context, num_rows)
        return self._laid(texts, cells, first, order.step * len(order.texts), numbers, order.alike)

    def of_lists(self, columns: Mapping[str, Sequence[Any]], num_rows: int, shared: frozenset[str]) -> Laid:
        """Lay out columns that are lists; of `shared` ones the first cell alone."""
        order = self._order(shared)
        context = {name: columns[name][0] for name in shared if name in columns}
        texts = list(chain.from_iterable([columns[name] for name in order.texts]))
        texts += [context[name] for name in order.texts_once]
        numbers = np.empty((len(self._plain_numbers), num_rows))
        if order.numbers:
            listed = list(chain.from_iterable([columns[name] for name in order.numbers]))
            numbers[order.places] = as_numbers(listed, num_rows, by_row=False)
        self._numbers_once(order, context, numbers)
        first = order.columns_before * num_rows + order.cells_before
        cells = _Cells(columns.__getitem__, context, num_rows)
        return self._laid(texts, cells, first, order.step, numbers, order.alike)

    def _numbers_once(self, order: _Order, context: Mapping[str, Any], numbers: Float64s) -> None:
        """Write the numbers of a context, in all rows."""
        if order.numbers_once:
            numbers[order.places_once] = as_numbers([context[name] for name in order.numbers_once], 1, by_row=False)

    def _laid(
        self, texts: list[Any], cells: _Cells, first: Int64s, step: Int64s, numbers: Float64s, alike: Bools
    ) -> Laid:
        """Lay texts end to end, and the values of bags behind them."""
        laid = lay_out(texts, [_bag(field, cells.of_bag(field)) for field in self._bags], cells.num_rows)
        vectors = {field.name: _vectors(field, *cells.of_vector(field)) for field in self._vectors}

        def rest() -> pa.Table:
            return as_table({name: cells.whole(name) for name in self._left_columns}, lambda name: True)

        return Laid(self._raw(laid, first, step, numbers, alike), vectors, rest)

    def of_table(self, table: pa.Table) -> Laid:
        """Lay out a table."""
        columns, num_rows = Columns(table), table.num_rows
        pieces, weights = [], []
        for name in self._served.texts:
            with reading(name):
                array = plain(columns.array(name))
                if name in self._served.patterned and not is_text(array.type):
                    raise Refused
                pieces.append(as_text(array))
        bags = np.zeros((len(self._bags), num_rows + 1), dtype=np.int64)
        begin = len(self._served.texts) * num_rows
        for place, field in enumerate(self._bags):
            lengths, values, of_values, are_known = weigh_cells(columns, field)
            if not are_known:
                raise Refused
            with reading(_column_of(field)):
                pieces.append(as_text(plain(values)))
            weights.append(of_values)
            bags[place, 0] = begin
            bags[place, 1:] = begin + np.cumsum(lengths)
            begin = int(bags[place, -1])
        data, offsets = joined_texts(pieces)
        numbers = np.empty((len(self._plain_numbers), num_rows))
        for place, name in enumerate(self._plain_numbers):
            numbers[place] = numbers_of(self._fields[name], columns)
        num_texts = len(self._served.texts)
        laid = Texts(data, offsets, 0, bags, np.concatenate(weights) if self._are_weighted else _NO_WEIGHTS)
        first, step = np.arange(num_texts) * num_rows, np.ones(num_texts, dtype=np.int64)
        vectors = {field.name: self._fields[field.name].read(columns, {}) for field in self._vectors}
        if any(cells.rejects for cells in vectors.values()):
            raise Refused
        return Laid(self._raw(laid, first, step, numbers, self._none_alike), vectors, lambda: table)

    def _raw(self, laid: Texts, first: Int64s, step: Int64s, numbers: Float64s, alike: Bools) -> Raw:
        data, offsets, gap, bags, weights = laid
        for place, field in enumerate(self._bags):
            if field.weight_scale == "log":
                begin, end = bags[place, 0] - bags[0, 0], bags[place, -1] - bags[0, 0]
                weights[begin:end] = compressed(weights[begin:end])
        return Raw(data, words_of(data), offsets, gap, first, step, bags, weights, numbers, _NO_GIVEN, alike)


def numbers_of(of_field: FieldEncoder, columns: Columns) -> Float64s:
    """Return the numbers (B,) of a field, as the encoder reads them."""
    assert isinstance(of_field, NumberEncoder)
    cells = of_field.read_numbers(columns)
    if cells.rejects or cells.numbers is None:
        raise Refused
    return cells.numbers


def _column_of(field: Field) -> str:
    assert field.column is not None
    return field.column


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """Return what takes some values of a row, all at once."""
    if len(names) > 1:
        return itemgetter(*names)
    return (lambda row: (row[names[0]],)) if names else (lambda row: ())


def _bag(field: Field, column: Callable[[str], Sequence[Any]]) -> Bag:
    weights = None if field.weights is None else column(field.weights)
    return Bag(column(_column_of(field)), field.separator, field.weighted, weights)


def _vectors(field: Field, cells: Sequence[Any], times: int = 1) -> Cells:
    """Return the cells of a vector, all of them so many times."""
    assert field.length is not None
    numbers, offsets = as_vectors(cells, field.length)
    if times > 1:
        numbers, offsets = np.tile(numbers, times), np.arange(times + 1) * offsets[-1]
    return Cells(numbers=numbers, offsets=offsets)


def _order(
    served: Served, fields: Mapping[str, FieldEncoder], number_columns: Sequence[str], shared: frozenset[str]
) -> _Order:
    once = np.array([name in shared for name in served.texts], dtype=np.bool_)
    number_once = np.array([name in shared for name in number_columns], dtype=np.bool_)
    texts = [name for name in served.texts if name not in shared]
    numbers = [name for name in number_columns if name not in shared]
    return _Order(
        texts,
        [name for name in served.texts if name in shared],
        np.where(once, (~once).sum(), np.cumsum(~once) - 1),
        np.where(once, np.cumsum(once) - 1, 0),
        (~once).astype(np.int64),
        numbers,
        [name for name in number_columns if name in shared],
        np.flatnonzero(~number_once),
        np.flatnonzero(number_once),
        _alike_in_plan(served, fields, shared) if shared else np.zeros(len(served.names), dtype=np.bool_),
        _getter(texts),
        _getter(numbers),
    )


def _alike_in_plan(served: Served, fields: Mapping[str, FieldEncoder], shared: frozenset[str]) -> Bools:
    """Return which fields of the plan read `shared` columns alone, or combine such fields."""
    left = {*served.given, *served.styled}
    alike: dict[str, bool] = {}
    for name in served.names:
        field = fields[name].field
        alike[name] = name not in left and shared.issuperset(field.columns) and all(alike[p] for p in field.parts)
    return np.array([*alike.values()], dtype=np.bool_)


def _fields_alike(served: Served, fields: Mapping[str, FieldEncoder], shared: frozenset[str]) -> Bools:
    """Return which fields of the log (F,) read `shared` columns alone, or combine such fields."""
    alike = dict(zip(served.names, _alike_in_plan(served, fields, shared).tolist(), strict=True))
    alike |= {name: shared.issuperset(fields[name].field.columns) for name in served.vectors}
    return np.array([alike.get(name, False) for name in fields])
