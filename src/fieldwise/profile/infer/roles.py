"""What is said of the columns that have a role in ``[data]``: which are inputs of the model, and which are not."""

from __future__ import annotations

from collections.abc import Mapping

from fieldwise.schema import Schema

__all__ = ["group_remarks", "no_inputs"]

_MEANINGS = {
    "weight": "the weight of an example (data.weight)",
    "group": "the groups of GAUC (data.group)",
    "id": "names the example (data.id)",
    "split": "says which part a row belongs to (data.split)",
}


def no_inputs(schema: Schema, left_out: Mapping[str, str]) -> dict[str, str]:
    """Return the columns that are no inputs, with the reason: those of roles, then those that are left out.

    Examples
    --------
    >>> from fieldwise.schema import Field
    >>> schema = Schema(fields=(Field(name="ad", column="ad"),), label="click", id="key", group="user")
    >>> no_inputs(schema, {"x": "no value in any row"})
    {'user': 'the groups of GAUC (data.group)', 'key': 'names the example (data.id)', 'x': 'no value in any row'}
    """
    roles = {column: meaning for role, meaning in _MEANINGS.items() if (column := getattr(schema, role)) is not None}
    return {**{column: meaning for column, meaning in roles.items() if column not in schema.columns}, **left_out}


def group_remarks(schema: Schema) -> list[str]:
    """Say that the column of the groups is an input, where it is."""
    if schema.group is None or schema.group not in schema.columns:
        return []
    return [
        f'{schema.group} makes the groups of GAUC and is an input, too; data.exclude = ["{schema.group}"] keeps it out'
    ]
