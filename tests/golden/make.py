"""Make the golden rows of docs/encoder-format.md: an encoder, 10,000 raw rows, and the features of each.

    python -m tests.golden.make

Run it when the format changes, never to repair a test: a saved model must be read as it was.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fieldwise.bundle import BundleWriter
from fieldwise.features.encoder import Encoder
from fieldwise.kernels.layout import BAG, VALUE
from fieldwise.schema import Field, Schema

FOLDER = Path(__file__).parent
NUM_ROWS = 10_000
_WORDS = [
    *("Rome", "Oslo", "5", "5.0", "05", "-0.0", "-0", "0.50", "1.25e+10", "1e+05"),
    *("9.5e+02", "1.5e+00", "1e+16", "TRUE", "false", "nan", "NaN"),
    *("NULL", "-12", "-12.00", "7e5", "2026-11-08T09:30:00Z", "2026-11-08 00:00:00", "2026-11-08 09:30:00.2500"),
    *("2026-11-08T09:30:00+02:00", "2026-11-08 09:30:00+00:00", "2026-11-08 00:00:00.000"),
    *(" a ", "ünï", "日本語", "🙂"),
    *("x" * 15, "y" * 16, "z" * 31, "v" * 32, "w" * 100),
]  # fmt: skip
SCHEMA = Schema(
    label="click",
    fields=(
        Field(name="city", column="city", missing=("NULL",)),
        Field(name="hashed", column="city", buckets=1000),
        Field(name="often", column="city", min_count=60, default="Rome"),
        Field(name="code", column="code"),
        Field(name="age", type="number", column="age", edges=(18.0, 30.0, 65.0)),
        Field(name="height", type="number", column="age", missing=("-999",)),
        Field(name="log", type="number", column="amount", scale="log", default=4),
        Field(name="quantiles", type="number", column="amount", bins=10),
        Field(name="tags", type="bag", column="tags", norm="sqrt", max_length=3, missing=("NULL",)),
        Field(name="means", type="bag", column="tags", norm="mean", default="Rome", buckets=200),
        Field(name="city x age", type="cross", parts=("city", "age")),
        Field(name="four", type="cross", parts=("city", "code", "age", "often"), buckets=1000),
        Field(name="city x tags", type="cross", parts=("city", "tags")),
    ),
)


def make_rows() -> list[dict[str, Any]]:
    """Return raw rows: texts, numbers and nulls."""
    rng = random.Random(0)

    def word() -> str:
        return rng.choice(_WORDS) if rng.random() < 0.7 else f"w{int(rng.paretovariate(0.7)) % 5000}"

    return [
        {
            "city": rng.choice([word(), word(), word(), "", None]),
            "code": rng.choice([rng.randrange(-3, 40), rng.randrange(10**12), None]),
            "age": rng.choice([rng.randrange(100), round(rng.uniform(0, 90), 2), 18.0, -999, None]),
            "amount": rng.choice([f"{rng.lognormvariate(1, 2):.3f}", f" {rng.randrange(50)} ", "1e3", "-.5", "", None]),
            "tags": rng.choice([None, "", "NULL", "|".join(word() for _ in range(rng.randrange(6)))]),
        }
        for _ in range(NUM_ROWS)
    ]


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    """Return rows as a table."""
    return pa.table({name: [row[name] for row in rows] for name in rows[0]})


def features_of(encoder: Encoder, rows: list[dict[str, Any]]) -> list[list[Any]]:
    """Return the features of rows: for each field its ids, and with a bag or a number their weights."""
    batch, layout = encoder.transform(table_of(rows), labelled=False).batch, encoder.layout
    found: list[list[Any]] = [[] for _ in rows]
    for place in range(layout.num_fields):
        for number, line in enumerate(found):
            if layout.form[place] == BAG:
                begin, end = batch.offsets[layout.bag[place], number : number + 2]
                weights = [float(f"{weight:.6g}") for weight in batch.bag_weights[begin:end].tolist()]
                line.append([batch.bag_ids[begin:end].tolist(), weights])
                continue
            id_ = int(batch.ids[layout.single[place], number])
            is_value = layout.form[place] == VALUE
            line.append(
                [[id_], [float(f"{batch.values[layout.value[place], number]:.6g}")]] if is_value else [[id_], [1]]
            )
    return found


def main() -> None:
    """Write all of it."""
    rows = make_rows()
    labelled = table_of(rows).append_column("click", pa.array([number % 2 for number in range(NUM_ROWS)]))
    encoder = Encoder(SCHEMA).fit([labelled.slice(0, NUM_ROWS // 2)])
    shutil.rmtree(FOLDER / "bundle", ignore_errors=True)
    writer = BundleWriter(FOLDER / "bundle", encoder, {"kind": "lr"}, "float32", {})
    writer.save(1, np.zeros((encoder.num_features, 1), np.float32), {})
    for path in (FOLDER / "bundle").glob("[td]*.safetensors"):
        path.unlink()  # the encoder is what is golden
    with gzip.GzipFile(FOLDER / "rows.jsonl.gz", "wb", mtime=0) as file:
        for row, features in zip(rows, features_of(encoder, rows), strict=True):
            file.write(json.dumps([row, features], ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


if __name__ == "__main__":
    main()
