"""What was asked and answered is written whole, or counted as dropped."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.serving.models import asked, library, log_rows, make_run
from tests.serving.servers import Server

import fieldwise as fw
from fieldwise.schema import Field, Schema
from fieldwise.serving.log import RequestLog
from fieldwise.serving.rows import Reads, Rows

READS = Reads(Schema(fields=(Field(name="user", column="user"), Field(name="p", column="probability")), label="click"))


def rows_of(*users: object) -> Rows:
    return Rows([list(users), [1.5] * len(users)], len(users))


def test_the_log_of_a_server_holds_every_answer(models: Path, tmp_path: Path) -> None:
    rows = [{**row, "id": f"r{number}"} for number, row in enumerate(asked(log_rows(40, seed=4)))]
    with Server(tmp_path, models, "--log", str(tmp_path / "log")) as server:
        said = [server.ask("POST", "/v1/models/ctr:predict", {"rows": rows[:25], "id": "first"}).json()]
        said += [server.ask("POST", "/v1/models/ctr/versions/1:predict", {"rows": rows[25:]}).json()]
        assert server.ask("POST", "/v1/models/ctr:predict", {"rows": [{}]}).status == 400
        server.ask("POST", "/v1/models/kinds:predict", {"rows": rows[:3]})
        assert server.stop() == 0
    table = pa.concat_tables([pq.read_table(file) for file in sorted((tmp_path / "log" / "ctr").iterdir())])
    table = table.sort_by([("model_version", "descending"), ("request_row", "ascending")])
    assert table.num_rows == 40
    assert table.column("model_version").to_pylist() == ["2"] * 25 + ["1"] * 15
    assert table.column("request_id").to_pylist()[:25] == ["first"] * 25
    assert len(set(table.column("request_id").to_pylist())) == 2
    assert table.column("id").to_pylist() == [row["id"] for row in rows]
    assert table.column("city").to_pylist() == [row["city"] for row in rows]
    assert table.column("age").to_pylist() == [row["age"] for row in rows]
    expected = [probability for reply in said for probability in reply["probability"]]
    assert table.column("probability").to_pylist() == expected
    # It is a log like any other: the model says the same of it as it did.
    again = library(models / "ctr" / "2", table.slice(0, 25).drop_columns("probability").to_pylist())
    np.testing.assert_allclose(again, expected[:25], atol=1e-6)
    [kinds] = [pq.read_table(file) for file in (tmp_path / "log" / "kinds").iterdir()]
    assert np.asarray(kinds.column("probability").to_pylist()).shape == (3, 3)


def test_a_model_learns_from_what_was_asked_of_its_server_rows_and_rankings(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    log = log_rows(300, seed=7)
    rows = [{**row, "id": f"q{number}"} for number, row in enumerate(asked(log))]
    context = {"city": "city1", "at": rows[0]["at"], "age": 31.0}
    candidates = [{name: row[name] for name in ("id", "code", "tags")} for row in rows[200:]]
    with Server(tmp_path, run, "--log", str(tmp_path / "served"), "--name", "ctr") as server:
        server.ask("POST", "/v1/models/ctr:predict", {"rows": rows[:120]})
        columns = {name: [row[name] for row in rows[120:200]] for name in rows[0]}
        server.ask("POST", "/v1/models/ctr:predict", {"columns": columns})
        body = {"context": context, "candidates": candidates, "top": 3}
        assert len(server.ask("POST", "/v1/models/ctr:predict", body).json()["candidates"]) == 3
        assert server.stop() == 0
    shown = pa.table({"id": [row["id"] for row in rows], "click": [row["click"] for row in log]})
    pq.write_table(shown.slice(0, 290), tmp_path / "labels.parquet")
    record = fw.update(run, served=tmp_path / "served", labels=tmp_path / "labels.parquet", gate=False).record
    assert record.waiting is not None
    assert record.skew is not None
    assert (record.waiting.read, record.waiting.ready, record.waiting.waiting) == (300, 290, 10)
    assert (record.version, record.rows.used, record.rows.rejected) == (2, 290, 0)
    # The version that had no number yet is known by its checksum; candidates have the cells of their context.
    assert record.skew.rows == 300
    assert record.skew.largest < 1e-6


def test_names_of_columns_come_first(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, print)
    log.add("a", "ctr", "1", READS, rows_of("u1", "u2"), np.array([0.25, 0.5]))
    log.close()
    [file] = (tmp_path / "ctr").iterdir()
    table = pq.read_table(file).to_pydict()
    assert table["probability"] == [1.5, 1.5]
    assert table["served_probability"] == [0.25, 0.5]
    assert table["user"] == ["u1", "u2"]


def test_rows_of_all_threads_are_written_or_counted(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, print, file_rows=50, waiting_rows=200)

    def add() -> None:
        for number in range(200):
            log.add(None, "ctr", str(number % 2), READS, rows_of(number, "x"), np.array([0.25, 0.5]))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    files = list((tmp_path / "ctr").iterdir())
    assert log.num_written + log.num_dropped == 1600
    assert sum(pq.read_metadata(file).num_rows for file in files) == log.num_written > 0
    assert all(file.name.endswith(".parquet") and file.name[0] != "." for file in files)


def test_rows_that_cannot_be_written_are_counted_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    log = RequestLog(tmp_path, said.append, file_rows=2)
    (tmp_path / "ctr").write_text("a file where the folder should be")
    log.add(None, "ctr", "1", READS, rows_of("u1", "u2"), np.array([0.25, 0.5]))
    log.close()
    assert (log.num_written, log.num_dropped) == (0, 2)
    assert said[0].startswith("2 rows of the log lost")


def test_a_request_that_goes_with_no_other_costs_the_others_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    log = RequestLog(tmp_path, said.append)
    for number, cell in enumerate(["u1", ["u2"], "u3", {"u": object()}, 4]):
        log.add(f"r{number}", "ctr", "1", READS, rows_of(cell), np.array([0.5]))
    log.close()
    tables = [pq.read_table(file) for file in sorted((tmp_path / "ctr").iterdir())]
    written = {one for table in tables for one in table.column("request_id").to_pylist()}
    assert written == {"r0", "r1", "r2", "r4"}
    assert (log.num_written, log.num_dropped) == (4, 1)
    assert len(said) == 1
    assert "1 row of the log lost" in said[0]
