"""What a fitted encoder does with a row, as arrays for `kernels.serve`, and which fields are left to the encoder."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fieldwise.features.encoder import Encoder
from fieldwise.features.fields import FieldEncoder
from fieldwise.features.indexed import IndexedEncoder
from fieldwise.features.missing import missing_numbers
from fieldwise.features.moments import PER_SECOND, missing_moments
from fieldwise.features.numbers import BinEncoder, ScaleEncoder
from fieldwise.features.numerals import style_of
from fieldwise.features.times import CalendarEncoder, zone_changes
from fieldwise.features.vocabulary import Vocabulary
from fieldwise.kernels.layout import BAG, Layout
from fieldwise.kernels.moments import PARTS
from fieldwise.kernels.serve import (
    AGE,
    BAG_OF_TEXTS,
    BINNED,
    CALENDAR,
    CATEGORY,
    CROSS,
    GIVEN,
    NORMS,
    SCALED,
    SCALES,
    Plan,
)  # fmt: skip
from fieldwise.kernels.times import ISO, compile_pattern
from fieldwise.schema import Field

__all__ = ["Served", "plan_of"]


_LISTS = ("texts", "numbers", "bags", "vectors", "given", "left", "names")


class Served(NamedTuple):
    """How the rows of an encoder are encoded.

    Attributes
    ----------
    plan
        Of the kernel, which knows fields by their number among `names`.
    names
        The fields that the kernel encodes: all but `vectors` and `left_bags`.
    texts
        The columns of text, those of times among them, in their order.
    patterned
        Those of them that are times in a pattern of the field's own.
    numbers
        The fields with a number of a column, in their order; those among `styled` are read by the encoder.
    bags
        The fields with texts in bags, in their order.
    vectors
        The vectors, in their order, whose numbers are scaled by the encoder.
    given
        The fields with one id that the encoder gives: types of somebody's own.
    left_bags
        Bags that the encoder reads: written as lists, of a type of somebody's own, or crossed.
    styled
        Fields whose numbers the encoder reads, because they are not written plainly.
    """

    plan: Plan
    names: tuple[str, ...]
    texts: tuple[str, ...]
    patterned: frozenset[str]
    numbers: tuple[str, ...]
    bags: tuple[str, ...]
    vectors: tuple[str, ...]
    given: tuple[str, ...]
    left_bags: tuple[str, ...]
    styled: frozenset[str]


def plan_of(encoder: Encoder) -> Served:
    """Return the plan of a fitted encoder, whose arrays it refers to: they must live as long."""
    fields, layout = encoder.fields, encoder.layout
    lists: dict[str, list[str]] = {name: [] for name in _LISTS}
    rows: list[_Row] = []
    pools = _Pools([], [], [], [], [], [], [], [], [])
    for number, (name, of_field) in enumerate(fields.items()):
        field = of_field.field
        if of_field.form == BAG and not _is_plain_bag(field):
            lists["vectors" if field.type == "vector" else "left"].append(name)
            continue
        rows.append(_row(of_field, number, layout, lists, pools))
        lists["names"].append(name)
    return Served(
        _arrays(rows, pools),
        tuple(lists["names"]),
        tuple(lists["texts"]),
        frozenset(name for field in encoder.schema.fields if field.format for name in field.columns),
        tuple(lists["numbers"]),
        tuple(lists["bags"]),
        tuple(lists["vectors"]),
        tuple(lists["given"]),
        tuple(lists["left"]),
        frozenset(name for name in lists["numbers"] if style_of(fields[name].field) is not None),
    )


class _Row(NamedTuple):
    """One field of a `Plan`."""

    kind: int
    source: int
    line: int
    value_line: int
    begins: tuple[int, int]
    ends: tuple[int, int]
    limits: tuple[int, int, int, int]
    words: tuple[int, int, int]
    scales: tuple[float, float, float, float]


class _Pools(NamedTuple):
    missing: list[int]
    parts: list[int]
    edges: list[float]
    sentinels: list[float]
    moments: list[tuple[int, int, int, int, int]]
    per_second: list[float]
    patterns: list[int]
    zone_quarters: list[int]
    zone_ahead: list[int]


def _is_plain_bag(field: Field) -> bool:
    return field.type == "bag" and not (field.brackets or field.custom)


def _number_of(column: str | None, names: list[str]) -> int:
    """Return the number of a column among those of text, where it is put if it is not among them."""
    assert column is not None
    if column not in names:
        names.append(column)
    return names.index(column)


def _moment(column: str | None, field: Field, texts: list[str], pools: _Pools) -> int:
    """Return the number of a column that is read as moments in a field's way."""
    begin, first = len(pools.patterns), len(pools.sentinels)
    pools.patterns.extend((ISO if field.format is None else compile_pattern(field.format)).tolist())
    pools.sentinels.extend(missing_moments(field))
    of_text = _number_of(column, texts)
    pools.moments.append((of_text, begin, len(pools.patterns), first, len(pools.sentinels)))
    pools.per_second.append(-1 if field.format is not None else PER_SECOND[field.unit] if field.unit else 0)
    return len(pools.moments) - 1


def _row(of_field: FieldEncoder, number: int, layout: Layout, lists: dict[str, list[str]], pools: _Pools) -> _Row:
    field, name = of_field.field, of_field.field.name
    line = int(layout.single[number] if of_field.form != BAG else layout.bag[number])
    row = _Row(GIVEN, -1, line, int(layout.value[number]), (0, 0), (0, 0), (of_field.rows, 0, 0, 0), (0, 0, 0),
               (0.0, 1.0, np.nan, 0.0))  # fmt: skip
    if isinstance(of_field, (BinEncoder, ScaleEncoder)):
        default = np.nan if field.default is None or style_of(field) is not None else float(field.default)
        edges, sentinels = len(pools.edges), len(pools.sentinels)
        if field.type == "time":
            until, since = (_moment(name, field, lists["texts"], pools) for name in (field.column, field.since))
            row = row._replace(source=AGE, limits=(of_field.rows, until, since, 0))
            sentinels = len(pools.sentinels)
        else:
            lists["numbers"].append(name)
            row = row._replace(source=len(lists["numbers"]) - 1)
            if style_of(field) is None:
                pools.sentinels.extend(missing_numbers(field.missing))
        if isinstance(of_field, BinEncoder):
            pools.edges.extend(of_field.edges.tolist())
            scales = (0.0, 1.0, default, 0.0)
        else:
            mean, deviation = of_field.moments
            scales = (mean, deviation, default, float(SCALES[field.scale]))
        return row._replace(
            kind=BINNED if isinstance(of_field, BinEncoder) else SCALED,
            begins=(edges, sentinels),
            ends=(len(pools.edges), len(pools.sentinels)),
            scales=scales,
        )
    if isinstance(of_field, CalendarEncoder):
        assert field.part is not None
        first = len(pools.zone_quarters)
        if field.timezone is not None:
            quarters, ahead = zone_changes(field.timezone)
            pools.zone_quarters.extend(quarters.tolist())
            pools.zone_ahead.extend(ahead.tolist())
        return row._replace(
            kind=CALENDAR,
            source=_moment(field.column, field, lists["texts"], pools),
            begins=(first, 0),
            ends=(len(pools.zone_quarters), 0),
            limits=(of_field.rows, PARTS[field.part], 0, 0),
        )
    if not isinstance(of_field, IndexedEncoder) or field.custom:
        lists["given"].append(name)
        return row._replace(source=len(lists["given"]) - 1)
    index = of_field.index
    address, capacity = (index.slots.ctypes.data, len(index.slots)) if isinstance(index, Vocabulary) else (0, 0)
    begin = (len(pools.parts), len(pools.missing))
    pools.missing.extend(of_field.missing.fingerprints.tolist())
    row = row._replace(
        limits=(of_field.rows, field.buckets or 0, capacity, field.max_length or 0),
        words=(of_field.seed, address, of_field.default),
    )
    if field.type == "cross":
        pools.parts.extend(lists["names"].index(part) for part in field.parts)
        kind, source = CROSS, -1
    elif field.type == "bag":
        lists["bags"].append(name)
        kind, source = BAG_OF_TEXTS, len(lists["bags"]) - 1
        row = row._replace(scales=(0.0, 0.0, 0.0, float(NORMS[field.norm])))
    else:
        kind, source = CATEGORY, _number_of(field.column, lists["texts"])
    return row._replace(kind=kind, source=source, begins=begin, ends=(len(pools.parts), len(pools.missing)))


def _arrays(rows: list[_Row], pools: _Pools) -> Plan:
    columns: dict[str, Any] = {}
    for name, dtype, width in (
        ("kind", np.int64, 0), ("source", np.int64, 0), ("line", np.int64, 0), ("value_line", np.int64, 0),
        ("begins", np.int64, 2), ("ends", np.int64, 2), ("limits", np.int64, 4), ("words", np.uint64, 3),
        ("scales", np.float64, 4),
    ):  # fmt: skip
        shape = (len(rows), width) if width else (len(rows),)
        columns[name] = np.array([getattr(row, name) for row in rows], dtype=dtype).reshape(shape)
    return Plan(
        **columns,
        missing=np.array(pools.missing, dtype=np.uint64),
        parts=np.array(pools.parts, dtype=np.int64),
        edges=np.array(pools.edges, dtype=np.float64),
        sentinels=np.array(pools.sentinels, dtype=np.float64),
        moments=np.array(pools.moments, dtype=np.int64).reshape(-1, 5),
        per_second=np.array(pools.per_second, dtype=np.float64),
        patterns=np.array(pools.patterns, dtype=np.int64),
        zone_quarters=np.array(pools.zone_quarters, dtype=np.int64),
        zone_ahead=np.array(pools.zone_ahead, dtype=np.int64),
    )
