"""Descriptions of the columns with a role in ``[data]``, and which columns are not inputs of the model."""

from __future__ import annotations

from collections.abc import Mapping

from fieldwise.schema import Schema

__all__ = ["group_remarks", "no_inputs"]

_MEANINGS = {
    "weight": "example weight (data.weight)",
    "group": "GAUC group (data.group)",
    "id": "example identifier (data.id)",
    "time": "time of the example, by which parts are cut (data.time)",
    "split": "train, valid or test (data.split)",
}


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
    return {**{column: meaning for column, meaning in roles.items() if column not in schema.columns}, **left_out}


def group_remarks(schema: Schema) -> list[str]:
    """Return a remark if the group column is also an input."""
    if schema.group is None or schema.group not in schema.columns:
        return []
    return [f'{schema.group} is the GAUC group and also an input; to exclude it, set data.exclude = ["{schema.group}"]']
