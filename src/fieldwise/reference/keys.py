"""The tables and keys of a configuration: names, types and defaults from its structs, meanings from their docstrings.

The docstring of a struct has a numpydoc section ``Attributes``, the one place where the meaning of a key is written.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args, get_origin

import msgspec

from fieldwise.reference.words import describe, in_toml

__all__ = ["Key", "KeyTable", "is_table", "meanings", "summary", "tables"]


class Key(NamedTuple):
    """A key of a configuration.

    Attributes
    ----------
    name
        Without its table.
    takes
        What its type takes, in words.
    default
        As a configuration file writes it; None where it is not set.
    required
        Whether it must be given.
    meaning
        Of its struct's docstring, paragraphs joined.
    """

    name: str
    takes: str
    default: str | None
    required: bool
    meaning: str


class KeyTable(NamedTuple):
    """A table of a configuration: ``path`` as in ``[train.table]``, its summary and its keys."""

    path: str
    summary: str
    keys: tuple[Key, ...]


def tables(
    kind: type[msgspec.Struct], path: str = "", *, leave_out: tuple[str, ...] = (), inferred: Mapping[type, type] = {}
) -> Iterator[KeyTable]:
    """Yield the tables of a struct, outer before inner, in the order of its fields.

    Parameters
    ----------
    kind
        The struct, whose fields may be structs, or mappings of a name to a struct: ``[fields.NAME]``.
    path
        The table that it stands for.
    leave_out
        Names of fields that are no keys.
    inferred
        For a struct whose unset keys are inferred, the struct of what they become: its meanings and defaults count
        where the first has none.

    Examples
    --------
    >>> class Options(msgspec.Struct):
    ...     '''Settings of a part.
    ...
    ...     Attributes
    ...     ----------
    ...     width
    ...         How wide it is.
    ...     '''
    ...     width: int = 3
    >>> [table] = tables(Options, "part")
    >>> table.path, table.summary, table.keys[0].default, table.keys[0].meaning
    ('part', 'Settings of a part.', '3', 'How wide it is.')
    """
    fields = [field for field in msgspec.structs.fields(kind) if field.name not in leave_out]
    full = inferred.get(kind)
    own = meanings(kind)
    known = {**(meanings(full) if full else {}), **own}
    others = () if full is None else msgspec.structs.fields(full)
    defaults = {field.name: field.default for field in others if field.name not in own}
    keys = tuple(_key(field, known, defaults) for field in fields if inner_table(field.type) is None)
    if keys:
        yield KeyTable(path, summary(kind), keys)
    for field in fields:
        inner = inner_table(field.type)
        if inner is not None:
            name = f"{path}.{field.name}".lstrip(".") + ("" if is_table(field.type) else ".NAME")
            yield from tables(inner, name, inferred=inferred)


def is_table(kind: Any) -> bool:
    """Whether a type is a struct, and so a table of a file."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def inner_table(kind: Any) -> type[msgspec.Struct] | None:
    """Return the struct of a table, or of the tables of a mapping; None for a plain value."""
    if get_origin(kind) is dict:
        kind = get_args(kind)[1]
    elif get_origin(kind) is tuple:
        return None
    elif not is_table(kind):
        kind = next((each for each in get_args(kind) if is_table(each)), None)
    return kind if is_table(kind) else None


def summary(kind: type) -> str:
    """Return the first paragraph of a docstring, in one line."""
    return _plain((inspect.getdoc(kind) or "").split("\n\n")[0])


def meanings(kind: type) -> dict[str, str]:
    """Return what the section ``Attributes`` of a docstring says of each; a struct's base counts where it says nothing.

    Names that share a text (``weight, group``) each get it.
    """
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        doc = inspect.cleandoc(each.__doc__ or "")
        section = re.search(r"(?s)(?:^|\n)Attributes\n-+\n(.*?)(?=\n\n?\w+\n-+\n|\Z)", doc)
        for names, text in re.findall(r"(?m)^(\S.*)\n((?:(?:[ ].*)?(?:\n|\Z))+)", section[1] if section else ""):
            found |= dict.fromkeys(names.split(", "), _plain(text))
    return found


def _key(field: msgspec.structs.FieldInfo, known: Mapping[str, str], defaults: Mapping[str, Any]) -> Key:
    value = field.default if field.default is not None else defaults.get(field.name)
    if value is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()  # type: ignore[operator, unused-ignore]
    unset = value in (None, "", (), [], {}, msgspec.NODEFAULT, msgspec.UNSET)
    default = None if unset else in_toml(value)
    return Key(field.name, describe(field.type), default, field.required, known.get(field.name, ""))


def _plain(text: str) -> str:
    return " ".join(text.split())
