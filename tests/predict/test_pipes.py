"""Rows through pipes: read where one reading is enough, refused as what they are where it is not."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.predict.conftest import log_rows, text_of

import fieldwise as fw
from fieldwise.cli import main

TEXT = text_of(log_rows(30))


def cli(*arguments: object, content: bytes | None = None):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=content)


@pytest.fixture(scope="module")
def expected(run, tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("expected")
    (folder / "log.csv").write_text(TEXT)
    fw.predict(run, folder / "log.csv", folder / "p.csv")
    return (folder / "p.csv").read_bytes()


def parquet_bytes() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(log_rows(30)), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "content", [TEXT.encode(), gzip.compress(TEXT.encode()), parquet_bytes()], ids=["csv", "gz", "parquet"]
)
def test_standard_input_is_read_in_every_format(run, tmp_path, expected, content):
    found = cli("predict", run, "--data", "-", "--out", tmp_path / "p.csv", "-q", content=content)
    assert found.exit_code == 0, found.output
    assert (tmp_path / "p.csv").read_bytes() == expected


def test_a_pipe_with_a_name_is_read(run, tmp_path, expected):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(TEXT,))
    writer.start()
    fw.predict(run, tmp_path / "pipe", tmp_path / "p.csv")
    writer.join()
    assert (tmp_path / "p.csv").read_bytes() == expected


def test_standard_input_can_be_evaluated_and_may_hold_no_rows(run, tmp_path):
    found = cli("evaluate", run, "--data", "-", "--json", content=TEXT.encode())
    assert json.loads(found.stdout)["num_examples"] == 30
    found = cli("predict", run, "--data", "-", "--out", tmp_path / "p.csv", content=b"")
    assert (found.exit_code, "fieldwise-" in found.output, "standard input" in found.output) == (0, False, True)
    assert (tmp_path / "p.csv").read_text() == '"rid","probability"\n'


def test_messages_about_standard_input_call_it_that(run, tmp_path):
    bad = TEXT + "0,r99,00001,2026-11-02,many\n"
    found = cli("predict", run, "--data", "-", "--out", tmp_path / "p.csv", "-q", content=bad.encode())
    assert "standard input, row 31: 'many'" in found.output
    assert json.loads((tmp_path / "p.csv.rejects.jsonl").read_text())["file"] == "standard input"
    found = cli("predict", run, "--data", "-", "--out", tmp_path / "p.csv", "-q", content=b"user\na\n")
    assert (found.exit_code, "standard input" in found.output) == (2, True)


def test_standard_output_takes_the_probabilities_and_nothing_else(run, tmp_path, expected):
    found = cli("predict", run, "--data", "-", "--out", "-", "-q", content=TEXT.encode())
    assert (found.exit_code, found.stdout.encode()) == (0, expected)
    bad = cli("predict", run, "--data", "-", "--out", "-", "-q", content=(TEXT + "0,r,u,t,many\n").encode())
    assert bad.stdout.encode() == expected
    assert "'many'" in bad.stderr
    assert cli("predict", run, "--data", "-", "--out", "-", "--json", content=b"").exit_code == 2


@pytest.mark.parametrize("kind", ["a pipe", "standard input", "a device", "a socket"])
def test_what_needs_several_readings_refuses_pipes_without_waiting_for_them(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    path = {"standard input": "-", "a device": "/dev/zero"}.get(kind, "special")
    if kind == "a pipe":
        os.mkfifo("special")
    listener = socket.socket(socket.AF_UNIX)
    if kind == "a socket":
        listener.bind("special")
    found = cli("init", path, "--format", "csv")
    listener.close()
    assert (found.exit_code, f"got: {kind}" in found.output) == (2, True)
    with pytest.raises(fw.DataError, match="not a regular file"):
        fw.prepare(
            fw.Config(data=fw.DataConfig(train=path, label="click", format="csv"), base="" if path == "-" else ".")
        )


def test_what_can_be_read_once_only_may_be_named_once_only(run, tmp_path):
    for verb in (["predict", "--out", tmp_path / "p.csv"], ["evaluate"]):
        found = cli(verb[0], run, "--data", "-", "--data", "-", *verb[1:], content=TEXT.encode())
        assert (found.exit_code, "a pipe that can be read only once is named twice" in found.output) == (2, True)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(TEXT,))
    writer.start()
    with pytest.raises(fw.DataError, match=r"(?s)named twice.*the same pipe as"):
        fw.predict(run, [tmp_path / "pipe", tmp_path / "link"], tmp_path / "p.csv", format="csv")
    writer.join()


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero"])
def test_devices_are_no_rows_to_predict(run, tmp_path, path):
    with pytest.raises(fw.DataError, match="not a regular file"):
        fw.predict(run, path, tmp_path / "p.csv")
