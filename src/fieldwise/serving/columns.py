"""The raw columns that a model reads."""

from __future__ import annotations

from typing import Literal, NamedTuple

from fieldwise.schema import Field, Schema

__all__ = ["Column", "ColumnKind", "columns_of"]

ColumnKind = Literal["text", "number", "time", "bag", "weights", "vector"]


class Column(NamedTuple):
    """A raw column that one or more fields read.

    Attributes
    ----------
    name
        As in the log.
    kind
        ``text``: any value, by its canonical text; ``number``; ``time``; ``bag``: several values, as a list or as text
        with a separator; ``weights``: those of the values of a bag, in the same form; ``vector``: a list of numbers.
    fields
        The names of the fields that read it.
    length
        Of a vector: how many numbers.
    """

    name: str
    kind: ColumnKind
    fields: tuple[str, ...]
    length: int | None = None


def columns_of(schema: Schema) -> tuple[Column, ...]:
    """Return the columns that the fields of a schema read when a model answers, each once, in order.

    A cross reads none of its own, and a column whose value is fixed (`schema.Field.serve_as`) is not asked for.

    Where fields of several kinds read one column, it is of the first kind of text, bag, weights, vector, time, number.

    Examples
    --------
    >>> time = Field(name="hour", type="time", column="at", part="hour")
    >>> schema = Schema(fields=(time, Field(name="city", column="city")), label="click")
    >>> [(column.name, column.kind) for column in columns_of(schema)]
    [('at', 'time'), ('city', 'text')]
    """
    kinds: dict[str, set[ColumnKind]] = {}
    readers: dict[str, list[str]] = {}
    lengths = {field.column: field.length for field in schema.fields}
    for field in schema.fields:
        for name, kind in _reads(field):
            if name in schema.served:
                continue
            kinds.setdefault(name, set()).add(kind)
            readers.setdefault(name, []).append(field.name)
    order: tuple[ColumnKind, ...] = ("text", "bag", "weights", "vector", "time", "number")
    found = []
    for name, of_column in kinds.items():
        kind = next(kind for kind in order if kind in of_column)
        length = lengths[name] if kind == "vector" else None
        found.append(Column(name, kind, tuple(dict.fromkeys(readers[name])), length))
    return tuple(found)


def _reads(field: Field) -> list[tuple[str, ColumnKind]]:
    own: ColumnKind = {"category": "text", "number": "number", "bag": "bag", "vector": "vector"}.get(field.type, "time")  # type: ignore[assignment]
    return [
        (name, kind)
        for name, kind in ((field.column, own), (field.weights, "weights"), (field.since, "time"))
        if name is not None
    ]
