"""Learning from what a server logged and labels that come later: every row is learned once, waits, or is counted."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.jobs.update.runs import contents
from tests.jobs.update.serving import labels_of, rows_of, serve_day, train_with_ids

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.errors import ConfigError, DataError
from fieldwise.jobs.forget.forget import forget
from fieldwise.jobs.update.versions import read_record


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train_with_ids(tmp_path_factory.mktemp("late"))


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def weights(run):
    bundle = fw.open_bundle(run).verify()
    return {"table": np.array(bundle.table), **{name: np.array(array) for name, array in bundle.dense.items()}}


def check(record):
    """Nothing is left out in silence."""
    rows, labels = record.waiting, record.labels
    assert rows.read + rows.waited == (
        rows.ready + rows.waiting + rows.closed + rows.outlived + rows.repeated + rows.passed
    )
    assert labels.read == (
        labels.used + labels.known + labels.unknown + labels.twice + labels.contradictory + labels.unreadable
    )
    return rows, labels


def write(table, path):
    pyarrow.csv.write_csv(table, path)
    return path


def test_a_served_day_with_its_labels_is_the_same_day_as_a_log(run, trained, tmp_path):
    rows = rows_of(1)
    fw.update(run, rows.select(["user", "item", "price", "age", "tags", "impression", "click"]), gate=False)
    shutil.copytree(trained, tmp_path / "other")
    digest = fw.open_bundle(trained).digest[:12]
    served = serve_day(trained, tmp_path / "served", 1, rows, digest)
    shuffled = labels_of(rows).take(pa.array(np.random.default_rng(0).permutation(rows.num_rows)))
    result = fw.update(tmp_path / "other", served=served, labels=write(shuffled, tmp_path / "l.csv"), gate=False)
    counts, labels = check(result.record)
    assert (counts.read, counts.ready, labels.used) == (1200, 1200, 1200)
    assert (result.record.rows.read, result.record.rows.used) == (1200, 1200)
    one, other = weights(run), weights(tmp_path / "other")
    assert all(np.array_equal(one[name], other[name]) for name in one)
    # What the server said is what training says of the rows as they were logged.
    assert result.record.skew.rows == 1200
    assert result.record.skew.largest < 1e-6


def test_rows_without_a_label_wait_and_are_learned_when_it_comes_or_left_out_when_it_does_not(run, tmp_path):
    first, second, third = (rows_of(number) for number in (1, 2, 3))
    served = serve_day(run, tmp_path / "served", 1, first, "1")
    said = fw.update(run, served=served, labels=write(labels_of(first.slice(0, 800)), tmp_path / "1.csv"), gate=False)
    counts, _ = check(said.record)
    assert (counts.ready, counts.waiting) == (800, 400)
    before = contents(run)
    again = fw.update(run, served=served, labels=tmp_path / "1.csv", gate=False)
    counts, labels = check(again.record)
    assert (again.repeated, counts.repeated, counts.waited, labels.known) == (True, 1200, 400, 800)
    assert contents(run) == before
    serve_day(run, tmp_path / "served", 2, second)
    late = pa.concat_tables([labels_of(first.slice(900, 200)), labels_of(second)])
    record = fw.update(
        run,
        served=served,
        labels=write(late, tmp_path / "2.csv"),
        gate=False,
        overrides=["update.label_window=1.125"],
    ).record
    counts, labels = check(record)
    assert (counts.read, counts.waited, counts.ready, counts.repeated) == (2400, 400, 1400, 1200)
    # Of 200 rows without a label the last 100 were answered in the last eighth of the first day: their window is open.
    assert (counts.waiting, counts.outlived) == (100, 100)
    serve_day(run, tmp_path / "served", 3, third)
    record = fw.update(run, served=served, labels=write(labels_of(third), tmp_path / "3.csv"), gate=False).record
    counts, _ = check(record)
    assert (counts.ready, counts.waiting, counts.outlived) == (1200, 0, 100)
    assert any("100 rows are left out: their window closed without a label" in text for text in record.warnings)
    assert not read_record(run).waiting.files


def test_labels_of_nobody_twice_or_against_one_another_are_counted_and_not_learned(run, tmp_path):
    rows = rows_of(1)
    served = serve_day(run, tmp_path / "served", 1, rows, "1")
    labels = labels_of(rows)
    other = pa.table({"impression": ["nobody", "1-7", "1-7", "", "1-9"], "click": [1, 0, 1, 1, 7]})
    table = pa.concat_tables([labels.slice(0, 7), labels.slice(8), labels.slice(20, 3), other])
    record = fw.update(run, served=served, labels=write(table, tmp_path / "l.csv"), gate=False).record
    counts, of = check(record)
    assert (of.read, of.unknown, of.twice, of.contradictory, of.unreadable) == (1207, 1, 3, 2, 2)
    assert (counts.ready, record.rows.used, record.rows.rejected) == (1200, 1199, 1)
    assert sum("contradict" in text for text in record.warnings) == 1
    # Told otherwise of a row that was learned from: it stays as it was.
    turned = pa.table({"impression": ["1-3"], "click": [1 - labels["click"][3].as_py()]})
    again = fw.update(run, served=served, labels=write(turned, tmp_path / "turned.csv"), gate=False)
    assert (again.repeated, check(again.record)[1].contradictory) == (True, 1)


def test_rows_that_are_served_twice_are_learned_once_and_old_files_are_passed_over(run, tmp_path):
    rows = rows_of(1)
    served = serve_day(run, tmp_path / "served", 1, rows, "1")
    shutil.copy(served / "01-0-1.parquet", served / "copy.parquet")
    files = [tmp_path / f"{number}.csv" for number in range(6)]
    counts, _ = check(fw.update(run, served=served, labels=write(labels_of(rows), files[1]), gate=False).record)
    assert (counts.read, counts.ready, counts.repeated) == (1800, 1200, 600)
    for number in (2, 3, 4, 5):
        rows = rows_of(number)
        serve_day(run, tmp_path / "served", number, rows)
        counts, _ = check(
            fw.update(run, served=served, labels=write(labels_of(rows), files[number]), gate=False).record
        )
        assert counts.ready == 1200
    assert counts.passed == 1800 + 1200 - 1  # the first two days are two windows older than the newest row, but for one


def test_no_click_is_a_negative_when_the_window_closes_where_that_is_said(run, tmp_path):
    rows = rows_of(1)
    serve_day(run, tmp_path / "served", 1, rows, "1")
    served = serve_day(run, tmp_path / "served", 2, rows_of(2), "1")
    clicks = labels_of(pa.concat_tables([rows, rows_of(2)]))
    clicks = clicks.filter(pa.array(clicks["click"].to_numpy() == 1))
    pq.write_table(clicks, tmp_path / "clicks.parquet")
    record = fw.update(
        run, served=served, labels=tmp_path / "clicks.parquet", gate=False, overrides=["update.unlabelled=negative"]
    ).record
    counts, _ = check(record)
    num_clicks = int(rows["click"].to_numpy().sum())
    first = record.summary.classes[0]
    assert (counts.outlived, counts.ready, first) == (0, clicks.num_rows + first, 1200 - num_clicks)
    assert counts.waiting == 1200 - (clicks.num_rows - num_clicks)


def test_a_day_with_labels_that_are_not_final_waits_until_its_windows_are_closed(tmp_path):
    def day(number):
        moments = (1_767_225_600 + 86_400 * number + np.arange(480) * 180) * 1_000_000
        ad = np.random.default_rng(number).integers(0, 5, 480)
        click = (np.random.default_rng(50 + number).random(480) < 0.2 + 0.1 * ad).astype(int)
        ids = np.arange(480) + 480 * number
        return pa.table({"row": ids, "at": pa.array(moments, pa.timestamp("us")), "ad": ad, "click": click})

    from fieldwise.config import parse_config

    text = '[data]\ntrain = ["unused"]\nvalid = 0.1\nlabel = "click"\ntime = "at"\nid = "row"\n[model]\nkind = "lr"\n'
    run = tmp_path / "run"
    log = pa.concat_tables([day(number) for number in range(3)])
    fw.train(parse_config(text + "[fields.ad]\ntype = 'category'\n", base=tmp_path), run, data=log)
    known = ["update.label_window=0.5"]
    first = day(3)
    early = first.set_column(3, "click", pa.array(np.where(np.arange(480) % 3 == 0, first["click"].to_numpy(), 0)))
    said = fw.update(run, early, labels_until="2026-01-05T00:00", gate=False, overrides=known).record
    counts, _ = check(said)
    assert (counts.read, counts.ready, counts.waiting) == (480, 241, 239)
    pq.write_table(first.select(["row", "click"]), tmp_path / "labels.parquet")
    late = fw.update(
        run, day(4), labels=tmp_path / "labels.parquet", labels_until="2026-01-06", gate=False, overrides=known
    ).record
    counts, labels = check(late)
    assert (counts.waited, counts.ready, counts.waiting) == (239, 239 + 241, 239)
    # Rows that were learned as no click at the end of their window, and clicked later.
    turned = int((first["click"].to_numpy()[:241] != early["click"].to_numpy()[:241]).sum())
    assert (labels.contradictory, labels.used) == (turned, 239)
    clicks = int(first["click"].to_numpy()[241:].sum() + day(4)["click"].to_numpy()[:241].sum())
    assert late.summary.classes == [480 - clicks, clicks]


def test_what_cannot_be_joined_is_refused_with_what_to_do(run, tmp_path):
    from tests.jobs.update.runs import train

    rows = rows_of(1)
    served = serve_day(run, tmp_path / "served", 1, rows, "1")
    labels = write(labels_of(rows), tmp_path / "l.csv")
    with pytest.raises(ConfigError, match="one of them"):
        fw.update(run, rows, served=served)
    with pytest.raises(ConfigError, match="one of them"):
        fw.update(run)
    with pytest.raises(ConfigError, match="--labels-until"):
        fw.update(run, rows, labels=labels)
    with pytest.raises(ConfigError, match="not a point in time"):
        fw.update(run, rows, labels=labels, labels_until="tomorrow")
    with pytest.raises(ConfigError, match=r"data\.time"):
        fw.update(run, rows, labels_until="2026-11-03")
    with pytest.raises(DataError, match="no such column"):
        fw.update(run, served=served, labels=write(rows.select(["impression"]), tmp_path / "none.csv"))
    pq.write_table(rows.select(["user"]), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="not what a server logged"):
        fw.update(run, served=tmp_path / "other.parquet", labels=labels)
    table = pq.read_table(served / "01-0-1.parquet")
    without = table.drop_columns("impression")
    (tmp_path / "without").mkdir()
    pq.write_table(without, tmp_path / "without" / "a.parquet")
    with pytest.raises(DataError, match="no identifier"):
        fw.update(run, served=tmp_path / "without", labels=labels)
    with pytest.raises(ConfigError, match=r"data\.id"):
        fw.update(train(tmp_path / "plain", "lr"), served=served, labels=labels)
    pq.write_table(table.set_column(3, "model_name", pa.array(["cvr"] * 600)), served / "z.parquet")
    with pytest.raises(ConfigError, match="several models"):
        fw.update(run, served=served, labels=labels)


def test_a_server_that_reads_rows_otherwise_than_training_is_told_of(run, tmp_path):
    served = serve_day(run, tmp_path / "served", 1, rows_of(1), "1")
    path = served / "01-0-1.parquet"
    table = pq.read_table(path)
    said = table["probability"].to_numpy().copy()
    said[17] += 0.25
    place = table.column_names.index("probability")
    pq.write_table(table.set_column(place, "probability", pa.array(said)), path)
    write(labels_of(rows_of(1)), tmp_path / "l.csv")
    record = fw.update(run, served=served, labels=tmp_path / "l.csv", gate=False).record
    assert record.skew.largest == pytest.approx(0.25, abs=1e-5)
    assert any("do not read them alike" in text for text in record.warnings)


def test_the_command_says_what_became_of_rows_and_labels(run, tmp_path):
    rows = rows_of(1)
    served = serve_day(run, tmp_path / "served", 1, rows, "1")
    write(labels_of(rows.slice(0, 1000)), tmp_path / "l.csv")
    words = ["update", str(run), "--served", str(served), "--labels", str(tmp_path / "l.csv"), "--no-gate", "-q"]
    printed = CliRunner().invoke(main, words).stdout
    assert "1,200 read, 0 waiting from before; 1,000 are ready, 200 wait" in printed
    assert "labels: 1,000 read, 1,000 used" in printed
    again = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert (again["repeated"], again["waiting"]["waiting"], again["waiting"]["repeated"]) == (True, 200, 1200)
    assert again["rows"] == {"read": 0, "used": 0, "rejected": 0, "held_out": 0}
    assert not [text for text in fw.verify(run).unchecked if "waiting" in text]


def test_a_person_is_forgotten_in_rows_that_wait_and_the_rest_is_learned(run, tmp_path):
    rows = rows_of(1)
    served = serve_day(run, tmp_path / "served", 1, rows, "1")
    labels = write(labels_of(rows), tmp_path / "all.csv")
    fw.update(run, served=served, labels=write(labels_of(rows.slice(0, 800)), tmp_path / "1.csv"), gate=False)
    gone = int(pc.sum(pc.equal(rows["user"].slice(800), "u1")).as_py())
    forgotten = forget(run, "user", ["u1"])
    assert forgotten.proof.left == []
    assert list(forgotten.rows.values()) == [gone] != [0]
    assert fw.verify(run).damages == []
    counts, _ = check(fw.update(run, served=served, labels=labels, gate=False).record)
    # The server's log was not named, and still has theirs: they come again, as rows that are new.
    assert (counts.waited, counts.ready) == (400 - gone, 400)


def test_every_row_is_a_fake_negative_once_and_every_click_a_click_once_however_late_it_comes(run, tmp_path):
    rows = [rows_of(number) for number in range(1, 4)]
    clicks = [labels_of(day).filter(pc.equal(day["click"], 1)) for day in rows]
    settings = ["update.late_labels=fake-negatives", "update.label_window=1.5", "guards.label_rate=50"]
    served = tmp_path / "served" / "ctr"

    def without_click(table):
        return table.num_rows - int(pc.sum(table["click"]).as_py())

    def night(number, labels):
        serve_day(run, tmp_path / "served", number, rows[number - 1], "1")
        write(labels, tmp_path / "clicks.csv")
        record = fw.update(run, served=served, labels=tmp_path / "clicks.csv", gate=False, overrides=settings).record
        return check(record)[0], record

    soon, late = clicks[0].slice(0, 100), clicks[0].slice(100)
    counts, record = night(1, soon)
    assert (counts.early, counts.ready, counts.waiting) == (1200, 100, 1100)
    assert (record.rows.used, record.summary.classes) == (1300, [1100, 100])
    # Half of the first day's windows close at noon of the second day, before or after their clicks have come.
    counts, record = night(2, pa.concat_tables([late, clicks[1]]))
    assert (counts.early, counts.ready) == (1200, len(late) + len(clicks[1]))
    assert record.rows.used == 1200 + len(late) + len(clicks[1])
    assert counts.closed == without_click(rows[0].slice(0, 600))
    before = contents(run)
    assert fw.update(run, served=served, labels=tmp_path / "clicks.csv", gate=False, overrides=settings).repeated
    assert contents(run) == before
    counts, _ = night(3, clicks[2])
    assert (counts.early, counts.ready) == (1200, len(clicks[2]))
    assert counts.closed == without_click(rows[0].slice(600)) + without_click(rows[1].slice(0, 600))


@pytest.mark.long
def test_fake_negatives_put_the_calibration_right_that_late_clicks_have_spoiled(tmp_path):
    from benchmarks.late_labels import DaysOptions, simulate

    options = DaysOptions(days=15, rows=3000, fields=5, features=100, delay=12.0, season=0.0)
    found = {way: simulate(tmp_path / way, options, way, 3.0, "lr") for way in ("ignored", "wait", "fake-negatives")}
    off = {way: abs(np.log(each["calibration_of_the_later_half"])) for way, each in found.items()}
    assert off["ignored"] > 0.5
    assert off["wait"] < 0.1
    assert off["fake-negatives"] < 0.25
    assert found["fake-negatives"]["logloss"] < found["ignored"]["logloss"] - 0.005
