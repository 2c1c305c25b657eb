"""Synthetic logs in days: what they promise of themselves, checked on what lies on the disk."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet
import pytest

from fieldwise.datasets.synth_days import DaysOptions, make_synth_days
from fieldwise.errors import ConfigError

OPTIONS = DaysOptions(days=15, rows=8_000, fields=6, features=400, lifetime=10.0, drift=0.05, seed=3)


def made(folder, options=OPTIONS):
    make_synth_days(folder, options, name="log")
    facts = json.loads((folder / "log.json").read_text())
    return {day: pyarrow.parquet.read_table(folder / "log" / f"{day}.parquet") for day in facts["days"]}, facts["days"]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return made(tmp_path_factory.mktemp("days"))


def test_a_log_of_more_days_begins_with_the_shorter_one(tmp_path, log):
    days, _ = log
    short, _ = made(
        tmp_path, DaysOptions(days=3, rows=8_000, fields=6, features=400, lifetime=10.0, drift=0.05, seed=3)
    )
    assert list(short) == list(days)[:3]
    for day, table in short.items():
        assert table.equals(days[day])


def test_the_facts_are_those_of_the_rows_on_the_disk(log):
    days, facts = log
    known = [set() for _ in range(6)]
    for number, (day, table) in enumerate(days.items()):
        assert facts[day]["examples"] == table.num_rows == 8_000
        assert facts[day]["click_rate"] == pytest.approx(table["click"].to_numpy().mean(), abs=1e-12)
        new = np.zeros(table.num_rows, dtype=bool)
        for field, values in enumerate(known):
            texts = table[f"f{field:03d}"].to_pylist()
            if number:
                new |= np.array([text not in values for text in texts])
            values.update(texts)
        # A feature that was born on an earlier day may be met today for the first time.
        assert facts[day]["born"] <= new.mean()
        assert (facts[day]["born"] > 0) == (number > 0)


def test_rows_lie_in_the_order_of_time_and_clicks_become_known_later(log):
    days, _ = log
    for day, table in days.items():
        shown = table["time"].to_numpy()
        assert (shown[1:] >= shown[:-1]).all()
        assert str(shown[0])[:10] == str(shown[-1])[:10] == day
        clicked = table["click"].to_numpy() == 1
        assert table["clicked_at"].is_valid().to_numpy().tolist() == clicked.tolist()
        waited = table.filter(pc.equal(table["click"], 1))
        hours = (waited["clicked_at"].to_numpy() - waited["time"].to_numpy()) / np.timedelta64(1, "h")
        assert (hours >= 0).all()
        assert hours.mean() == pytest.approx(OPTIONS.delay, rel=0.25)
    ids = np.concatenate([table["id"].to_numpy() for table in days.values()])
    assert (np.diff(ids) == 1).all()


def test_the_best_possible_auc_stays_that_of_the_options_as_the_world_changes(log):
    _, facts = log
    best = np.array([day["best"]["auc"] for day in facts.values()])
    np.testing.assert_allclose(best, OPTIONS.best_auc, atol=0.05)
    assert best.mean() == pytest.approx(OPTIONS.best_auc, abs=0.02)


def test_features_come_and_go_at_the_rate_that_was_asked_for(log):
    days, _ = log
    tables = list(days.values())
    large = max(range(6), key=lambda field: len(pc.unique(tables[0][f"f{field:03d}"])))
    name = f"f{large:03d}"
    first = set(tables[0][name].to_pylist())
    left = [np.mean([text in first for text in table[name].to_pylist()]) for table in tables]
    assert left[0] == 1.0
    # After 14 days (1 - 1/10)^14 = .23 of the features were there on the first.
    assert left[-1] < 0.6
    assert all(later <= earlier + 0.05 for earlier, later in pairwise(left))


def click_rates(table):
    """Return the click rate of every value of the only field."""
    rates = table.group_by("f000").aggregate([("click", "mean")]).sort_by("f000")
    return rates["click_mean"].to_numpy()


def test_effects_drift(tmp_path):
    def tables(drift):
        options = DaysOptions(
            days=30, rows=10_000, fields=1, features=4, truth="linear", drift=drift, season=0, seed=1, click_rate=0.3
        )
        return list(made(tmp_path / str(drift), options)[0].values())

    def moved(one, other):
        return np.abs(click_rates(one) - click_rates(other)).max()

    steady, drifting = tables(0.0), tables(0.1)
    assert moved(steady[0], steady[-1]) < 0.1
    assert moved(drifting[0], drifting[-1]) > max(0.1, moved(drifting[0], drifting[1]))


@pytest.mark.parametrize(
    ("option", "value"),
    [("days", 1), ("drift", 1.5), ("lifetime", 0.5), ("season", -1.0), ("delay", -1.0), ("rows", 0)],
)
def test_an_option_out_of_range_is_refused(tmp_path, option, value):
    with pytest.raises(ConfigError, match="invalid option of a synthetic log") as refused:
        make_synth_days(tmp_path, DaysOptions(**{option: value}))
    assert option in str(refused.value)
