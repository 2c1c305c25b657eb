"""Slow twin of the CSV reader: Arrow's parser alone, on one thread, over the whole text."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.csv as pa_csv


def read(data, columns, delimiter, quote):
    """Return ({row: cells}, {row: text of a row with another number of cells}); rows from 1, empty lines not counted.

    All of `data` is UTF-8, and every quote is closed.
    """
    refused = {}

    def refuse(row):
        refused[row.number] = row.text
        return "skip"

    if not data.strip(b"\r\n"):
        return {}, {}
    table = pa_csv.read_csv(
        pa.BufferReader(b"\n" + data),
        read_options=pa_csv.ReadOptions(use_threads=False, block_size=len(data) + 2, column_names=columns),
        parse_options=pa_csv.ParseOptions(
            delimiter=delimiter, quote_char=quote or False, newlines_in_values=True, invalid_row_handler=refuse
        ),
        convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.binary())),
    )
    cells = zip(*(column.cast(pa.string()).to_pylist() for column in table.columns), strict=True)
    numbers = (number for number in range(1, table.num_rows + len(refused) + 1) if number not in refused)
    return dict(zip(numbers, cells, strict=True)), refused
