"""One log in Parquet, with nested columns and timestamps, and in CSV: the same features."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from fieldwise.data.log import encode_log, open_log
from fieldwise.features.encoder import Encoder
from fieldwise.schema import Field, Schema

SCHEMA = Schema(
    fields=(
        Field(name="list", type="bag", column="list", max_length=2),
        Field(name="integers", type="bag", column="integers", default=0),
        Field(name="pairs", type="bag", column="pairs", weighted=True),
        Field(name="map", type="bag", column="map", weighted=True),
        Field(name="beside", type="bag", column="list", weights="weights"),
        Field(name="hour", type="time", column="time", part="hour", timezone="Europe/Rome"),
        Field(name="weekday", type="time", column="day", part="weekday"),
        Field(name="age", type="time", column="time", part="age", since="day"),
    ),
    label="click",
)
PAIR = pa.struct([("value", pa.string()), ("weight", pa.float32())])


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    letters = [[f"v{i}" for i in rng.integers(0, 9, rng.integers(0, 4))] for _ in range(300)]
    weights = [[float(weight) / 8 for weight in rng.integers(-9, 9, len(cell))] for cell in letters]
    pairs = [list(zip(cell, beside, strict=True)) for cell, beside in zip(letters, weights, strict=True)]
    times = [dt.datetime(2026, 3, 1) + dt.timedelta(minutes=int(m)) for m in rng.integers(0, 10**5, 300)]
    integers = [rng.integers(0, 5, rng.integers(0, 3)).tolist() for _ in range(300)]
    nested = {
        "list": pa.array(letters),
        "integers": pa.array(integers, pa.large_list(pa.int64())),
        "pairs": pa.array([[{"value": v, "weight": w} for v, w in cell] for cell in pairs], pa.list_(PAIR)),
        "map": pa.array(pairs, pa.map_(pa.string(), pa.float64())),
        "weights": pa.array(weights, pa.list_(pa.float32())),
        "time": pa.array(times, pa.timestamp("ms", "UTC")),
        "day": pa.array([time.date() for time in times]),
    }
    in_text = ["|".join(f"{v}:{w}" for v, w in cell) for cell in pairs]
    flat = {
        "list": ["|".join(cell) for cell in letters],
        "integers": ["|".join(map(str, cell)) for cell in integers],
        "pairs": in_text,
        "map": in_text,
        "weights": ["|".join(map(str, cell)) for cell in weights],
        "time": [time.isoformat() + "Z" for time in times],
        "day": [str(time.date()) for time in times],
    }
    click = pa.array([i % 2 for i in range(300)])
    pyarrow.parquet.write_table(pa.table({**nested, "click": click}), tmp_path / "log.parquet")
    pyarrow.csv.write_csv(pa.table({**flat, "click": click}), tmp_path / "log.csv")
    return tmp_path


def test_nested_columns_and_timestamps_are_the_features_that_their_text_is(folder):
    logs = [open_log(folder / name) for name in ("log.parquet", "log.csv")]
    encoders = [Encoder(SCHEMA).fit([chunk.table for chunk in log.chunks(list(log.columns))]) for log in logs]
    assert encoders[0].describe() == encoders[1].describe()
    arrays = encoders[1].arrays()
    assert all(np.array_equal(array, arrays[name]) for name, array in encoders[0].arrays().items())
    batches = [encoded.batch for log in logs for _, encoded in encode_log(log, encoders[0], labelled=True)]
    assert [batch.num_examples for batch in batches] == [300, 300]
    assert all(np.array_equal(a, b) for a, b in zip(*batches, strict=True))
