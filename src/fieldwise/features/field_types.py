"""Field types of your own: functions from the canonical texts of a column to the features of a field.

A type is registered under a name, which is a ``[fields.NAME] type`` from then on::

    register_field_type("domain", domain)                      # one text for each cell: a category
    register_field_type("ip-prefixes", prefixes, bag=True)     # a list of texts for each cell: a bag

All else is that of a category or bag: fingerprints, vocabulary, ``min_count``, ``buckets``, crosses. Preparing and
prediction call the same function in the same place (`features.indexed`, `features.bags`). A prepared log and a saved
model hold name and version, never code: whoever opens them imports the module first. On the command line,
``--import MODULE`` does so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, get_args

import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.errors import ConfigError, DataError, did_you_mean
from fieldwise.features.canonical import canonical, is_list, is_text, plain
from fieldwise.schema import CustomType, Field, FieldType

__all__ = ["Convert", "convert", "custom_type", "register_field_type"]

Convert = Callable[[pa.Array], pa.Array]
"""``convert(texts)``: (B,) canonical texts (`features.canonical`), null where the cell is missing, to an array of B
texts, or of B lists of texts for a bag; null, or an empty list, is missing. Chunks of a log come in any order and from
several threads: the result must depend on nothing but the cell."""


class _Registered(NamedTuple):
    convert: Convert
    version: int
    bag: bool


_BUILT_IN = get_args(FieldType)
_TYPES: dict[str, _Registered] = {}


def register_field_type(name: str, convert: Convert, *, version: int = 1, bag: bool = False) -> None:
    """Make `convert` known as ``[fields.NAME] type = name``, to preparing, to training and to saved models.

    Parameters
    ----------
    name
        Letters, digits, ``-`` and ``_``.
    convert
        See `Convert`.
    version
        To be raised when `convert` returns other texts than before: logs are then prepared again, and models that were
        trained with another version are refused.
    bag
        Whether `convert` returns a list of texts for each cell.

    Raises
    ------
    ConfigError
        The name belongs to another type, or has an invalid character.

    Examples
    --------
    >>> register_field_type("initial", lambda texts: pc.utf8_slice_codeunits(texts, 0, 1))
    >>> custom_type("initial")
    (CustomType(name='initial', version=1), 'category')
    """
    new = _Registered(convert, version, bag)
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ConfigError("invalid name of a field type", where="register_field_type",
                          expected="letters, digits, - and _", got=name)  # fmt: skip
    if name in _BUILT_IN or _TYPES.get(name, new) != new:
        raise ConfigError(
            "the name of the field type is taken",
            where="register_field_type",
            got=name,
            fix="choose another; after a change of the function, restart Python",
        )
    _TYPES[name] = new


def custom_type(name: str, where: str | None = None) -> tuple[CustomType, FieldType] | None:
    """Return a registered type with its version, and the built-in type that it is read as; None for a built-in one.

    Raises
    ------
    ConfigError
        Nobody has registered the name; `where` is where it was found.
    """
    if name in _BUILT_IN:
        return None
    if name not in _TYPES:
        known = (*_BUILT_IN, *_TYPES)
        raise ConfigError(
            "unknown field type",
            where=where,
            got=name,
            fix=f"{did_you_mean(name, known)}; to use a type of your own, import its module: --import MODULE",
        )
    return CustomType(name, _TYPES[name].version), "bag" if _TYPES[name].bag else "category"


def refuse_unregistered(field: Field, where: object) -> None:
    """Raise if a prepared log or saved model has a field of a type that is not registered in this version.

    Raises
    ------
    ConfigError
        With the name and the version of the type.
    """
    if not field.custom:
        return
    name, version = field.custom.name, field.custom.version
    found = _TYPES.get(name)
    if found is None or (found.version, found.bag) != (version, field.type == "bag"):
        raise ConfigError(
            "the encoder needs a field type of your own",
            where=f"{where or 'encoder'}, field {field.name}",
            expected=f"the type {name} in version {version}, a {field.type}",
            got="no type of this name" if found is None else f"version {found.version}, a {_kind(found)}",
            fix="import the module that registers it: --import MODULE, or import MODULE in Python"
            if found is None
            else "register the version that the model was trained with, or train again",
        )


def convert(field: Field, texts: pa.Array) -> pa.Array:
    """Return the canonical texts of a field's own type, (B,), or their lists; `texts` are those of the column.

    Raises
    ------
    DataError
        The function failed, or returned something other than B texts or lists of texts.
    """
    assert field.custom
    own = _TYPES[field.custom.name]
    texts = plain(texts)
    gone = pc.is_in(texts, value_set=pa.array(field.missing, texts.type))
    texts = pc.if_else(gone, pa.scalar(None, texts.type), texts)
    try:
        found = own.convert(texts)
    except Exception as error:
        raise DataError(
            f"the field type {field.custom.name} has failed", got=f"{type(error).__name__}: {error}"
        ) from error
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    if isinstance(found, pa.Array) and _is_all_missing(found.type, own.bag):  # what pa.array makes of nothing but nulls
        found = found.cast(pa.list_(pa.string()) if own.bag else pa.string())
    good = isinstance(found, pa.Array) and len(found) == len(texts)
    if good and own.bag:
        good = is_list(found.type) and is_text(found.type.value_type)
    elif good:
        good = is_text(found.type)
    if not good:
        raise DataError(
            f"the field type {field.custom.name} has returned an invalid result",
            expected=f"an array of {len(texts)} {'lists of texts' if own.bag else 'texts'}",
            got=f"{len(found)} of {found.type}" if isinstance(found, pa.Array) else type(found).__name__,
        )
    return found if own.bag else canonical(found)


def _is_all_missing(kind: pa.DataType, bag: bool) -> bool:
    return pa.types.is_null(kind) or (bag and is_list(kind) and pa.types.is_null(kind.value_type))


def _kind(own: _Registered) -> str:
    return "bag" if own.bag else "category"
