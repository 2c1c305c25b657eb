"""Preparing a log whose parts are cut by time (``data.time``)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fieldwise as fw
from fieldwise.config import parse_config
from fieldwise.data.split_by_time import SplitByTime
from fieldwise.errors import ConfigError, DataError
from fieldwise.jobs.prepare.estimate import estimate
from fieldwise.jobs.prepare.prepare import prepare
from fieldwise.jobs.run import read_result
from fieldwise.jobs.train.train import train

ROWS = 400


def log_of(times):
    rng = np.random.default_rng(0)
    ad = rng.integers(0, 5, ROWS)
    click = (rng.random(ROWS) < 0.2 + 0.1 * ad).astype(int)
    return pa.table({"at": times, "ad": [f"ad{number}" for number in ad], "row": np.arange(ROWS), "click": click})


def as_times(seconds):
    return pa.array(seconds * 1_000_000, pa.timestamp("us"))


def config(tmp_path, more="", column="at"):
    text = f"""
[data]
train = ["unused"]
valid = 0.1
test = 0.1
label = "click"
time = "{column}"
exclude = ["row"]
{more}
"""
    return parse_config(text, base=tmp_path)


@pytest.fixture
def seconds():
    return np.random.default_rng(1).permutation(ROWS) * 3600 + 1_767_225_600


def test_parts_are_cut_in_the_order_of_time_and_it_is_said(tmp_path, seconds):
    prepared = prepare(config(tmp_path), data=log_of(as_times(seconds)))
    sizes = {part: cache.num_examples for part, cache in prepared.parts.items()}
    assert sizes == {"train": 320, "valid": 40, "test": 40}
    assert [field.name for field in prepared.encoder.schema.fields] == ["at_hour", "at_weekday", "ad"]
    [remark] = [remark for remark in prepared.read.remarks if "cut by the time" in remark]
    for moment in np.sort(seconds)[[320, 360]].astype("datetime64[s]"):
        assert str(moment).replace("T", " ") in remark
    again = prepare(config(tmp_path), data=log_of(as_times(seconds)))
    assert again.read.remarks == prepared.read.remarks


def test_the_examples_of_a_part_are_those_of_its_time(tmp_path, seconds):
    log = log_of(as_times(seconds))
    prepared = prepare(config(tmp_path), data=log)
    order = np.argsort(seconds)
    for part, rows in (("train", order[:320]), ("valid", order[320:360]), ("test", order[360:])):
        expected = log["click"].to_numpy()[np.sort(rows)]  # a part keeps the order of the log
        assert prepared.parts[part].labels().tolist() == expected.tolist()


def test_a_time_that_is_a_number_cuts_and_is_no_input(tmp_path):
    prepared = prepare(config(tmp_path), data=log_of(np.random.default_rng(1).permutation(ROWS) + 5))
    assert [field.name for field in prepared.encoder.schema.fields] == ["ad"]
    assert prepared.read.columns_not_used["at"] == "time of the example, by which parts are cut (data.time)"
    assert prepared.parts["test"].num_examples == 40


def test_rows_without_a_time_are_rejected(tmp_path, seconds):
    some = pa.array([None if row < 7 else int(moment) for row, moment in enumerate(seconds)])
    prepared = prepare(config(tmp_path), data=log_of(some))
    assert prepared.read.rows_rejected == 7
    assert "so the row has no part" in prepared.read.reasons[0].reason


def test_a_model_that_is_trained_on_them_answers_rows_without_times(tmp_path, seconds):
    more = "[fields.at]\nexclude = true\n[model]\nkind = 'lr'\n[train]\nepochs = 1"
    train(config(tmp_path, more), tmp_path / "run", data=log_of(as_times(seconds)))
    assert len(fw.Predictor(tmp_path / "run").predict([{"ad": "ad1"}])) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", "neither is given as a share"),
        ('split = "part"', "split already says"),
        ('split = "part"\nvalid = 0.1', "split already says"),
    ],
)
def test_settings_that_contradict_it_are_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(f'[data]\ntrain = "log.csv"\nlabel = "click"\ntime = "at"\n{more}')


def test_a_column_that_the_log_lacks_is_named(tmp_path, seconds):
    with pytest.raises(DataError, match="no such column") as refused:
        prepare(config(tmp_path, column="att"), data=log_of(seconds))
    assert "did you mean at" in str(refused.value)


def test_an_estimate_does_not_read_the_whole_log_for_its_times(tmp_path, seconds, monkeypatch):
    path = tmp_path / "log.parquet"
    pq.write_table(log_of(as_times(seconds)), path)
    settings = parse_config(
        '[data]\ntrain = "log.parquet"\nvalid = 0.1\ntest = 0.1\nlabel = "click"\ntime = "at"\nexclude = ["row"]',
        base=tmp_path,
    )

    def read_whole(split):
        raise AssertionError("all times are read")

    monkeypatch.setattr(SplitByTime, "_boundaries", read_whole)
    found = estimate(settings)
    assert found.rows == ROWS
    assert found.training_rows == pytest.approx(0.8 * ROWS, abs=1)


def test_times_that_are_read_otherwise_are_cut_anew(tmp_path):
    rows = [f"{day:02d}/{month:02d}/2026" for day in range(1, 13) for month in range(1, 13)]
    rng = np.random.default_rng(0)
    log = pa.table({"at": rows, "ad": rng.integers(0, 3, 144).astype(str), "click": rng.integers(0, 2, 144)})

    def remark(form):
        more = f'[fields.at]\nexclude = true\nformat = "{form}"'
        return prepare(config(tmp_path, more.replace("[fields", "\n[fields")), data=log.append_column("row", log["ad"]))

    one, other = remark("%d/%m/%Y"), remark("%m/%d/%Y")
    assert one.folder != other.folder
    assert one.read.remarks == other.read.remarks  # the log is the same read either way round
    assert (one.parts["test"].labels() != other.parts["test"].labels()).any()


def test_of_several_fields_the_one_that_says_how_times_are_written_counts(tmp_path, seconds):
    days = [str(np.datetime64(int(moment), "s").astype("datetime64[D]")).replace("-", ".") for moment in seconds]
    more = '[fields.raw]\ntype = "category"\ncolumn = "at"\n[fields.hour]\ntype = "time"\ncolumn = "at"\n'
    prepared = prepare(config(tmp_path, more + 'part = "weekday"\nformat = "%Y.%m.%d"'), data=log_of(days))
    assert prepared.parts["test"].num_examples > 0


def test_what_a_log_without_times_is_told_to_do_works(tmp_path, seconds):
    days = [f"{np.datetime64(int(moment), 's').item():%d/%m/%Y %H:%M}" for moment in seconds]
    with pytest.raises(DataError, match="cannot be cut by time") as refused:
        prepare(config(tmp_path), data=log_of(days))
    hint = str(refused.value).split("written: ")[1]
    more = f"[fields]\n{hint.removeprefix('fields.')}"
    assert prepare(config(tmp_path, more), data=log_of(days)).parts["test"].num_examples == 40


def test_only_parts_that_time_cuts_are_said_to_begin(tmp_path, seconds):
    pq.write_table(log_of(as_times(seconds)), tmp_path / "valid.parquet")
    text = '[data]\ntrain = ["unused"]\nvalid = "valid.parquet"\ntest = 0.2\nlabel = "click"\ntime = "at"\n'
    prepared = prepare(parse_config(text, base=tmp_path), data=log_of(as_times(seconds)))
    [remark] = [remark for remark in prepared.read.remarks if "cut by the time" in remark]
    assert "valid from" not in remark
    assert "test from" in remark


def test_days_are_told_by_times_as_the_model_knows_them(tmp_path, seconds):
    days = [int(f"{np.datetime64(int(moment), 's').item():%y%m%d%H}") for moment in seconds]
    more = '[fields.at]\nexclude = true\nformat = "%y%m%d%H"\n[model]\nkind = "lr"'
    train(config(tmp_path, more), tmp_path / "run", data=log_of(days))
    found = fw.evaluate(tmp_path / "run", log_of(days), by_day=True)
    assert [each.day for each in found.by_day][:2] == ["2026-01-01", "2026-01-02"]
    assert sum(each.metrics.num_examples for each in found.by_day) == ROWS


FOLDS = """
[data]
train = ["unused"]
folds = 3
label = "click"
time = "at"
exclude = ["row"]
[fields.at]
exclude = true
[model]
kind = "lr"
"""


def test_each_fold_in_time_is_tested_on_rows_later_than_those_that_train(tmp_path, seconds):
    table = log_of(as_times(seconds)).append_column("order", pa.array(np.argsort(np.argsort(seconds)).astype(float)))
    text = FOLDS.replace("[model]", '[fields.order]\ntype = "number"\nscale = "none"\n[model]')
    tested = []
    for fold in range(3):
        own = parse_config(text.replace("folds = 3", f"folds = 3\nfold = {fold}"), base=tmp_path)
        parts = prepare(own, data=table).parts
        orders = {
            name: np.sort(part.gather(np.arange(part.num_examples)).batch.values[0]) for name, part in parts.items()
        }
        assert orders["train"].tolist() == list(range(80 * (fold + 1)))
        assert orders["valid"].tolist() == list(range(80 * (fold + 1), 80 * (fold + 2)))
        tested += orders["test"].tolist()
    assert tested == list(range(160, ROWS))


def test_a_model_of_folds_in_time_is_trained_on_all_rows_with_their_penalty(tmp_path, seconds):
    result = train(parse_config(FOLDS, base=tmp_path), tmp_path / "run", data=log_of(as_times(seconds)))
    tested = [read_result(tmp_path / "run" / "folds" / str(fold)) for fold in range(3)]
    assert [each.test.num_examples for each in tested] == [80, 80, 80]
    assert result.folds["auc"].of_folds == pytest.approx([each.test.auc for each in tested])
    assert result.l2 == np.median([each.l2 for each in tested])
    assert result.test is None
