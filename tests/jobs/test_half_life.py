"""Training examples that count less the older they are (``train.half_life``)."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldwise.bundle import open_bundle
from fieldwise.config import parse_config
from fieldwise.errors import ConfigError
from fieldwise.jobs.prepare.prepare import prepare
from fieldwise.jobs.prepare.spool import Spool
from fieldwise.jobs.train.train import train

ROWS = 400


def config(tmp_path, more="", weight=None):
    text = f"""
[data]
train = "log.parquet"
valid = 0.25
label = "click"
time = "at"
{"" if weight is None else f'weight = "{weight}"'}
exclude = ["by_hand", "own"]
[fields.at]
exclude = true
[model]
kind = "lr"
[pretrain]
solver = "ftrl"
epochs = 2
[train]
threads = 1
{more}
"""
    return parse_config(text, base=tmp_path)


@pytest.fixture
def log(tmp_path):
    """A log of 40 days, with the weights of a half-life of 10 days counted by hand."""
    rng = np.random.default_rng(0)
    begin = datetime.datetime(2026, 3, 1)
    times = [begin + datetime.timedelta(hours=float(hour)) for hour in rng.permutation(ROWS) * 2.4]
    end = sorted(times)[300]  # the first of the validation rows
    own = rng.integers(1, 4, ROWS).astype(float)
    by_hand = [0.5 ** ((end - time).total_seconds() / 86_400 / 10) if time < end else 1.0 for time in times]
    clicks = (rng.random(ROWS) < 0.3).astype(int)
    ads = [f"ad{number}" for number in rng.integers(0, 7, ROWS)]
    table = pa.table({"at": times, "ad": ads, "click": clicks, "own": own, "by_hand": own * np.array(by_hand)})
    pq.write_table(table, tmp_path / "log.parquet")
    return table


def weights_of(prepared, part):
    cache = prepared.parts[part]
    return cache.gather(np.arange(cache.num_examples)).weights


@pytest.mark.parametrize("is_spooled", [True, False])
def test_the_weights_are_those_counted_by_hand_and_combine_with_those_of_the_log(
    tmp_path, log, monkeypatch, is_spooled
):
    if not is_spooled:
        monkeypatch.setattr(Spool, "__init__", closed(Spool.__init__))
    order = np.array(log["at"].to_pylist()).argsort()
    kept = np.sort(order[:300])
    own, by_hand = log["own"].to_numpy(), log["by_hand"].to_numpy()
    aged = prepare(config(tmp_path, "half_life = 10"))
    np.testing.assert_allclose(weights_of(aged, "train"), (by_hand / own)[kept], rtol=1e-6)
    assert weights_of(aged, "valid") is None
    both = prepare(config(tmp_path, "half_life = 10", weight="own"))
    np.testing.assert_allclose(weights_of(both, "train"), by_hand[kept], rtol=1e-6)
    np.testing.assert_allclose(weights_of(both, "valid"), own[np.sort(order[300:])])
    assert weights_of(prepare(config(tmp_path)), "train") is None


def closed(init):
    def init_closed(spool, *arguments):
        init(spool, *arguments)
        spool.close()

    return init_closed


def test_a_model_is_the_one_that_learns_from_the_weights_counted_by_hand(tmp_path, log):
    train(config(tmp_path, "half_life = 10", weight="own"), tmp_path / "aged")
    train(config(tmp_path, weight="by_hand"), tmp_path / "by_hand")
    train(config(tmp_path, weight="own"), tmp_path / "alike")
    aged, by_hand, alike = (open_bundle(tmp_path / run).verify().table for run in ("aged", "by_hand", "alike"))
    np.testing.assert_allclose(aged, by_hand, rtol=1e-4, atol=1e-6)
    assert np.abs(aged - alike).max() > 0.01


def test_without_a_column_of_times_it_is_refused():
    with pytest.raises(ConfigError, match="half_life weighs examples by their age"):
        parse_config('[data]\ntrain = "log.csv"\nlabel = "click"\nvalid = 0.1\n[train]\nhalf_life = 3')


def test_a_half_life_of_other_days_is_another_prepared_log_and_none_is_the_former_one(tmp_path, log):
    folders = {prepare(config(tmp_path, more)).folder for more in ("", "half_life = 3", "half_life = 4.5")}
    assert len(folders) == 3
