"""Metrics day by day."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.errors import ConfigError, DataError

ROWS = 900


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("days")
    rng = np.random.default_rng(0)
    ad = rng.integers(0, 6, ROWS)
    shown = np.datetime64("2026-03-01T00:00:00", "s") + np.sort(rng.integers(0, 3 * 86_400, ROWS))
    table = pa.table(
        {
            "shown": pa.array(shown),
            "ad": [f"ad{number}" for number in ad],
            "click": (rng.random(ROWS) < 0.1 + 0.1 * ad).astype(int),
        }
    )
    pa.parquet.write_table(table, folder / "log.parquet")
    text = (
        '[data]\ntrain = "log.parquet"\nvalid = 0.2\nlabel = "click"\n{}\n[model]\nkind = "lr"\n[train]\nepochs = 2\n'
    )
    for name, time in (("by-time", 'time = "shown"'), ("plain", 'exclude = ["shown"]')):
        (folder / f"{name}.toml").write_text(text.format(time))
        fw.train(fw.load_config(folder / f"{name}.toml"), folder / name)
    return folder


def test_each_day_has_the_metrics_of_its_rows(folder):
    table = pa.parquet.read_table(folder / "log.parquet")
    found = fw.evaluate(folder / "by-time", table, by_day=True)
    days = table["shown"].to_numpy().astype("datetime64[D]")
    assert [each.day for each in found.by_day] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    for each in found.by_day:
        own = table.filter(pa.array(days == np.datetime64(each.day)))
        alone = fw.evaluate(folder / "by-time", own).metrics
        for name in ("auc", "logloss", "calibration_ratio"):
            assert getattr(each.metrics, name) == pytest.approx(getattr(alone, name), rel=1e-6)
        assert each.metrics.num_examples == own.num_rows
    assert sum(each.metrics.num_examples for each in found.by_day) == found.metrics.num_examples
    assert fw.evaluate(folder / "by-time", table).by_day == []


def test_a_model_that_knows_no_time_is_told_the_column(folder):
    table = pa.parquet.read_table(folder / "log.parquet")
    found = fw.evaluate(folder / "plain", table, time_column="shown")
    assert [each.day for each in found.by_day] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    with pytest.raises(ConfigError, match="no column of times"):
        fw.evaluate(folder / "plain", table, by_day=True)
    with pytest.raises(DataError, match="no such column") as refused:
        fw.evaluate(folder / "plain", table, time_column="show")
    assert "did you mean shown" in str(refused.value)


def test_rows_without_a_time_are_a_day_of_their_own(folder):
    table = pa.parquet.read_table(folder / "log.parquet")
    times = table["shown"].to_pylist()
    times[3] = times[500] = None
    some = table.set_column(0, "shown", pa.array(times, pa.timestamp("s")))
    found = fw.evaluate(folder / "plain", some, time_column="shown")
    assert (found.by_day[-1].day, found.by_day[-1].metrics.num_examples) == (None, 2)
    assert found.metrics.num_examples == ROWS


def test_the_command_line_prints_them(folder):
    data = ["--data", str(folder / "log.parquet")]
    printed = CliRunner().invoke(main, ["evaluate", str(folder / "by-time"), *data, "--by-day"])
    assert printed.exit_code == 0
    assert "Metrics by day, in UTC" in printed.stdout
    assert "2026-03-02" in printed.stdout
    answer = json.loads(
        CliRunner().invoke(main, ["evaluate", str(folder / "plain"), *data, "--time", "shown", "--json"]).stdout
    )
    table = pa.parquet.read_table(folder / "log.parquet")
    first = table.slice(0, answer["by_day"][0]["metrics"]["num_examples"])
    probability = fw.Predictor(folder / "plain").predict(first)
    assert answer["by_day"][0]["metrics"]["auc"] == pytest.approx(
        roc_auc_score(first["click"].to_numpy(), probability), abs=1e-9
    )
