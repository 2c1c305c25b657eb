"""Learning from days: two halves are a day, the same day again is nothing, and what is refused stays out."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.jobs.update.runs import BATCH, contents, day_of, known, train

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.config import parse_config
from fieldwise.errors import ArtefactError, ConfigError, Stopped
from fieldwise.events import StageStart
from fieldwise.features.row_digests import row_digests
from fieldwise.jobs.update.holdout import content_columns, held_out
from fieldwise.jobs.update.judge import Judged, judge_version
from fieldwise.jobs.update.update import rollback
from fieldwise.jobs.update.versions import read_record

KINDS = ("lr", "lc-dnn")


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    return train(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def weights(run):
    bundle = fw.open_bundle(run).verify()
    return {"table": np.array(bundle.table), **{name: np.array(array) for name, array in bundle.dense.items()}}


def test_two_half_days_are_one_day_to_the_bit(trained, run, tmp_path):
    shutil.copytree(trained, tmp_path / "halves")
    rows = known(day_of(1, 2000))
    rows = rows.slice(0, rows.num_rows // (2 * BATCH) * 2 * BATCH)
    half = rows.num_rows // 2
    fw.update(run, rows, gate=False)
    for first in (0, half):
        fw.update(tmp_path / "halves", rows.slice(first, half), gate=False)
    whole, halves = weights(run), weights(tmp_path / "halves")
    assert all(np.array_equal(whole[name], halves[name]) for name in whole)
    assert any(not np.array_equal(whole[name], array) for name, array in weights(run / "bundle").items())


def test_two_passes_over_a_day_are_the_day_twice_and_its_figures_are_of_the_first(trained, run, tmp_path):
    for name in ("once", "twice"):
        shutil.copytree(trained, tmp_path / name)
    rows = known(day_of(1, 2000))
    rows = rows.slice(0, rows.num_rows // BATCH * BATCH)
    two = fw.update(run, rows, gate=False, overrides=["update.passes=2"]).record
    assert two.progressive == fw.update(tmp_path / "once", rows, gate=False).record.progressive
    twice = fw.update(tmp_path / "twice", pa.concat_tables([rows] * 2), gate=False, overrides=["guards.repeated=1"])
    assert (two.rows.used, twice.record.rows.used) == (rows.num_rows, 2 * rows.num_rows)
    ours, theirs = weights(run), weights(tmp_path / "twice")
    trained_rows = np.ones(len(ours["table"]), bool)
    trained_rows[fw.open_bundle(run).encoder.layout.base[:-1] + 1] = False  # the unseen are means by counts
    assert np.array_equal(ours.pop("table")[trained_rows], theirs.pop("table")[trained_rows])
    assert all(np.array_equal(ours[name], array) for name, array in theirs.items())


def test_the_same_day_again_changes_nothing(run, tmp_path):
    fw.update(run, day_of(1), gate=False)
    before = contents(run)
    (tmp_path / "other name").mkdir()
    path = tmp_path / "other name" / "copy.parquet"
    pq.write_table(day_of(1), path)
    again = fw.update(run, path, gate=False)
    assert again.repeated
    assert again.record.version == 2
    assert contents(run) == before


def test_everything_that_takes_a_run_takes_the_version_in_use(run):
    rows, before = day_of(2, 300), fw.Predictor(run).predict(day_of(2, 300)).tolist()
    result = fw.update(run, day_of(1), gate=False)
    assert (result.record.version, result.record.published) == (2, True)
    now = fw.Predictor(run).predict(rows).tolist()
    assert now != before
    assert now == fw.Predictor(run / "versions" / "2").predict(rows).tolist()
    assert fw.rollback(run) == 1
    assert fw.Predictor(run).predict(rows).tolist() == before
    fw.update(run, day_of(3), gate=False)  # goes on from the first version
    assert read_record(run).current == 3
    for _ in range(2):  # past version 2, which is out of use, and no further
        assert fw.rollback(run) == 1
    assert fw.rollback(run, 2) == 2
    assert fw.Predictor(run).predict(rows).tolist() == now
    with pytest.raises(ConfigError, match="no such version"):
        fw.rollback(run, 9)


def test_a_new_value_has_an_id_on_the_day_on_which_it_has_come_often_enough(run):
    def with_stranger(number):
        rows = day_of(number, 600)
        users = rows["user"].to_pylist()
        return day_of(number, 600, user=["stranger", *users[1:]])

    for day in (1, 2):
        features = fw.update(run, with_stranger(day), gate=False).record.features
        encoder = fw.open_bundle(run).encoder
        texts = encoder.feature_texts("user", range(encoder.rows["user"]))
        assert ("stranger" in texts) == (day == 2)  # min_count is 2
        assert features.rows == encoder.num_features == features.living


def test_values_that_do_not_come_any_more_leave_and_the_table_stays_as_large_as_what_lives(run):
    rows = fw.open_bundle(run).encoder.rows["item"]
    settings = ["update.keep_days=1", "guards.top=1", "guards.unknown=1"]
    for day in range(1, 5):
        items = [1000 * day + n % 15 for n in range(600)]
        result = fw.update(run, day_of(day, 600, item=items), gate=False, overrides=settings)
    assert result.record.features.left >= 15
    assert result.record.features.rows <= 1.1 * result.record.features.living
    assert fw.open_bundle(run).encoder.rows["item"] <= rows + 2


@pytest.fixture
def harmful(run, monkeypatch):
    """Settings of an update whose version is refused for harm; FTRL takes no rate of ours, so the gate is told."""
    if fw.open_bundle(run).model["kind"] == "lr":
        refused = Judged(publish=False, reasons=("harm",))

        def judged(*rest):
            return refused if rest[-1].max_fall == 0.5 else judge_version(*rest)

        monkeypatch.setattr("fieldwise.jobs.update.job.judge_version", judged)
    return ["gate.min_clicks=10", "gate.max_fall=0.5", "update.learning_rate=5000"]


def test_a_bad_day_is_refused_before_it_is_learned_from_or_as_a_version(run, harmful):
    stuck = fw.update(run, day_of(1, user=["u1"] * 1200)).record
    assert (stuck.version, stuck.current) == (None, 1)
    assert "user" in stuck.reasons[0]
    good = fw.update(run, day_of(2), overrides=["gate.min_clicks=10"]).record
    harm = fw.update(run, day_of(3), overrides=harmful).record
    assert (good.published, harm.published, harm.current) == (True, False, 2)
    assert harm.reasons
    assert (run / "refused" / str(harm.version)).exists()
    assert not (run / "state" / f"{harm.version:08d}").exists()
    assert read_record(run).head == 2
    assert (good.is_lost, harm.is_lost) == (False, True)
    assert "what was learned after it" in CliRunner().invoke(main, ["history", str(run)]).stdout


@pytest.mark.parametrize("trained", ["lr"], indirect=True)
def test_a_day_of_which_half_of_the_labels_are_those_of_other_rows_is_refused_and_leaves_no_trace(run):
    for number in range(2):
        fw.update(run, day_of(number, 3000), gate=False)
    before, rng = contents(run), np.random.default_rng(0)
    labels = day_of(9, 3000)["click"].to_numpy()
    shuffled = np.where(rng.random(3000) < 0.5, rng.permutation(labels), labels)
    bad = fw.update(run, day_of(9, 3000, click=shuffled), gate=False).record
    assert (bad.version, bad.published, bad.current) == (None, False, 3)
    [reason] = bad.reasons
    assert reason.startswith("the AUC of the version in use: expected about 0.9")
    assert "guards.auc_fall" in reason
    after = contents(run)
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"versions/updates.json"}
    assert fw.update(run, day_of(9, 3000), gate=False).record.published, "once its labels are right"


def test_a_day_is_learned_from_again_where_its_version_is_out_of_use_and_that_is_asked_for(run, harmful):
    settings = ["gate.min_clicks=10", "gate.max_fall=1"]
    fw.update(run, day_of(1), overrides=settings)
    harm = fw.update(run, day_of(2), overrides=harmful).record
    assert not harm.published
    before = contents(run)
    same = fw.update(run, day_of(2), overrides=settings)
    assert (same.repeated, same.lost) == (True, True)
    assert contents(run) == before
    taken = fw.update(run, day_of(2), again=True, overrides=settings).record
    assert (taken.version, taken.base, taken.published, taken.rows) == (4, 2, True, harm.rows)
    assert len(read_record(run).held_out) == len(list((run / "heldout").iterdir())) == 2
    learned = weights(run)
    for again in (False, True):
        same = fw.update(run, day_of(2), again=again, overrides=settings)
        assert (same.repeated, same.lost, same.record.version) == (True, False, 4)
    other_labels = day_of(2, click=1 - day_of(2)["click"].to_numpy())
    reason, *_ = fw.update(run, other_labels).record.reasons
    assert "with other labels" in reason
    assert reason.endswith("from which version 4 has learned")
    assert fw.rollback(run) == 2
    assert fw.update(run, day_of(2), overrides=settings).lost
    assert fw.update(run, day_of(2), again=True, overrides=settings).record.base == 2
    assert all(np.array_equal(learned[name], array) for name, array in weights(run).items())
    assert fw.update(run, day_of(3), overrides=settings).record.base == 5


def test_a_window_of_another_size_loses_no_row_that_is_held_out(run):
    def used(number, window):
        rows = fw.update(run, day_of(number), overrides=[f"gate.window={window}", "gate.min_clicks=5000"]).record.rows
        return rows.used - rows.read, rows.held_out

    held = [used(number, 3)[1] for number in (1, 2, 3)]
    left, newest = used(4, 1)
    assert left == sum(held) - newest
    assert used(5, 9)[0] < 0
    assert len(list((run / "heldout").iterdir())) == len(read_record(run).held_out) == 2


def test_a_day_of_which_all_rows_are_held_out_is_refused(run):
    rows = day_of(1)
    columns = content_columns(fw.open_bundle(run).encoder.schema, rows.column_names)
    record = fw.update(run, rows.filter(pa.array(held_out(row_digests(rows, columns))))).record
    assert (record.version, record.reasons[-1][:12]) == (None, "too few rows")


def test_a_model_of_three_classes_is_published_unjudged_and_that_is_said(tmp_path):
    def day(seed):
        ad = np.random.default_rng(seed).integers(0, 9, 600)
        return pa.table({"ad": ad, "row": np.arange(600) + 600 * seed, "click": [f"c{number % 3}" for number in ad]})

    text = '[data]\ntrain = ["unused"]\nvalid = 0.1\nlabel = "click"\nid = "row"\n[model]\nkind = "lr"\n'
    fw.train(parse_config(text + "[fields.ad]\ntype = 'category'\n", base=tmp_path), tmp_path / "run", data=day(0))
    record = fw.update(tmp_path / "run", day(1)).record
    assert record.published
    assert ["unjudged" in text for text in record.warnings] == [True]


def test_copies_of_versions_under_other_names_are_left_alone(run):
    fw.update(run, day_of(1), gate=False)
    for name in ("versions/2", "state/00000002"):
        shutil.copytree(run / name, run / f"{name}.bak")
    assert fw.update(run, day_of(2), gate=False).record.published
    assert (run / "versions/2.bak/manifest.json").exists()


def test_without_another_version_there_is_none_to_go_back_to(run):
    with pytest.raises(ConfigError, match="another version than 1, which is in use"):
        rollback(run)


@pytest.mark.parametrize("content", [b"", b"two", b"\xff\x00"])
def test_a_damaged_pointer_is_no_reason_to_answer_with_an_old_version(run, content):
    fw.update(run, day_of(1), gate=False)
    (run / "versions" / "current").write_bytes(content)
    with pytest.raises(ArtefactError, match="names the version in use is damaged"):
        fw.Predictor(run)
    assert len(fw.verify(run).damages) == 1
    assert rollback(run, 2) == 2
    assert fw.Predictor(run).bundle.folder == run / "versions" / "2"


def test_what_an_update_leaves_is_verified(run):
    fw.update(run, day_of(1))
    assert all("progress" in path or "report" in path or "card" in path for path in fw.verify(run).unchecked)
    [rows] = (run / "heldout").iterdir()
    for path in (rows, run / "versions" / "updates.json"):
        content = path.read_bytes()
        path.write_bytes(content[:150] + bytes([content[150] ^ 1]) + content[151:])
        assert str(path) in fw.verify(run).damages[0]
        path.write_bytes(content)


def test_values_that_are_no_text_are_counted_where_the_model_knows_none(run):
    users = [bytes([255, number % 250]) for number in range(1200)]
    day = day_of(1, user=pa.array(users, pa.binary()))
    fw.update(run, day_of(2), gate=False)
    [reason] = fw.update(run, day, gate=False).record.reasons
    assert reason.endswith("got 100.0% (guards.unknown)")
    assert fw.update(run, day, gate=False, overrides=["guards.unknown=1"]).record.published


def test_versions_that_there_is_too_little_to_judge_by_are_gone_on_from_and_not_published(run):
    results = [fw.update(run, day_of(day), overrides=["gate.min_clicks=80"]).record for day in (1, 2, 3)]
    assert not results[0].published
    assert results[0].rows.held_out > 0
    assert results[-1].published
    assert results[-1].held_out.new.num_examples == sum(result.rows.held_out for result in results)


def test_a_run_that_is_being_worked_in_or_is_none_is_refused(run, tmp_path):
    from fieldwise.jobs.run import holding_run

    with holding_run(run), pytest.raises(ConfigError, match="in use"):
        fw.update(run, day_of(1))
    with pytest.raises(ArtefactError, match="no run"):
        fw.update(tmp_path / "nothing", day_of(1))
    shutil.rmtree(run / "state")
    with pytest.raises(ArtefactError, match="keeps no state"):
        fw.update(run, day_of(1))


def test_a_model_that_learned_from_a_part_of_the_negatives_learns_from_a_part_and_predicts_all(tmp_path, monkeypatch):
    run = train(tmp_path, "lr", train="negative_rate = 0.5")
    shutil.copytree(run, tmp_path / "other")
    rows = known(day_of(1, 2000))
    record = fw.update(run, rows, gate=False).record
    assert record.rows.used == record.progressive.num_examples == rows.num_rows
    assert 0.9 < record.progressive.calibration < 1.1
    clicks = rows["click"].to_numpy()
    kept = (clicks == 1) | (np.random.default_rng([0, 0]).random(len(clicks)) < 0.5)
    monkeypatch.setattr("fieldwise.data.batches._some_negatives", lambda cache, *_: np.ones(cache.num_examples, bool))
    part = fw.update(tmp_path / "other", rows.filter(pa.array(kept)), gate=False, overrides=["guards.label_rate=9"])
    assert part.record.rows.used == kept.sum() < 0.9 * rows.num_rows
    ours, theirs = weights(run), weights(tmp_path / "other")
    trained_rows = np.ones(len(ours["table"]), bool)
    trained_rows[fw.open_bundle(run).encoder.layout.base[:-1] + 1] = False  # the unseen are means by counts
    assert np.array_equal(ours.pop("table")[trained_rows], theirs.pop("table")[trained_rows])
    assert all(np.array_equal(ours[name], array) for name, array in theirs.items())


def test_bins_and_scales_that_have_drifted_are_told_and_kept(run):
    still = fw.update(run, day_of(1), gate=False).record
    assert not [text for text in still.warnings if "drifted" in text]
    assert abs(still.drift["age"].mean) < 0.2
    assert still.drift["price"].psi < 0.05
    rows = day_of(2)
    older = day_of(2, age=rows["age"].to_numpy() + 60, price=[9.0] * rows.num_rows)
    moved = fw.update(run, older, gate=False, overrides=["guards.top=1", "guards.auc_fall=2"]).record
    texts = [text for text in moved.warnings if "drifted" in text]
    assert sorted(text.split(":")[0] for text in texts) == ["field age", "field price"]
    assert np.array_equal(*(fw.open_bundle(run / at).encoder.fields["price"].edges for at in ("bundle", "versions/3")))


def test_a_model_that_knows_of_a_time_takes_a_day_of_one_weekday_and_tells_its_hours(tmp_path):
    def day(number, num_rows):
        moments = 1_767_225_600 + 86_400 * number + np.arange(num_rows) * (86_400 // num_rows)
        ad = np.random.default_rng(number).integers(0, 5, num_rows)
        click = (np.random.default_rng(50 + number).random(num_rows) < 0.2 + 0.1 * ad).astype(int)
        return pa.table({"at": pa.array(moments * 1_000_000, pa.timestamp("us")), "ad": ad, "click": click})

    text = '[data]\ntrain = ["unused"]\nvalid = 0.1\nlabel = "click"\ntime = "at"\n[model]\nkind = "lr"\n'
    log = pa.concat_tables([day(number, 400) for number in range(7)])
    fw.train(parse_config(text + "[fields.ad]\ntype = 'category'\n", base=tmp_path), tmp_path / "run", data=log)
    record = fw.update(tmp_path / "run", day(7, 480), gate=False).record
    assert record.reasons == []
    assert (record.summary.day, record.published) == ("2026-01-08", True)
    assert {hour: figures.num_examples for hour, figures in record.by_hour.items()} == {
        f"{h:02d}": 20 for h in range(24)
    }


def test_the_commands_print_a_day_one_json_value_the_history_and_what_is_in_use(run, tmp_path):
    pq.write_table(day_of(1), tmp_path / "day.parquet")
    words = ["update", str(run), "--data", str(tmp_path / "day.parquet"), "--no-gate", "--quiet"]
    printed = CliRunner().invoke(main, words).stdout
    assert "1,200 read, 1,200 learned from, 0 held out, 0 rejected" in printed
    assert "version 2 is published; version 2 is in use" in printed
    again = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert (again["version"], again["published"], again["repeated"], again["reasons"]) == (2, True, True, [])
    assert {"auc", "logloss", "normalized_entropy", "calibration"} < set(again["progressive"])
    assert again["features"].keys() == {"living", "new", "left", "rows"}
    assert again["rows"] == {"read": 1200, "used": 1200, "rejected": 0, "held_out": 0}
    lines = CliRunner().invoke(main, ["history", str(run)]).stdout.splitlines()
    assert lines[0] == "1 day; version 2 is in use"
    assert lines[3].split()[:3] == ["1", "2", "yes"]
    assert max(map(len, lines)) <= 100
    assert CliRunner().invoke(main, ["rollback", str(run)]).stdout.startswith("version 1 is in use; ")
    history = json.loads(CliRunner().invoke(main, ["history", str(run), "--json"]).stdout)
    assert (history["current"], history["days"][0]["lost"]) == (1, True)
    lines = CliRunner().invoke(main, ["history", str(run)]).stdout.splitlines()
    assert lines[3].split()[:3] == ["1", "2", "undone"]
    assert "later versions have not learned from this day" in lines[-1]
    fw.rollback(run, 2)
    assert "undone" not in CliRunner().invoke(main, ["history", str(run)]).stdout


def test_rows_of_a_day_that_cannot_be_used_are_told_with_where_and_why_and_are_not_kept(run, tmp_path):
    prices = [str(value) for value in day_of(1)["price"].to_pylist()]
    prices[40] = "free of charge"
    pq.write_table(day_of(1, price=prices), tmp_path / "day.parquet")
    words = ["update", str(run), "--data", str(tmp_path / "day.parquet"), "--no-gate", "--quiet"]
    printed = CliRunner().invoke(main, words).stdout
    assert "1,200 read, 1,199 learned from, 0 held out, 1 rejected" in printed
    assert "1 of 1,200 rows could not be used:\n  not a finite number" in printed
    assert f"column price ({tmp_path / 'day.parquet'}, row 41: 'free of charge')" in printed
    assert not any(b"free of charge" in path.read_bytes() for path in run.rglob("*") if path.is_file())


@pytest.mark.parametrize("event", ["read", "train"])
def test_an_update_that_is_asked_to_stop_changes_nothing(run, event):
    def stop(said):
        if isinstance(said, StageStart) and said.name == event:
            os.kill(os.getpid(), signal.SIGTERM)

    before = contents(run)
    with pytest.raises(Stopped, match="nothing was changed"):
        fw.update(run, day_of(1), gate=False, listen=stop)
    assert contents(run) == before


@pytest.mark.parametrize("trained", ["lr"], indirect=True)
def test_the_history_has_each_day_by_slice(run):
    said = fw.update(run, day_of(2), gate=False).record.by_slice["item"]
    items = day_of(2)["item"].to_numpy()
    assert sum(each.num_examples for each in said.values()) == 1200
    assert said["3"].num_examples == int((items == 3).sum())
    [day] = json.loads(CliRunner().invoke(main, ["history", str(run), "--json"]).stdout)["days"]
    assert day["by_slice"]["item"]["3"]["auc"] == said["3"].auc
