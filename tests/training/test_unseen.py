"""Values never seen in training have the mean weights of their field, where no rare value has trained theirs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tests.helpers import make_layout
from tests.logs import QUICK, config_text, make_table, write

import fieldwise as fw
from fieldwise.tables.host import HostTable
from fieldwise.training import unseen
from fieldwise.training.unseen import fill_unseen


@pytest.mark.parametrize("rows_at_a_time", [1 << 18, 2])
def test_an_unseen_row_is_the_mean_by_counts_only_where_nothing_has_trained_it(monkeypatch, rows_at_a_time):
    monkeypatch.setattr(unseen, "_ROWS", rows_at_a_time)
    forms, counts = (
        ["single", "bag", "value", "single", "single"],
        [[3, 0, 1, 0, 5], [0, 0, 4], [1, 9], [2, 1, 7], [9, 0]],
    )
    table = HostTable(make_layout(forms, [len(of_field) for of_field in counts]), 2, 1)
    table.serve(np.arange(3 * 15, dtype=np.float32).reshape(15, 3) ** 2)
    before = table.weights.copy()
    fill_unseen(table, [None if of_field is None else np.array(of_field) for of_field in counts])
    expected = before.copy()
    for column in range(3):
        expected[1, column] = (1 * before[2, column] + 5 * before[4, column]) / 6
        expected[6, column] = before[7, column]
    np.testing.assert_array_equal(table.weights, expected)


@pytest.mark.parametrize("kind", ["lr", "lc-dnn", "dnn"])
def test_a_model_judges_a_new_value_by_the_mean_of_its_field(tmp_path, kind):
    write(make_table(1500), tmp_path / "log.parquet")
    fields = '[fields.user]\ntype = "category"\n[fields.tags]\ntype = "bag"\n[fields.item]\nmin_count = 60\n'
    (tmp_path / "fieldwise.toml").write_text(config_text("log.parquet", fields=fields, more=QUICK))
    config = fw.load_config(tmp_path / "fieldwise.toml", [f'model.kind="{kind}"'])
    result = fw.train(config, tmp_path / "run")
    predictor = fw.Predictor(tmp_path / "run")
    encoder, table = predictor.bundle.encoder, predictor.bundle.table
    for name in ("user", "tags", "item"):
        at = [field.name for field in encoder.schema.fields].index(name)
        base, counts = int(encoder.layout.base[at]), encoder.vocabulary_counts[at]
        mean = (
            sum(int(count) * table[base + i].astype(float) for i, count in enumerate(counts) if i >= 2)
            / counts[2:].sum()
        )
        if name == "item":
            assert counts[1] > 0
            assert not np.allclose(table[base + 1], mean, rtol=1e-3), "rare items have trained theirs"
        else:
            assert counts[1] == 0
            np.testing.assert_allclose(table[base + 1], mean, rtol=1e-4, atol=1e-7)
    # What was judged is what was saved.
    test = make_table(1500)
    test = test.filter(pa.compute.equal(test["split"], "test"))
    write(test, tmp_path / "test.parquet")
    assert fw.evaluate(tmp_path / "run", tmp_path / "test.parquet").metrics.logloss == pytest.approx(
        result.test.logloss, rel=1e-6
    )
