"""Types in words: what a key of a configuration takes."""

from __future__ import annotations

import json
from typing import Any

from msgspec import inspect

__all__ = ["describe", "in_toml"]


def describe(kind: Any) -> str:
    """Return what a type takes, in the words of a TOML file.

    Examples
    --------
    >>> from typing import Annotated, Literal
    >>> from msgspec import Meta
    >>> describe(Annotated[int, Meta(ge=1, le=64)]), describe(Annotated[float, Meta(gt=0)] | None)
    ('whole number, 1 to 64', 'number > 0')
    >>> describe(bool | Literal["auto"]), describe(tuple[Annotated[int, Meta(ge=1)], ...])
    ('true or false, or "auto"', 'list of whole numbers >= 1')
    """
    return _words(inspect.type_info(kind), False)


def in_toml(value: object) -> str:
    """Return a value as a configuration file writes it.

    Examples
    --------
    >>> print(in_toml(("a", 1.5)), in_toml(False), in_toml('"'))
    ["a", 1.5] false '"'
    """
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(in_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {in_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, str) and '"' in value and "'" not in value and value.isprintable():
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False, default=str)


def _words(kind: inspect.Type, plural: bool) -> str:
    s = "s" if plural else ""
    match kind:
        case inspect.IntType():
            return f"whole number{s}{_range(kind)}"
        case inspect.FloatType():
            return f"number{s}{_range(kind)}"
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType(min_length=1, max_length=1):
            return f"single character{s}"
        case inspect.StrType(max_length=1):
            return f"single character{s}, or empty"
        case inspect.StrType(min_length=1):
            return "texts that are not empty" if plural else "text that is not empty"
        case inspect.StrType():
            return f"text{s}"
        case inspect.LiteralType():
            return _either([json.dumps(value) for value in kind.values])
        case inspect.ListType() | inspect.VarTupleType():
            each = _words(kind.item_type, True)
            return f"list{s}, each {_words(kind.item_type, False)}" if " or " in each else f"list{s} of {each}"
        case inspect.TupleType():
            return f"list{s} of {len(kind.item_types)} {_words(kind.item_types[0], True)}"
        case inspect.UnionType():
            return _of_several(kind, plural)
        case inspect.StructType() | inspect.DictType():
            return f"table{s}"
    return "anything"


def _of_several(kind: inspect.UnionType, plural: bool) -> str:
    kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
    if any(isinstance(each, inspect.FloatType) for each in kinds):
        kinds = [each for each in kinds if not isinstance(each, inspect.IntType)]  # a whole number is a number
    # The values of a Literal come last: `true or false, or "auto"`.
    kinds.sort(key=lambda each: isinstance(each, inspect.LiteralType))
    words = [_words(each, plural) for each in kinds]
    return ", or ".join(words) if any(" or " in each or ", " in each for each in words) else _either(words)


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _range(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f", {_number(kind.ge)} to {_number(kind.le)}"
    signs = ((">", kind.gt), (">=", kind.ge), ("<", kind.lt), ("<=", kind.le))
    limits = [f"{sign} {_number(limit)}" for sign, limit in signs if limit is not None]
    return f" {' and '.join(limits)}" if limits else ""


def _number(limit: float) -> str:
    return f"{limit:,}"
