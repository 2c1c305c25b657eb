"""Raw rows to the features of a batch, with one call of a kernel (`kernels.serve`) for all that it can take.

The values of rows are laid end to end, as text or as numbers, without a look at what they are (`serving.raw`): Python's
own `join` and numpy refuse what is neither. Whatever is refused, and whatever the kernel does not know, goes the
encoder's own way, which also has the words for what is wrong with it. Both give the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa

from fieldwise.data.tables import as_table
from fieldwise.errors import DataError
from fieldwise.features.cells import Cells
from fieldwise.features.columns import Columns
from fieldwise.features.encoder import Encoder
from fieldwise.features.numerals import without_setting
from fieldwise.features.served import as_served
from fieldwise.kernels.layout import BAG, Batch
from fieldwise.kernels.serve import BAG_OF_TEXTS, Raw, encode_rows
from fieldwise.serving.plan import Served, plan_of
from fieldwise.serving.raw import Laid, RawReader, numbers_of
from fieldwise.serving.values import ROOM, Refused, words_of

__all__ = ["RowEncoder"]

_LISTS = (list, tuple)


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
        self._are_bags = np.flatnonzero(served.plan.kind == BAG_OF_TEXTS)
        lines = dict(zip(fields, layout.single.tolist(), strict=True))
        self._given_lines = [lines[name] for name in served.given]
        self._left = (*served.given, *served.styled, *served.left_bags)
        self._needed_left = self._needed((*served.given, *served.left_bags))
        left = {column for name in self._needed(self._left) for column in fields[name].field.columns}
        self._reader = RawReader(fields, served, sorted(left))
        self.fields_alike = self._reader.fields_alike

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
                return self._encode(len(records), self._reader.of_records(records))
            except (Refused, KeyError):
                return self.encode_table(as_table(rows, self.columns.__contains__), fast=False)
        table = as_table(rows, self.columns.__contains__)
        if not table.num_columns and not table.num_rows:  # an empty list
            table = pa.table({name: pa.array([], pa.string()) for name in self.columns})
        return self.encode_table(table)

    def encode_columns(self, columns: Mapping[str, Any], shared: frozenset[str] = frozenset()) -> Batch:
        """Return the features of rows that are given as columns of the same length: lists, numpy or Arrow arrays.

        The cells of `shared` columns are the same in all rows, and those of the first are encoded; where there are
        other columns, they may have one cell.
        """
        lengths = {len(columns[name]) for name in columns.keys() - shared} or {len(each) for each in columns.values()}
        num_rows = max(lengths, default=0)
        if all(type(values) in _LISTS for values in columns.values()):
            if len(lengths) == 1 and num_rows and self.columns <= columns.keys():
                if self._fixed:
                    columns = {**columns, **{name: [value] * num_rows for name, value in self._fixed.items()}}
                with suppress(Refused):
                    return self._encode(num_rows, self._reader.of_lists(columns, num_rows, shared))
            return self.encode_table(self._whole(columns, num_rows, shared), fast=False)
        return self.encode_table(self._whole(columns, num_rows, shared))

    def encode_candidates(
        self, context: Mapping[str, Any], candidates: Sequence[Any]
    ) -> tuple[Batch, frozenset[str]] | None:
        """Return the features of candidates, each with the cells of the context, and the columns of the context.

        None where they are no dicts with the same columns, all of which are read, or the context lacks one of the
        others: `encode_columns` takes these.
        """
        own = candidates[0].keys() if candidates and type(candidates[0]) is dict else ()
        if not own or not own <= self.columns or {*map(type, candidates)} != {dict}:
            return None
        if {*map(len, candidates)} != {len(own)}:
            return None
        # Rows with as many columns as the first that have all of its columns have no others.
        with suppress(Refused, KeyError):
            shared = {name: context[name] for name in self.columns - own} | self._fixed
            return self._encode(len(candidates), self._reader.of_records(candidates, shared)), frozenset(shared)
        return None

    def _whole(self, columns: Mapping[str, Any], num_rows: int, shared: frozenset[str]) -> pa.Table:
        """Return a table with the cells of `shared` columns in every row."""
        again = {name: [columns[name][0]] * num_rows for name in shared & columns.keys() if len(columns[name]) == 1}
        return as_table({**columns, **again}, self.columns.__contains__)

    def encode_table(self, table: pa.Table, *, fast: bool = True) -> Batch:
        """Return the features of a table's rows; by the encoder's own way unless `fast`."""
        table = as_served(table, self.encoder.schema)
        if fast and table.num_rows:
            with suppress(Refused, DataError):  # which the encoder's own way says better
                return self._encode(table.num_rows, self._reader.of_table(table))
        try:
            encoded = self.encoder.transform(table, labelled=False)
        except DataError as error:
            # Whoever asks a trained model cannot change its fields: of the hints, names of columns alone are for them.
            fix = error.fix if error.fix is not None and error.fix.startswith(("did you mean", "known: ")) else None
            raise DataError(error.what, where=error.where, expected=error.expected, got=error.got, fix=fix) from None
        for bad in encoded.rejects:
            reason = without_setting(bad.reason)
            expected = "a number, or null where it is missing" if reason != bad.reason else None
            where = f"row {bad.row + 1}, column {bad.column}"
            raise DataError(reason, where=where, expected=expected, got=bad.value)
        return encoded.batch

    def _encode(self, num_rows: int, laid: Laid) -> Batch:
        served, raw, cells = self.served, laid.raw, laid.vectors
        if self._left:
            raw, of_left = self._with_left(raw, laid.rest())
            cells = {**cells, **of_left}
        room = 0
        if len(raw.bags):
            times = np.where(raw.alike[self._are_bags], num_rows, 1)
            room = int((raw.bags[:, -1] - raw.bags[:, 0]) @ times) + len(raw.bags) * num_rows
        longest = int(np.diff(raw.offsets).max(initial=0)) if len(raw.data) > 1 << 16 else len(raw.data)
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
        if served.left_bags or served.vectors:
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
            plain_numbers = iter(raw.numbers)
            numbers = [
                numbers_of(fields[name], columns) if name in served.styled else next(plain_numbers)
                for name in served.numbers
            ]
            raw = raw._replace(numbers=np.stack(numbers))
        return raw, found

    def _with_bags(self, batch: Batch, cells: Mapping[str, Cells]) -> Batch:
        """Put the bags that the kernel has made and those that were read beside it together, in the fields' order."""
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
