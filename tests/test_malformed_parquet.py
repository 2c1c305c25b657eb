"""Rows of Parquet files that nobody can use: typed columns hold fewer kinds of nonsense than text, and other ones.

Every row is made of cells of which it is known whether they can be used. Rows read are rows accepted and rejected, each
reject blames a column that is to blame, and of the rows accepted nothing is changed.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import fieldwise as fw

CONFIG = """
[data]
train = ["log"]
label = "click"
classes = ["0", "1"]
weight = "weight"
split = "part"
[fields.age]
type = "number"
scale = "none"
[fields.price]
type = "number"
scale = "none"
[fields.tags]
type = "bag"
weighted = true
[fields.values]
type = "bag"
weights = "weights"
[fields.days]
type = "time"
part = "age"
column = "seen"
since = "born"
scale = "none"
[fields.city]
type = "category"
"""
NAN, INF = math.nan, math.inf
DAY = dt.datetime(2026, 11, 8)
LABELS = {
    "int64": (pa.int64(), [0, 1], [None, 2, -1, 2**62]),
    "double": (pa.float64(), [0.0, 1.0, -0.0], [None, NAN, INF, -INF, 0.5]),
    "string": (pa.string(), ["0", "1", "1.0"], [None, "", "nan", "perhaps", b"\xff", b"1\xc3"]),
    "dictionary": (pa.dictionary(pa.int16(), pa.string()), ["0", "1"], [None, "", "2", "maybe"]),
}
"""By type: cells that are classes, and cells that are none."""
CELLS: dict[str, tuple[pa.DataType, list[Any], list[Any]]] = {
    "weight": (pa.float64(), [0.0, 0.5, 2.0], [None, NAN, INF, -0.25, 1e300]),
    "age": (pa.float32(), [1.5, -3.0, NAN, None], [INF, -INF]),
    "price": (pa.string(), ["1.5", " 7 ", "", "nan", None, "1e3"], ["x", "1,5", "inf", "1e400", "0x10", b"\xff\xfe"]),
    "tags": (
        pa.list_(pa.struct([("value", pa.string()), ("weight", pa.float64())])),
        [None, [], [("a", 0.5)], [("a", 1.0), ("b", -2.0)], [None]],
        [[("a", None)], [("a", 1.0), ("b", NAN)], [("c", INF)]],
    ),
    "seen": (pa.timestamp("us"), [DAY, DAY + dt.timedelta(days=3), None], [dt.datetime(9999, 12, 31, 23, 59, 59)]),
    "city": (pa.string(), ["Rome", "Malmö", None, "", b"\xff", b"a\x00b"], []),
    "part": (pa.string(), ["train", "valid"], [None, "", "trained", "none", b"\xe9"]),
}
HARMLESS = {"seen", "city"}
"""The last second of the year 9999 is a point in time, and a category may hold any bytes."""
PAIRS = [(None, None), ([], []), ([1], [0.5]), ([1, 2], [1.0, 2.0])]
BAD_PAIRS = [([1, 2], [1.0]), ([1], []), ([1], None), ([1], [NAN]), ([1, 2], [1.0, None])]


def column(kind: pa.DataType, cells: list[Any]) -> pa.Array:
    """Return cells of a type; strings may hold any bytes."""
    if any(isinstance(cell, bytes) for cell in cells):
        raw = pa.array([cell.encode() if isinstance(cell, str) else cell for cell in cells], pa.binary())
        return raw.cast(pa.string(), safe=False)
    if pa.types.is_dictionary(kind):
        return pa.array(cells, kind.value_type).dictionary_encode()
    return pa.array(cells, kind)


def make_rows(num_rows: int, kind: str, rng: random.Random) -> tuple[pa.Table, list[set[str]]]:
    """Return rows, and the columns that are to blame for each, none for a good one."""
    choices = {"click": LABELS[kind], **CELLS}
    cells: dict[str, list[Any]] = {name: [] for name in [*choices, "values", "weights", "born"]}
    blamed: list[set[str]] = []
    for _ in range(num_rows):
        culprits = set(rng.sample([*choices, "weights"], rng.choice([0, 0, 1, 1, 2])))
        for name, (_, usable, unusable) in choices.items():
            cells[name].append(rng.choice(unusable if name in culprits and unusable else usable))
        values, weights = rng.choice(BAD_PAIRS if "weights" in culprits else PAIRS)
        cells["values"].append(values)
        cells["weights"].append(weights)
        cells["born"].append(rng.choice([dt.date(1980, 1, 1), None]))
        blamed.append(culprits - HARMLESS)
    kinds = {"values": pa.list_(pa.int32()), "weights": pa.list_(pa.float64()), "born": pa.date32()}
    kinds |= {name: of for name, (of, _, _) in choices.items()}
    return pa.table({name: column(kinds[name], of) for name, of in cells.items()}), blamed


def prepared(folder: Path, table: pa.Table, group_size: int) -> tuple[fw.Prepared, dict[int, dict[str, Any]]]:
    (folder / "log").mkdir(parents=True)
    pa.parquet.write_table(table, folder / "log" / "a.parquet", row_group_size=group_size)
    done = fw.prepare(fw.parse_config(CONFIG, base=folder))
    lines = [json.loads(line) for line in (done.folder / "rejects.jsonl").read_bytes().splitlines()]
    assert len({line["row"] for line in lines}) == len(lines)
    assert all(line["reason"] and line["file"].endswith("a.parquet") for line in lines)
    return done, {line["row"]: line for line in lines}


@pytest.mark.parametrize("kind", ["int64", "double", "string", "dictionary"])
def test_malformed_rows_of_parquet_are_rejected_one_by_one_and_no_other_row_is_changed(tmp_path, kind):
    table, blamed = make_rows(3_000, kind, random.Random(kind))
    done, rejects = prepared(tmp_path, table, 700)
    for row, culprits in enumerate(blamed, start=1):
        if culprits:
            assert rejects[row]["column"] in culprits, (rejects.get(row), culprits)
        else:
            assert row not in rejects, rejects[row]
    num_bad = sum(map(bool, blamed))
    assert len(rejects) == num_bad > 1_000
    assert done.summary["rows_read"] == 3_000
    assert done.summary["rows_rejected"] == num_bad
    ages = table["age"].to_numpy(zero_copy_only=False)
    parts = [None if culprits else part for culprits, part in zip(blamed, shown(table["part"]), strict=True)]
    for part in ("train", "valid"):
        places = [place for place, of in enumerate(parts) if of == part]
        cache = done.parts[part]
        assert cache.num_examples == len(places)
        batch, labels, weights, _ = cache.gather(np.arange(cache.num_examples))
        assert labels is not None
        assert weights is not None
        assert labels.tolist() == [int(float(label)) for label in shown(table["click"].take(places))]
        assert weights.tolist() == table["weight"].take(places).to_pylist()
        names = [field.name for field in done.encoder.schema.fields]
        line = done.encoder.layout.single[names.index("age")]
        value = done.encoder.layout.value[names.index("age")]
        expected = [1.0 if math.isnan(ages[place]) else ages[place] for place in places]
        assert batch.values[value].tolist() == expected
        assert batch.ids[line].tolist() == [int(not math.isnan(ages[place])) for place in places]


def shown(cells: pa.ChunkedArray) -> list[str]:
    """Return cells as text, whatever they hold."""
    try:
        return [str(cell) for cell in cells.to_pylist()]
    except UnicodeDecodeError:
        return [(cell or b"").decode(errors="replace") for cell in cells.cast(pa.binary()).to_pylist()]


def test_a_label_of_another_type_than_its_classes_rejects_every_row(tmp_path):
    table, _ = make_rows(100, "int64", random.Random(0))
    table = table.set_column(table.column_names.index("click"), "click", pa.array([DAY] * 100))
    with pytest.raises(fw.DataError, match="there is no example to learn from"):
        prepared(tmp_path, table, 100)
