"""What trees read of a log, against a slow twin that counts row by row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fieldwise as fw
from fieldwise.training.target_means import target_means


def mean_of(value, values, labels, weights, chosen):
    """Return a value's mean label among chosen rows, held at 0.5 by 20 rows."""
    total = positive = 0.0
    for row in np.flatnonzero(chosen):
        if value in values[row]:
            total += weights[row]
            positive += weights[row] * labels[row]
    return (positive + 20 * 0.5) / (total + 20)


def test_no_row_is_in_its_own_mean_and_numbers_stay_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    count = 300
    genres = [[f"g{value}" for value in rng.choice(4, rng.integers(0, 4), replace=False)] for _ in range(count)]
    user = [f"u{value}" for value in rng.integers(0, 9, count)]
    age, price = rng.integers(0, 50, count), np.where(rng.random(count) < 0.1, np.nan, rng.normal(size=count))
    label, weight = np.arange(count) % 2, np.repeat(rng.uniform(0.5, 2.0, count // 2), 2).astype(np.float32)
    split = np.where(np.arange(count) < 200, "train", "valid")
    table = pa.table(
        {"user": user, "genres": ["|".join(each) for each in genres], "age": age, "price": pa.array(price),
         "face": list(rng.normal(size=(count, 2)).astype(np.float32)), "click": label, "w": weight, "split": split}
    )  # fmt: skip
    pq.write_table(table, tmp_path / "log.parquet")
    (tmp_path / "c.toml").write_text(
        '[data]\ntrain = ["log.parquet"]\nlabel = "click"\nweight = "w"\nsplit = "split"\n'
        '[fields.user]\ntype = "category"\n[fields.genres]\ntype = "bag"\nseparator = "|"\n'
        '[fields.age]\ntype = "number"\nbins = 5\n[fields.price]\ntype = "number"\nscale = "none"\n'
        '[fields.face]\ntype = "vector"\nlength = 2\nscale = "none"\n'
    )
    prepared = fw.prepare(fw.load_config(tmp_path / "c.toml"))
    names = {field.name: field for field in prepared.encoder.schema.fields}
    fields = [name for name, field in names.items() for _ in range(field.length or 1)]
    rows = target_means(prepared.parts, prepared.encoder.schema.fields, seed=3)
    fold = np.random.default_rng(3).integers(0, 5, 200)
    train = split == "train"
    everything = np.flatnonzero(train)
    for name, values in {"user": [[each] for each in user], "genres": [each or [""] for each in genres]}.items():
        at = fields.index(name)
        for row in range(0, count, 7):
            chosen = train.copy()
            if train[row]:
                chosen[everything[fold == fold[row]]] = False
            expected = np.mean([mean_of(value, values, label, weight, chosen) for value in values[row]])
            part, number = ("train", row) if train[row] else ("valid", row - 200)
            np.testing.assert_allclose(rows[part].columns[number, at], expected, rtol=1e-5)
    of_price = rows["valid"].columns[:, fields.index("price")]
    np.testing.assert_array_equal(np.isnan(of_price), np.isnan(price[200:]))
    np.testing.assert_allclose(of_price, price[200:].astype(np.float32), rtol=1e-6)
    bins = rows["train"].columns[:, fields.index("age")]
    order = np.argsort(age[:200], kind="stable")
    assert (np.diff(bins[order]) >= 0).all(), "bins keep the order of the numbers"
    at = fields.index("face")
    faces = np.array(table["face"].to_pylist(), np.float32)[200:]
    np.testing.assert_array_equal(rows["valid"].columns[:, at : at + 2], faces)
