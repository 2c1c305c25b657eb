"""Lists written as text beside everything else that a log may have: groups, a split column, crosses, weights."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fieldwise as fw

CONFIG = """
[data]
train = "{name}"
label = "click"
split = "part"
group = "user"
weight = "w"
[fields.tags]
[fields.ids]
weights = "counts"
[fields.user]
[fields.user_x_tags]
cross = ["user", "tags"]
[fields.tags_x_ids]
cross = ["tags", "ids"]
buckets = 1000
"""


def rows(num: int) -> list[dict[str, object]]:
    rng = random.Random(0)
    made = []
    for _ in range(num):
        ids = rng.sample(range(10), rng.randrange(4))
        made.append(
            {
                "click": rng.randrange(2),
                "tags": rng.sample(["a", "b c", "it's", 'say "x"', "ü, ö"], rng.randrange(4)),
                "ids": ids,
                "counts": [rng.randrange(1, 5) for _ in ids],
                "user": f"u{rng.randrange(9)}",
                "part": rng.choice(["train", "train", "valid", "test"]),
                "w": rng.choice([0.5, 1.0]),
            }
        )
    return made


@pytest.mark.parametrize("write", [json.dumps, repr], ids=["JSON", "Python"])
def test_lists_written_as_text_prepare_as_list_columns_do(tmp_path, write):
    listed = pa.Table.from_pylist(rows(400))
    pq.write_table(listed, tmp_path / "lists.parquet")
    written = listed
    for name in ("tags", "ids", "counts"):
        cells = pa.array([write(cell) for cell in listed.column(name).to_pylist()])
        written = written.set_column(written.column_names.index(name), name, cells)
    pq.write_table(written, tmp_path / "texts.parquet")
    one, other = (fw.prepare(fw.parse_config(CONFIG.format(name=name), base=tmp_path)) for name in
                  ("lists.parquet", "texts.parquet"))  # fmt: skip
    assert other.read.rows_used == 400
    for part in ("train", "valid", "test"):
        found, expected = (prepared.folder / part / "examples.bin" for prepared in (other, one))
        assert found.read_bytes() == expected.read_bytes()
