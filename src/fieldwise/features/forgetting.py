"""An encoder without some values: as if they had left their vocabularies (`features.renewal`), without a trace.

A value is one text of a column; every field that reads the column forgets it, and so do crosses: those of its features
whose texts name it, and those that are it and a known value of the other part. Ids of others do not move. A bucket of
hashed values cannot be emptied of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fieldwise.errors import ConfigError, did_you_mean
from fieldwise.features.columns import Columns
from fieldwise.features.cross import BETWEEN, CrossEncoder
from fieldwise.features.encoder import Encoder
from fieldwise.features.indexed import IndexedEncoder
from fieldwise.features.renewal import texts_of_kept
from fieldwise.features.vocabulary import FIRST, Vocabulary
from fieldwise.kernels.fingerprint import combine
from fieldwise.kernels.hashtable import place, slots_for

__all__ = ["Forgotten", "check_forgettable", "fingerprints_of", "forget_values"]

Uint64s = npt.NDArray[np.uint64]
Int64s = npt.NDArray[np.int64]


class Forgotten(NamedTuple):
    """An encoder that has forgotten, and what.

    Attributes
    ----------
    encoder
        Without the values; the given one where it did not know any.
    ids
        Local ids that no value has any more, by field.
    keys
        The fingerprints that were looked for, by field; of crosses those that were found.
    hashed
        Fields with buckets, which the values share with others.
    """

    encoder: Encoder
    ids: dict[str, Int64s]
    keys: dict[str, Uint64s]
    hashed: list[str]


def fingerprints_of(encoder: Encoder, field: str, table: pa.Table) -> tuple[Uint64s, Int64s]:
    """Return the fingerprints of the values (N,) that a field of an encoder reads in a table of R rows, 0 for missing,
    and the row of each (N,).
    """
    cells = encoder.fields[field].read(Columns(table), {})
    rows = np.arange(table.num_rows)
    return cells.fingerprints, rows if cells.offsets is None else np.repeat(rows, np.diff(cells.offsets))


def check_forgettable(encoder: Encoder, field: str) -> IndexedEncoder:
    """Return a field of an encoder; ConfigError where it has no values that it knows by text."""
    fields = encoder.fields
    own = fields.get(field)
    if own is None or not isinstance(own, IndexedEncoder) or isinstance(own, CrossEncoder):
        known = [name for name, each in fields.items() if isinstance(each, IndexedEncoder) and each.field.column]
        raise ConfigError(
            "not a field of values that can be forgotten",
            where="--field",
            expected=f"one of {', '.join(known)}",
            got=field,
            fix=did_you_mean(field, known),
        )
    return own


def forget_values(encoder: Encoder, field: str, values: Sequence[str]) -> Forgotten:
    """Return an encoder without values of a field's column.

    Raises
    ------
    ConfigError
        There is no such field, or it has no values that it knows by text.

    Examples
    --------
    >>> from fieldwise.schema import Field, Schema
    >>> schema = Schema(fields=(Field(name="user", column="user"),), label="click")
    >>> log = pa.table({"user": ["ann", "bob", "ann", "eve"], "click": [1, 0, 0, 1]})
    >>> found = forget_values(Encoder(schema).fit([log]), "user", ["bob", "joe"])
    >>> found.ids["user"].tolist(), found.encoder.transform(log).batch.ids.tolist()
    ([4], [[2, 1, 2, 3]])
    """
    fields, column = encoder.fields, check_forgettable(encoder, field).field.column
    keys: dict[str, Uint64s] = {}
    ids: dict[str, Int64s] = {}
    hashed: list[str] = []
    for name, each in fields.items():
        if not isinstance(each, IndexedEncoder):
            continue
        if isinstance(each, CrossEncoder):
            parts = {part: keys[part] for part in each.field.parts if part in keys}
            if not parts:
                continue
            found = _of_cross(encoder, each, parts, values) if isinstance(each.index, Vocabulary) else None
        elif each.field.column == column:
            found = np.unique(fingerprints_of(encoder, name, pa.table({column: pa.array(values, pa.string())}))[0])
        else:
            continue
        if not isinstance(each.index, Vocabulary):
            hashed.append(name)
        if found is not None:
            keys[name] = found[found != 0]
        if isinstance(each.index, Vocabulary):
            known = each.index.lookup(keys[name]).astype(np.int64)
            ids[name] = np.sort(known[known >= FIRST])
    if not any(map(len, ids.values())):
        return Forgotten(encoder, ids, keys, hashed)
    arrays = encoder.arrays()
    for name, gone in ids.items():
        vocabulary = fields[name].index  # type: ignore[attr-defined]
        arrays |= {f"{name}.{key}": array for key, array in _without(vocabulary, gone).arrays().items()}
    return Forgotten(Encoder.from_arrays(encoder.describe(), arrays), ids, keys, hashed)


def _of_cross(encoder: Encoder, cross: CrossEncoder, parts: dict[str, Uint64s], values: Sequence[str]) -> Uint64s:
    """Return the fingerprints of a cross's features that have one of the values for a part."""
    vocabulary = cross.index
    assert isinstance(vocabulary, Vocabulary)
    names, wanted = cross.field.parts, set(values)
    texts = vocabulary.texts(range(FIRST, vocabulary.rows))
    of_texts = [
        place
        for place, text in enumerate(texts)
        if text is not None
        and any(part in wanted and name in parts for name, part in zip(names, text.split(BETWEEN), strict=False))
    ]
    found = [vocabulary.keys[of_texts]]
    if len(names) == 2:
        for at, (name, other) in enumerate((names, names[::-1])):
            index = getattr(encoder.fields[other], "index", None)
            if name in parts and isinstance(index, Vocabulary):
                for key in parts[name]:
                    pair = np.stack([np.full(index.rows - FIRST, key), index.keys], axis=1)
                    found.append(combine(pair[:, ::-1] if at else pair, cross.seed))
    everything = np.unique(np.concatenate(found))
    return everything[vocabulary.lookup(everything) >= FIRST]


def _without(vocabulary: Vocabulary, ids: Int64s) -> Vocabulary:
    keys, counts = vocabulary.keys, vocabulary.counts.copy()
    keys[ids - FIRST], counts[ids] = 0, 0
    slots = np.zeros((slots_for(len(keys)), 2), np.uint64)
    place(slots, keys, FIRST)
    return Vocabulary(slots, counts, *texts_of_kept(vocabulary, keys != 0))
