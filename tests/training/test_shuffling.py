"""A log that is sorted by label trains as well as the same log in random order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.data import batches

ROWS = 6_000
MORE = """
[model]
kind = "lr"
[train]
threads = 1
[pretrain]
epochs = 2
"""


def test_auc(folder: Path, table: pa.Table, name: str) -> float:
    write(table, folder / f"{name}.parquet")
    text = config_text(f"{name}.parquet", more=MORE)
    config = fw.parse_config(text, base=folder, overrides=["train.batch_size=100"])
    result = fw.train(config, folder / name)
    assert result.test is not None
    assert result.test.auc is not None
    return result.test.auc


test_auc.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def small_windows(monkeypatch):
    """Many windows of many runs, as a log of millions of rows has."""
    monkeypatch.setattr(batches, "RUN_EXAMPLES", 8)
    monkeypatch.setattr(batches, "WINDOW_RUNS", 64)


def test_a_log_sorted_by_label_trains_as_well_as_one_in_random_order(tmp_path, small_windows, monkeypatch):
    table = make_table(ROWS)
    by_label = table.take(np.argsort(table["click"].to_numpy(), kind="stable"))
    random = test_auc(tmp_path, table, "random")
    assert abs(test_auc(tmp_path, by_label, "sorted") - random) < 0.002
    # In windows of one run the order is hardly changed, and it shows.
    monkeypatch.setattr(batches, "WINDOW_RUNS", 1)
    monkeypatch.setattr(batches, "RUN_EXAMPLES", ROWS)
    monkeypatch.setattr(batches, "permutation", lambda num, *_: np.arange(num))
    assert test_auc(tmp_path, by_label, "unshuffled") < random - 0.008


def test_every_window_of_a_sorted_log_holds_both_classes_as_often_as_chance_has_it():
    num_examples, clicks = 5_000_000, 1_000_000
    rates = []
    for seed in range(3):
        pieces = batches.epoch_order(num_examples, seed, 0)
        rates += [float((rows < clicks).mean()) for rows in pieces]
    assert len(rates) == 3 * 20
    # A window is a sample of about 244 runs: the standard deviation of its share is sqrt(.2 * .8 / 244) = .026.
    assert 0.015 < np.std(rates) < 0.035
    assert max(abs(np.array(rates) - 0.2)) < 0.11
