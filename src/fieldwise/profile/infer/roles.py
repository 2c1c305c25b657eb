"""Descriptions of the columns with a role in ``[data]``, and which columns are not inputs of the model."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from fieldwise.errors import DataError
from fieldwise.features.canonical import as_text, plain
from fieldwise.schema import Schema

__all__ = ["check_role", "group_remarks", "no_inputs"]

_MEANINGS = {
    "weight": "example weight (data.weight)",
    "group": "GAUC group (data.group)",
    "id": "example identifier (data.id)",
    "split": "train, valid or test (data.split)",
}

_NOUNS = {"label": "label", "weight": "weight", "group": "group", "id": "identifier", "split": "split"}


def check_role(role: str, name: str, kind: pa.DataType) -> None:
    """Refuse a column of lists, structs and whatever else has no text for a role in ``[data]``.

    Raises
    ------
    DataError
        A column of this type cannot have the role.
    """
    try:
        as_text(plain(pa.array([], kind)))
    except (DataError, pa.ArrowException):
        raise DataError(
            f"a column of this type cannot be the {_NOUNS.get(role, role)}",
            where=f"data.{role}, column {name}",
            expected="one value in each row: text, numbers, booleans, dates or timestamps",
            got=kind,
            fix="name another column, or write one value per row into a column of its own",
        ) from None


def no_inputs(schema: Schema, left_out: Mapping[str, str]) -> dict[str, str]:
    """Return the columns that are not inputs, with the reason: those with a role, then those left out.

    Examples
    --------
    >>> from fieldwise.schema import Field
    >>> schema = Schema(fields=(Field(name="ad", column="ad"),), label="click", id="key", group="user")
    >>> no_inputs(schema, {"x": "no value in any row"})
    {'user': 'GAUC group (data.group)', 'key': 'example identifier (data.id)', 'x': 'no value in any row'}
    """
    roles = {column: meaning for role, meaning in _MEANINGS.items() if (column := getattr(schema, role)) is not None}
    if schema.time is not None and schema.time.column is not None:
        roles[schema.time.column] = "time of the example, by which parts are cut (data.time)"
    return {**{column: meaning for column, meaning in roles.items() if column not in schema.columns}, **left_out}


def group_remarks(schema: Schema) -> list[str]:
    """Return a remark if the group column is also an input."""
    if schema.group is None or schema.group not in schema.columns:
        return []
    return [f'{schema.group} is the GAUC group and also an input; to exclude it, set data.exclude = ["{schema.group}"]']
