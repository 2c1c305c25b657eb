"""What predict and evaluate do with rows that are few, unlike training's, or in the way of the output."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.predict.conftest import QUICK, log_rows, text_of

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.data.csv_dialect import CsvOptions

HEADER = "user,ts,price,rid\n"


def cli(*arguments: object):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write(folder, name, table):
    pq.write_table(pa.table(table), folder / name)
    return folder / name


ROWS = {"user": ["00001"], "ts": ["2026-11-02 10:00:00"], "price": [0.5]}


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("rows", ["header.csv", "nothing.csv", "nothing.csv.gz", "none.parquet", "folder"])
def test_a_log_without_rows_gives_columns_and_no_rows(run, tmp_path, rows, ending):
    (tmp_path / "header.csv").write_text(HEADER)
    (tmp_path / "nothing.csv").write_bytes(b"")
    (tmp_path / "nothing.csv.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.csv").write_bytes(b"")
    none = pa.table(
        {**{name: pa.array([], pa.string()) for name in ("user", "ts", "rid")}, "price": pa.array([], pa.float64())}
    )
    pq.write_table(none, tmp_path / "none.parquet")
    out = tmp_path / "out" / f"p.{ending}"
    prediction = fw.predict(run, tmp_path / rows, out)
    assert prediction.examples == 0
    assert prediction.warnings
    if ending == "parquet":
        schema = pq.read_schema(out)
        assert schema.names[1:] == ["probability"]
        assert schema.field("probability").type == pa.float32()
    else:
        assert out.read_text().splitlines()[0].endswith('"probability"')
        assert len(out.read_text().splitlines()) == 1
    (tmp_path / "labelled.csv").write_text("click," + HEADER)
    with pytest.raises(fw.DataError, match="no rows to evaluate"):
        fw.evaluate(run, tmp_path / "labelled.csv")


@pytest.mark.parametrize("options", [(), ("--contributions",), ("--json",)])
def test_rows_of_which_none_can_be_used_are_an_error_and_nothing_is_written(run, tmp_path, options):
    (tmp_path / "bad.csv").write_text(HEADER + "1,2026-11-02,many,r1\n2,2026-11-02,few,r2\n")
    before = tmp_path / "before.csv"
    before.write_text('"rid","probability"\nr0,0.5\n')
    done = cli("predict", run, "--data", tmp_path / "bad.csv", "--out", before, "--quiet", *options)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert "error: no row can be used, so there is nothing to predict" in done.stderr
    assert f"where: {tmp_path / 'bad.csv'}" in done.stderr
    assert "2 of 2 rows could not be used" in done.stderr
    assert "column price" in done.stderr
    assert f"{before}.rejects.jsonl lists all of them" in done.stderr
    assert before.read_text() == '"rid","probability"\nr0,0.5\n'
    lines = (tmp_path / "before.csv.rejects.jsonl").read_text().splitlines()
    assert [(json.loads(line)["row"], json.loads(line)["value"]) for line in lines] == [(1, "many"), (2, "few")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "before.csv", "before.csv.rejects.jsonl"]
    to_standard_output = cli("predict", run, "--data", tmp_path / "bad.csv", "--out", "-", "--quiet")
    assert to_standard_output.exit_code == 2
    assert len(to_standard_output.stdout.splitlines()) <= 1  # the names of the columns


def test_metrics_of_a_file_that_a_model_learned_from_come_with_a_warning(run, tmp_path):
    log = run.parent / "log.csv"
    copy = tmp_path / "copy.csv"
    copy.write_bytes(log.read_bytes())
    for path, data, warned in (
        (run, log, True),
        (run / "bundle", os.path.relpath(log), True),
        (run, str(log.parent / "*.csv"), True),
        (run, copy, False),
    ):
        found = fw.evaluate(path, data).warnings
        assert any("was trained on rows of" in text and "log.csv" in text for text in found) is warned, found
    said = cli("evaluate", run, "--data", log, "--quiet")
    assert "Warning: the model was trained on rows of" in said.output.replace("\n", " ")
    fw.Predictor(run).save(tmp_path / "alone")
    assert not any("trained on" in text for text in fw.evaluate(tmp_path / "alone", log).warnings)


def test_a_file_written_after_a_model_was_trained_is_another_log(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    log = run.parent / "log.csv"
    trained_at = (tmp_path / "run" / "run.json").stat().st_mtime_ns
    old = log.stat()
    try:
        os.utime(log, ns=(old.st_atime_ns, trained_at + 1_000_000_000))
        assert not any("trained on" in text for text in fw.evaluate(tmp_path / "run", log).warnings)
    finally:
        os.utime(log, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert any("trained on" in text for text in fw.evaluate(tmp_path / "run", log).warnings)


def test_a_table_without_rows_gives_the_types_that_one_with_rows_gives(run, tmp_path):
    some = write(tmp_path, "some.parquet", {**ROWS, "rid": pa.array([7], pa.uint32())})
    pq.write_table(pq.read_table(some).slice(0, 0), tmp_path / "none.parquet")
    for name in ("some", "none"):
        fw.predict(run, tmp_path / f"{name}.parquet", tmp_path / f"out-{name}.parquet")
    assert pq.read_schema(tmp_path / "out-none.parquet").equals(pq.read_schema(tmp_path / "out-some.parquet"))


@pytest.mark.parametrize(
    "way", ["itself", "relative", "symbolic", "hard", "rejects", "of a glob", "of a folder", "inside"]
)
def test_an_output_that_is_an_input_is_refused_and_the_input_stays(run, tmp_path, monkeypatch, way):
    log = tmp_path / "log.csv"
    log.write_text(HEADER + "00001,2026-11-02,.5,r1\n")
    before = log.read_bytes()
    monkeypatch.chdir(tmp_path)
    out, data = log, [log]
    if way == "relative":
        out = "../" + tmp_path.name + "/log.csv"
    elif way == "symbolic":
        out = tmp_path / "link.csv"
        out.symlink_to(log)
    elif way == "hard":
        out = tmp_path / "link.csv"
        os.link(log, out)
    elif way == "rejects":
        log = log.rename(tmp_path / "p.csv.rejects.jsonl")
        out, data = tmp_path / "p.csv", [log]
    elif way == "of a glob":
        out, data = tmp_path / "p.csv", [tmp_path / "*.csv"]
    elif way == "of a folder":
        out, data = tmp_path / "deep" / "p.csv", [tmp_path]
    elif way == "inside":
        out = run / "bundle" / "p.csv"
    with pytest.raises(fw.ConfigError, match="output"):
        fw.predict(run, data, out, format="csv")
    assert log.read_bytes() == before


@pytest.mark.parametrize("command", ["predict", "init", "check"])
def test_an_output_below_a_file_is_refused(run, tmp_path, command):
    log = tmp_path / "log.csv"
    log.write_text(text_of(log_rows(40)))
    arguments = {
        "predict": [run, "--data", log, "--out", log / "p.csv"],
        "init": [log, "--out", log / "c.toml"],
        "check": [log, "--html", log / "c.html"],
    }
    found = cli(command, *arguments[command])
    assert (found.exit_code, "Traceback" in found.output, str(log) in found.output) == (2, False, True)


def test_an_output_beside_the_log_is_written(run, tmp_path):
    (tmp_path / "day.csv").write_text(HEADER + "00001,2026-11-02,.5,r1\n")
    fw.predict(run, tmp_path / "d*.csv", tmp_path / "p.csv")
    fw.predict(run, tmp_path / "day.csv", tmp_path / "p.csv")  # a result is replaced by the next one
    (tmp_path / "q.csv").mkdir()
    with pytest.raises(fw.ConfigError, match="output is a folder"):
        fw.predict(run, tmp_path / "day.csv", tmp_path / "q.csv")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_predictions_are_replaced_by_newer_ones_and_files_of_others_are_not(run, tmp_path, ending):
    log = tmp_path / "log.csv"
    log.write_text(text_of(log_rows(20)))
    out = tmp_path / f"p.{ending}"
    out.touch()  # as mktemp makes it
    fw.predict(run, log, out)
    first = out.read_bytes()
    fw.predict(run, log, out)
    assert out.read_bytes() == first
    for content in ("a,b\n1,2\n", "short", "x" * 200_000):
        out.write_text(content)
        with pytest.raises(fw.ConfigError, match=r"(?s)the output file already exists.*--overwrite"):
            fw.predict(run, log, out)
        assert out.read_text() == content
    command = ["predict", str(run), "--data", str(log), "--out", str(out), "--overwrite", "-q"]
    assert CliRunner().invoke(main, command).exit_code == 0
    assert out.read_bytes() == first


def test_identifiers_of_files_that_differ_come_as_one_type(run, tmp_path):
    kinds = {
        "int64": [pa.array([1], pa.int32()), pa.array([None], pa.int64()), pa.array([3], pa.uint16())],
        "uint64": [pa.array([1], pa.uint8()), pa.array([1 << 63], pa.uint64())],
        "string": [pa.array([-1], pa.int8()), pa.array([1 << 63], pa.uint64())],
        "text": [pa.array(["a"]).dictionary_encode(), pa.array(["b"], pa.large_string()), pa.array([5], pa.int64())],
    }
    expected = {"int64": [1, None, 3], "uint64": [1, 1 << 63], "string": ["-1", str(1 << 63)], "text": ["a", "b", "5"]}
    for name, columns in kinds.items():
        for number, column in enumerate(columns):
            (tmp_path / name).mkdir(exist_ok=True)
            write(tmp_path / name, f"{number}.parquet", {**ROWS, "rid": column})
        for ending in ("parquet", "csv"):
            fw.predict(run, tmp_path / name, tmp_path / f"{name}.{ending}")
        assert pq.read_table(tmp_path / f"{name}.parquet")["rid"].to_pylist() == expected[name]


def test_rows_without_the_identifier_are_numbered(run, tmp_path):
    write(tmp_path, "new.parquet", {name: values * 3 for name, values in ROWS.items()})
    found = cli("predict", run, "--data", tmp_path / "new.parquet", "--out", tmp_path / "p.parquet", "-q")
    assert found.exit_code == 0
    assert "no column rid (data.id)" in found.output
    here = fw.Predictor(run).predict(pq.read_table(tmp_path / "new.parquet"))
    written = pq.read_table(tmp_path / "p.parquet")
    assert written.column_names == ["row", "probability"]
    assert written["row"].to_pylist() == list(range(1, len(written) + 1))
    np.testing.assert_allclose(written["probability"], here, rtol=0, atol=1e-6)
    write(tmp_path, "other.parquet", {**ROWS, "rid": ["a"]})
    some = fw.predict(run, [tmp_path / "new.parquet", tmp_path / "other.parquet"], tmp_path / "q.parquet")
    assert (some.identifier, some.examples) == ("row", 4)
    assert "some files have no column rid" in some.warnings[0]


def test_predict_and_evaluate_say_which_values_are_unlike_those_of_training(run, tmp_path):
    rows = [{**row, "user": str(int(str(row["user"]))), "ts": "02.11.2026 10:01", "price": ""} for row in log_rows(60)]
    (tmp_path / "new.csv").write_text(text_of(rows))
    (tmp_path / "same.csv").write_text(text_of(log_rows(60)))
    found = json.loads(
        cli("predict", run, "--data", tmp_path / "new.csv", "--out", tmp_path / "p.csv", "--json").stdout
    )
    shares = {field["name"]: (field["missing"], field["unseen"]) for field in found["fields"]}
    assert (shares["user"], shares["hour"], shares["price"]) == ((0, 1), (0, 1), (1, 0))
    user, ts, price = found["warnings"]
    assert user.startswith("column user: 100 % of the values are unseen (training: ")
    assert ts.startswith("column ts: no value is a point in time")
    assert price.startswith("column price: 100 % of the values are missing (training: 0 %)")
    evaluation = fw.evaluate(run, tmp_path / "new.csv")
    assert evaluation.warnings[-3:] == found["warnings"]
    assert "Warning: column user" in cli("evaluate", run, "--data", tmp_path / "new.csv").stdout
    assert fw.evaluate(run, tmp_path / "same.csv").warnings == []
    assert fw.predict(run, tmp_path / "same.csv", tmp_path / "p.csv").warnings == []


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_the_delimiter_that_was_recognised_in_training_is_that_of_all_files_to_come(tmp_path, delimiter):
    rows = log_rows(300)
    (tmp_path / "log.csv").write_text(text_of(rows, delimiter))
    data = fw.DataConfig(train="log.csv", label="click", exclude=("rid", "ts", "price"))
    fw.train(fw.Config(data=data, base=str(tmp_path), **QUICK), tmp_path / "run")
    users = [row["user"] for row in rows[:20]]
    results = []
    for cells in (users, [f"{user} " for user in users]):  # a blank is in every line, as a delimiter might be
        (tmp_path / "new.csv").write_text("user\n" + "".join(f"{cell}\n" for cell in cells))
        fw.predict(tmp_path / "run", tmp_path / "new.csv", tmp_path / "out.csv")
        results.append(len((tmp_path / "out.csv").read_text().splitlines()))
    assert results == [21, 21]
    other = {",": ";", ";": ","}[delimiter]
    (tmp_path / "new.csv").write_text(text_of(rows, other))
    with pytest.raises(fw.DataError, match="no such column"):
        fw.predict(tmp_path / "run", tmp_path / "new.csv", tmp_path / "out.csv")


def test_the_first_line_of_later_files_is_a_header_as_it_was_in_training(tmp_path):
    """Whatever it looks like: here the columns of the fields are called as data may be."""
    rng = random.Random(0)
    rows = [(rng.randrange(2), rng.randrange(9), f"u{rng.randrange(5)}") for _ in range(100)]
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    (tmp_path / "log.csv").write_text("click,2025,2026\n" + text)
    (tmp_path / "more.csv").write_text("2026,2025,7.5\n" + "u1,3,1\n" * 5)
    data = fw.DataConfig(train="log.csv", label="click")
    fw.train(fw.Config(data=data, base=str(tmp_path), **QUICK), tmp_path / "run")
    assert fw.predict(tmp_path / "run", tmp_path / "more.csv", tmp_path / "p.csv").examples == 5
    (tmp_path / "none.csv").write_text(text)
    with pytest.raises(fw.DataError, match="2025"):
        fw.predict(tmp_path / "run", tmp_path / "none.csv", tmp_path / "p.csv")


def test_the_encoding_of_the_log_travels_with_the_model(tmp_path):
    rows = [{**row, "user": row["user"] + "é"} for row in log_rows(100)]
    (tmp_path / "log.csv").write_bytes(text_of(rows).encode("latin-1"))
    (tmp_path / "same.csv").write_bytes(text_of(rows).encode("utf-16"))
    csv = CsvOptions(encoding="latin-1")
    data = fw.DataConfig(train="log.csv", label="click", exclude=("rid", "ts"), csv=csv)
    fw.train(fw.Config(data=data, base=str(tmp_path), **QUICK), tmp_path / "run")
    of = [fw.predict(tmp_path / "run", tmp_path / name, tmp_path / "p.csv") for name in ("log.csv", "same.csv")]
    assert [each.fields for each in of] == [of[0].fields] * 2
    assert [each.unseen for each in of[1].fields] == [0.0] * len(of[1].fields)


def test_cells_that_are_longer_than_a_bag_may_be_are_said_to_be_cut(tmp_path):
    table = pa.table({"click": [0, 1] * 50, "tags": ["a|b", "b|c|d"] * 50})
    pq.write_table(table, tmp_path / "log.parquet")
    config = fw.Config(
        data=fw.DataConfig(train="log.parquet", label="click"),
        fields={"tags": fw.FieldConfig(type="bag", max_length=2)},
        base=str(tmp_path),
        **QUICK,
    )
    fw.train(config, tmp_path / "run")
    says = "column tags: 50 of 100 cells have more than 2 values and were cut to the first 2"
    prediction = fw.predict(tmp_path / "run", tmp_path / "log.parquet", tmp_path / "out.csv")
    evaluation = fw.evaluate(tmp_path / "run", tmp_path / "log.parquet")
    for result in (prediction, evaluation):
        assert result.fields[0].cut == 50
        assert [says in remark for remark in result.read.remarks] == [True]
    done = cli("predict", tmp_path / "run", "--data", tmp_path / "log.parquet", "--out", tmp_path / "out.csv")
    assert says in done.output


def test_the_format_of_the_log_travels_with_the_model(tmp_path):
    rows = log_rows(300)
    (tmp_path / "log.txt").write_text(text_of(rows, "\t"))
    data = fw.DataConfig(train="log.txt", label="click", format="tsv", exclude=("rid", "ts"))
    fw.train(fw.Config(data=data, base=str(tmp_path), **QUICK), tmp_path / "run")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "part-00000").write_text(text_of(rows[:150], "\t"))
    (tmp_path / "parts" / "part-00001").write_text(text_of(rows[150:], "\t"))
    table = pa.csv.read_csv(tmp_path / "log.txt", parse_options=pa.csv.ParseOptions(delimiter="\t"))
    pq.write_table(table, tmp_path / "log.parquet")
    results = []
    for number, name in enumerate(("log.txt", "parts", "log.parquet")):
        fw.predict(tmp_path / "run", tmp_path / name, tmp_path / f"{number}.out.csv")
        results.append(pa.csv.read_csv(tmp_path / f"{number}.out.csv"))
    one, of_parts = (table["probability"].to_pylist() for table in results[:2])
    assert of_parts == pytest.approx(one, abs=1e-6), "batches of another height agree within the rounding of float32"
    assert [table.num_rows for table in results] == [300] * 3
    assert fw.evaluate(tmp_path / "run", tmp_path / "log.txt").metrics.num_examples == 300
