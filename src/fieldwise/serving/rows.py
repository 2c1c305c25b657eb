"""The rows of a request, by column, once they have been checked: what a model is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from fieldwise.errors import did_you_mean
from fieldwise.schema import Schema
from fieldwise.serving.columns import Column, columns_of
from fieldwise.serving.limits import Limits, too_many_rows, too_many_values
from fieldwise.serving.refusals import Refusal

__all__ = ["Reads", "Rows"]


class Rows(NamedTuple):
    """B rows by column.

    Attributes
    ----------
    columns
        The cells of every column that the model reads, in its order, (B,) each.
    num_rows
        B.
    ids
        The identifiers of the rows, where the request has the column of the schema's id.
    form
        Of each bag whether its cells are texts or lists; rows of different forms are not answered together.
    shared
        Columns with the same cell in all rows; rows that have some are answered alone.
    """

    columns: Sequence[Sequence[Any]]
    num_rows: int
    ids: Sequence[Any] | None = None
    form: tuple[bool, ...] = ()
    shared: frozenset[str] = frozenset()


class Reads:
    """The columns that a model reads, and what a request must hold of them.

    Every column must be in a request, as in a log; a row of it may lack some, which are missing then. So a request is
    taken or refused for what it holds itself, whatever it is answered together with.

    Attributes
    ----------
    columns
        Columns that fields read, but for those that have one cell in every row when a model answers.
    names
        Their names.
    fixed
        The names of the others, which are passed over: `schema.Field.serve_as`.
    taken
        The names of columns that are taken from a request.
    cells_of
        Takes the cells of a row that has them all; raises KeyError for others.
    id
        The column of the schema's identifier; None without one.
    """

    def __init__(self, schema: Schema) -> None:
        self.columns: tuple[Column, ...] = columns_of(schema)
        self.fixed = schema.served.keys()
        self.names = tuple(column.name for column in self.columns)
        self.id = schema.id
        get = itemgetter(*self.names) if self.names else lambda row: ()
        self.cells_of: Callable[[Mapping[str, Any]], Sequence[Any]] = (
            (lambda row: (get(row),)) if len(self.names) == 1 else get
        )
        self.taken = {*self.names} | ({schema.id} if schema.id else set())
        self._separators = {field.column: field.separator for field in schema.fields if field.type in ("bag", "vector")}
        self._bags = [
            (place, column, self._separators.get(column.name, "|"))
            for place, column in enumerate(self.columns)
            if column.kind in ("bag", "weights", "vector")
        ]

    def lacking(self, given: Sequence[str]) -> Refusal:
        """Return the refusal of a request with columns of which some are lacking."""
        if not given:
            return Refusal(400, f"the rows are empty; the model reads {', '.join(self.names)}")
        first, *others = [name for name in self.names if name not in given]
        if not others:
            return Refusal(400, f"the rows lack column {first}: {did_you_mean(first, given)}")
        more = ", ".join((first, *others[:9])) + (f" and {len(others) - 9} more" if len(others) > 9 else "")
        return Refusal(
            400, f"the rows lack columns {more}; a value that is not known is null (in tensors an empty text)"
        )

    def rows(self, columns: Mapping[str, Sequence[Any]], num_rows: int, limits: Limits) -> Rows:
        """Return the rows of columns of equal length; columns that nobody reads are passed over.

        Raises
        ------
        Refusal
            A column is missing; there are too many rows, or too many values in a cell.
        """
        too_many_rows(num_rows, limits)
        try:
            cells = [columns[name] for name in self.names]
        except KeyError:
            raise self.lacking([*columns]) from None
        return self.checked(cells, num_rows, columns.get(self.id) if self.id is not None else None, limits)

    def checked(self, cells: Sequence[Sequence[Any]], num_rows: int, ids: Sequence[Any] | None, limits: Limits) -> Rows:
        """Return rows of which there are the cells of every column, in order.

        Raises
        ------
        Refusal
            There are too many values in a cell.
        """
        if ids is not None and any(isinstance(cell, (list, dict)) for cell in ids):
            raise Refusal(400, f"column {self.id}: an identifier is one text or number, not a list or an object")
        form = []
        for place, column, separator in self._bags:
            is_bag, name = column.length is None, column.name  # the encoder refuses a vector of another length
            are_lists = False
            for cell in cells[place]:
                if isinstance(cell, str):
                    if is_bag and len(cell) >= limits.values:  # as many values have as many separators
                        too_many_values(cell.count(separator) + 1, name, limits)
                elif isinstance(cell, (list, dict)):
                    if is_bag:
                        too_many_values(len(cell), name, limits)
                    are_lists = True
            form.append(are_lists)
        return Rows(cells, num_rows, ids, tuple(form))
