"""A JSON Schema with the meaning of every key, by which editors complete and check a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fieldwise.reference.keys import inner_table, meanings, summary

__all__ = ["json_schema"]


def json_schema(
    kind: type[msgspec.Struct], *, title: str, leave_out: tuple[str, ...] = (), inferred: Mapping[type, type] = {}
) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a struct; see `reference.keys.tables` for the parameters."""
    schema = msgspec.json.schema(kind)
    described = schema["$defs"]
    for name, struct in _structs(kind).items():
        table = described[name]
        known = {**(meanings(inferred[struct]) if struct in inferred else {}), **meanings(struct)}
        table.pop("title", None)
        table["description"] = summary(struct)
        for key, value in table["properties"].items():
            if key in known:
                value["description"] = known[key]
    outer = described.pop(kind.__name__)
    for name in leave_out:
        outer["properties"].pop(name)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **outer, "$defs": described}


def _structs(kind: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    found = {kind.__name__: kind}
    for field in msgspec.structs.fields(kind):
        inner = inner_table(field.type)
        if inner is not None:
            found |= _structs(inner)
    return found
