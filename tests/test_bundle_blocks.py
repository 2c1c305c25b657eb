"""The table of a saved model is verified block by block, as its rows are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.bundle import writing
from fieldwise.io import blocks

MORE = """
[model]
kind = "lc-wide-deep"
units = 2
initial_model = "random"
hidden = [4]
[train]
epochs = 1
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_BLOCK_BYTES", 64)
    write(make_table(), tmp_path / "log.parquet")
    config = fw.parse_config(config_text("log.parquet", more=MORE), base=tmp_path)
    fw.train(config, tmp_path / "run")
    return tmp_path / "run"


def damage_last_row(run):
    [path] = (run / "bundle").glob("table-*")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return path


def test_only_the_blocks_of_the_rows_that_are_read_are_looked_at(run):
    rows = make_table(1, seed=3)
    before = fw.Predictor(run).predict(rows)
    damage_last_row(run)
    predictor = fw.Predictor(run)
    np.testing.assert_array_equal(predictor.predict(rows), before)
    verified = predictor.bundle._blocks.verified
    assert 0 < verified.sum() < len(verified)
    assert not verified[-1]


def test_a_damaged_row_that_is_asked_for_is_named(run):
    path = damage_last_row(run)
    opened = fw.open_bundle(run)
    last = opened.encoder.layout.num_features - 1
    with pytest.raises(fw.ArtefactError, match=rf"{path.name}, rows \d+ to {last + 1}"):
        opened.verify()
    with pytest.raises(fw.ArtefactError, match="damaged"):
        opened.verify()
    assert fw.verify(run).damages


def test_a_whole_table_is_looked_at_once(run, monkeypatch):
    opened = fw.open_bundle(run).verify()
    monkeypatch.setattr(blocks, "checksum", lambda data: pytest.fail("it was verified already"))
    opened.verify()


def test_a_changed_header_is_noticed_at_once(run):
    [path] = (run / "bundle").glob("table-*")
    data = path.read_bytes().replace(b"F32", b"I32", 1)
    path.write_bytes(data)
    with pytest.raises(fw.ArtefactError, match="header"):
        fw.open_bundle(run)


def test_a_table_in_bfloat16_is_saved_restored_and_predicts(tmp_path):
    write(make_table(), tmp_path / "log.parquet")
    text = config_text("log.parquet", more=MORE)
    results = {}
    for storage in ("float32", "bfloat16"):
        config = fw.parse_config(text, base=tmp_path, overrides=[f"train.table.storage={storage}", "train.epochs=4"])
        result = fw.train(config, tmp_path / storage)
        results[storage] = result.test.logloss
        opened = fw.open_bundle(tmp_path / storage)
        assert opened.table.dtype == {"float32": np.float32, "bfloat16": np.uint16}[storage]
        again = fw.evaluate(tmp_path / storage, tmp_path / "log.parquet").metrics
        assert np.isfinite(again.logloss)
    assert results["bfloat16"] == pytest.approx(results["float32"], abs=0.02)
    assert results["bfloat16"] != results["float32"]
