"""Columns whose value is fixed when a model answers: the position of an ad, say, which is known in training alone."""

from __future__ import annotations

import pyarrow as pa

from fieldwise.schema import Schema

__all__ = ["as_served"]


def as_served(table: pa.Table, schema: Schema) -> pa.Table:
    """Return rows as a model is asked them: with the values of `schema.Field.serve_as` in place of their own.

    Examples
    --------
    >>> from fieldwise.schema import Field
    >>> schema = Schema(fields=(Field(name="position", column="position", serve_as="1"),), label="click")
    >>> as_served(pa.table({"user": ["u1", "u2"]}), schema).to_pydict()
    {'user': ['u1', 'u2'], 'position': ['1', '1']}
    """
    for name, value in schema.served.items():
        column = pa.repeat(pa.scalar(value), table.num_rows)
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    return table
