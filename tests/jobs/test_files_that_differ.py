from __future__ import annotations

import datetime as dt
import gzip
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldwise.cli.survey import print_survey
from fieldwise.config import parse_config
from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.data.log import open_log
from fieldwise.errors import DataError
from fieldwise.jobs.check.check import check
from fieldwise.jobs.init.inference import infer_from, starting_config
from fieldwise.jobs.init.sample import read_sample, sample_of
from fieldwise.jobs.predict.predict import predict
from fieldwise.jobs.prepare.prepare import prepare
from fieldwise.jobs.train.train import train

N = 60
CLICKS = [at % 2 for at in range(N)]
RANDOM = random.Random(0)
USERS = [RANDOM.randrange(9) for _ in range(N)]


def log_of(folder, *columns, name="x"):
    """Write one Parquet file for each array, as the column `name` beside click and z."""
    folder.mkdir(exist_ok=True, parents=True)
    for at, column in enumerate(columns):
        pq.write_table(pa.table({"click": CLICKS, name: column, "z": USERS}), folder / f"day{at}.parquet")
    return folder


def config(folder, data="", fields="[fields.x]"):
    text = f'[data]\ntrain = "{folder}"\nlabel = "click"\n{data}\n{fields}\n'
    return parse_config(text, base=folder.parent)


DAYS = [dt.datetime(2026, 11, 1) + dt.timedelta(hours=7 * user) for user in USERS]
PAIRS = {
    "a gap makes doubles": (pa.array(USERS), pa.array([None if at == 3 else float(u) for at, u in enumerate(USERS)])),
    "widths": (pa.array(USERS, pa.int8()), pa.array(USERS, pa.uint64())),
    "numbers and text": (pa.array(USERS), pa.array([str(user) for user in USERS])),
    "strings": (pa.array([f"v{u}" for u in USERS]), pa.array([f"v{u}" for u in USERS], pa.large_string())),
    "a dictionary": (pa.array([f"v{u}" for u in USERS]), pa.array([f"v{u}" for u in USERS]).dictionary_encode()),
    "all missing": (pa.nulls(N), pa.array([f"v{u}" for u in USERS])),
    "units of time": (pa.array(DAYS, pa.timestamp("ns")), pa.array(DAYS, pa.timestamp("us", "UTC"))),
    "lists": (pa.array([[u, 1] for u in USERS]), pa.array([[str(u), "1"] for u in USERS], pa.large_list(pa.string()))),
    "truth and text": (pa.array([u < 5 for u in USERS]), pa.array([str(u < 5) for u in USERS])),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_types_that_can_be_brought_together_give_the_features_of_one_type(tmp_path, pair):
    one, other = PAIRS[pair]
    mixed = prepare(config(log_of(tmp_path / "mixed", one, other)))
    whole = prepare(config(log_of(tmp_path / "whole", other, other)))
    gaps = {"a gap makes doubles", "all missing"}
    assert mixed.encoder.rows == whole.encoder.rows
    if pair not in gaps:
        assert mixed.encoder.counts.tolist() == whole.encoder.counts.tolist()
    text, left_out = starting_config(sample_of(open_log(tmp_path / "mixed"), CsvOptions()), ["mixed"], "click")
    assert "[fields.x" in text
    assert left_out == []


@pytest.mark.parametrize(
    ("one", "other", "types"),
    [
        (pa.array(USERS), pa.array([u < 5 for u in USERS]), ("int64", "bool")),
        (pa.array(USERS), pa.array(DAYS), ("int64", r"timestamp\[us\]")),
        (pa.array(USERS), pa.array([[u] for u in USERS]), ("int64", "a list of int64")),
        (pa.array([2**60 + u for u in USERS]), pa.array([float(2**60 + u) for u in USERS]), ("int64", "double up to")),
    ],
)
def test_types_that_cannot_be_read_alike_are_refused_with_file_column_and_both(tmp_path, one, other, types):
    folder = log_of(tmp_path / "log", one, other)
    expected = rf"where: .*day1\.parquet, column x\n  expected: {types[0]}, as in .*day0\.parquet\n  got: {types[1]}"
    with pytest.raises(DataError, match=expected):
        prepare(config(folder, fields='[fields.x]\ntype = "category"'))
    assert [field.name for field in prepare(config(folder, 'exclude = ["x"]', "")).encoder.schema.fields] == ["z"]
    text, left_out = starting_config(sample_of(open_log(folder), CsvOptions()), ["log"], "click")
    if "list" in types[1]:  # a cell of one value is a bag of one
        assert "[fields.x]" in text
        assert 'type = "bag"' in text
        return
    assert left_out == ["x"]
    assert f'"x",                          # cannot be read alike: {types[0]} in' in text


def test_a_label_of_numbers_on_one_day_and_booleans_on_the_next_has_two_classes(tmp_path):
    folder = log_of(tmp_path / "log", pa.array(USERS))
    pq.write_table(pa.table({"click": [c == 1 for c in CLICKS], "x": USERS, "z": USERS}), folder / "later.parquet")
    assert prepare(config(folder)).encoder.schema.classes == ("0", "1")


def test_parts_that_differ_are_brought_together_or_refused_before_anything_is_read(tmp_path):
    train, test = log_of(tmp_path / "train", pa.array(USERS)), log_of(tmp_path / "test", pa.array(USERS, pa.float64()))
    assert prepare(config(train, f'test = "{test}"')).summary["parts"]["test"]["examples"] == N
    bad = log_of(tmp_path / "bad", pa.array([user < 5 for user in USERS]))
    with pytest.raises(DataError, match=r"bad/day0\.parquet, column x\n  expected: int64, as in .*train/day0"):
        prepare(config(train, f'test = "{bad}"'))
    other = log_of(tmp_path / "other", pa.array(USERS), name="w")
    with pytest.raises(DataError, match=r"other/day0\.parquet\n  expected: column x, as in .*train/day0"):
        prepare(config(train, f'test = "{other}"'))


def test_a_column_that_nobody_names_and_some_files_lack_is_left_out_with_the_reason(tmp_path):
    log_of(tmp_path / "log", pa.array(USERS))
    table = pa.table({"os": ["ios", "web"] * (N // 2), "z": USERS, "click": CLICKS, "x": USERS})
    pq.write_table(table, tmp_path / "log" / "later.parquet")
    prepared = prepare(config(tmp_path / "log"))
    assert prepared.summary["left_out"] == {"os": f"not in every file: {tmp_path}/log/day0.parquet lacks it"}
    assert prepared.summary["rows_read"] == 2 * N
    with pytest.raises(DataError, match=r"where: .*day0\.parquet\n  expected: column os, as in .*later\.parquet"):
        prepare(config(tmp_path / "log", fields="[fields.os]"))
    assert "os" in prepare(config(tmp_path / "log", 'exclude = ["os"]')).summary["left_out"]


def test_a_column_of_another_spelling_is_not_left_out_but_refused(tmp_path):
    log_of(tmp_path / "log", pa.array(USERS))
    pq.write_table(pa.table({"click": CLICKS, "X": USERS, "z": USERS}), tmp_path / "log" / "later.parquet")
    with pytest.raises(DataError, match=r"is 'X' the same column\? Name it 'x' in all files"):
        prepare(config(tmp_path / "log", fields=""))
    prepare(config(tmp_path / "log", 'exclude = ["x", "X"]', ""))


def test_keys_of_folders_are_fields_and_may_be_label_split_or_excluded(tmp_path):
    for part in ("train", "valid"):
        for click in (0, 1):
            for place in ("it", "de"):
                folder = tmp_path / "log" / f"split={part}" / f"click={click}" / f"place={place}"
                folder.mkdir(parents=True)
                (folder / "a.csv").write_text("user\n" + "a\nb\n" * 5)
    prepared = prepare(config(tmp_path / "log", 'split = "split"', ""))
    assert [field.name for field in prepared.encoder.schema.fields] == ["user", "place"]
    assert prepared.encoder.schema.classes == ("0", "1")
    assert {part: count["examples"] for part, count in prepared.summary["parts"].items()} == {"train": 40, "valid": 40}
    without = prepare(config(tmp_path / "log", 'split = "split"\nexclude = ["place"]', ""))
    assert [field.name for field in without.encoder.schema.fields] == ["user"]


def test_a_moved_file_is_another_log(tmp_path):
    folder = tmp_path / "log" / "day=1"
    log_of(tmp_path / "log", pa.array(USERS))
    folder.mkdir()
    (tmp_path / "log" / "day0.parquet").rename(folder / "day0.parquet")
    first = prepare(config(tmp_path / "log")).folder
    folder.rename(tmp_path / "log" / "day=2")
    assert prepare(config(tmp_path / "log")).folder != first


def test_the_sample_looks_into_later_files_where_the_first_shows_one_value(tmp_path, monkeypatch):
    monkeypatch.setattr("fieldwise.jobs.init.sample._SAMPLE_ROWS", N)
    for day in (1, 2, 3):
        (tmp_path / "log" / f"day={day}").mkdir(parents=True)
        extra = pa.nulls(N) if day == 1 else pa.array([f"v{user}" for user in USERS])
        pq.write_table(pa.table({"click": CLICKS, "x": extra}), tmp_path / "log" / f"day={day}" / "a.parquet")
    sample = read_sample(open_log(tmp_path / "log"))
    assert sample.column("day").to_pylist() == ["1"] * N + ["2"] * N + ["3"] * N
    inferred, _ = infer_from(config(tmp_path / "log", fields=""), [open_log(tmp_path / "log")])
    assert [field.name for field in inferred.schema.fields] == ["x", "day"]


def test_a_file_of_a_header_alone_and_a_parquet_file_without_rows_add_nothing(tmp_path):
    folder = log_of(tmp_path / "log", pa.array(USERS))
    pq.write_table(
        pa.table({"click": pa.array([], pa.int8()), "x": pa.nulls(0), "z": pa.nulls(0)}), folder / "a.parquet"
    )
    (folder / "b.csv").write_text("z,x,click\n")
    assert prepare(config(folder)).summary["rows_read"] == N


def test_check_says_which_files_and_columns_it_does_not_look_at(tmp_path):
    folder = log_of(tmp_path / "log", pa.array(USERS))
    pq.write_table(pa.table({"click": CLICKS, "x": USERS, "z": USERS, "os": CLICKS}), folder / "later.parquet")
    (folder / "notes.json").write_text("{}")
    survey = check(config(folder))
    assert survey.files_left_out == {f"{folder}/notes.json": "its ending is not that of a log"}
    assert survey.columns_left_out == {"os": f"not in every file: {folder}/day0.parquet lacks it"}
    assert survey.rows_read == 2 * N
    print_survey(survey)


def test_a_model_answers_alike_whatever_the_types_order_and_format_of_the_columns(tmp_path):
    folder = log_of(tmp_path / "log" / "place=it", pa.array(USERS))
    log_of(tmp_path / "log" / "place=de", pa.array([float(user) for user in reversed(USERS)]))
    quick = "[model]\nkind = 'lr'\n[train]\nepochs = 1\nbatch_size = 16\nthreads = 1\n"
    train(config(folder.parent, "valid = 0.2", f"[fields.place]\n{quick}"), tmp_path / "run")
    new = tmp_path / "new"
    texts = pa.array([str(user) for user in USERS]).dictionary_encode()
    (new / "1" / "place=it").mkdir(parents=True)
    pq.write_table(pa.table({"more": USERS, "z": texts, "x": texts}), new / "1" / "place=it" / "a.parquet")
    (new / "2").mkdir()
    rows = "".join(f"{user}.0,it,{user}\n" for user in USERS)
    (new / "2" / "b.csv.gz").write_bytes(gzip.compress(f"x,place,z\n{rows}".encode()))
    answers = []
    for data in (folder, new / "1", new / "2", new):
        predict(tmp_path / "run", data, tmp_path / "out.parquet")
        answers.append(pq.read_table(tmp_path / "out.parquet").column("probability").to_pylist())
    assert answers[1] == answers[2] == answers[0]
    assert answers[3] == answers[0] * 2
    (tmp_path / "bare.csv").write_text("x,z\n1,1\n")
    with pytest.raises(DataError, match=r"no such column\n  where: .*bare\.csv\n  got: place"):
        predict(tmp_path / "run", tmp_path / "bare.csv", tmp_path / "out.parquet")
