"""Files in stores are found, read and stamped as local ones are, and what goes wrong is said."""

from __future__ import annotations

import gzip
import io
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet
import pytest
from tests.store import gs_server, put, s3_server

from fieldwise.data.find_files import find_files
from fieldwise.data.log import open_log
from fieldwise.data.sources import version_tag_of
from fieldwise.errors import ConfigError, DataError
from fieldwise.io import stores

CSV = b"click,ad\n1,a\n0,b\n"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with credentials for it in the environment."""
    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "user"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    return endpoint


def found(paths: object, **options: object) -> list[str]:
    return [source.path for source in find_files(paths, **options)[0]]  # type: ignore[arg-type]


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pa.parquet.write_table(table, buffer)
    return buffer.getvalue()


def test_files_globs_and_folders_of_a_store_are_found_as_on_a_disk(s3):
    names = {
        key: put(s3, f"found/{key}", CSV)
        for key in ("b.csv", "a.csv", "x/y/c.CSV", "x/_tmp/d.csv", "x/.e.csv", "x/notes.md", "sp ace+%3F/f.csv")
    }
    folder = "s3://logs/found"
    assert found(names["b.csv"]) == [names["b.csv"]]
    assert found(Path(names["b.csv"])) == [names["b.csv"]], "pathlib makes one slash of two"
    assert found(names["sp ace+%3F/f.csv"]) == [names["sp ace+%3F/f.csv"]], "a path is taken as it is written"
    everything = [names[key] for key in ("a.csv", "b.csv", "sp ace+%3F/f.csv", "x/y/c.CSV")]
    assert found(folder) == found(f"{folder}/") == everything
    assert found(f"{folder}/*.csv") == [names["a.csv"], names["b.csv"]]
    assert found(f"{folder}/[b-z].csv") == [names["b.csv"]]
    assert found(f"{folder}/*/*/?.CSV") == found(f"{folder}/**/*.CSV") == [names["x/y/c.CSV"]]
    assert found(f"{folder}/x/y*") == [names["x/y/c.CSV"]], "a folder that matches stands for its files"
    assert found([names["b.csv"], folder])[0] == names["b.csv"]


@pytest.mark.parametrize(
    ("key", "data"),
    [
        ("a.csv", CSV),
        ("a.csv.gz", gzip.compress(CSV, mtime=0)),
        ("a.tsv", CSV.replace(b",", b"\t")),
        ("a.parquet", parquet(pa.table({"click": ["1", "0"], "ad": ["a", "b"]}))),
    ],
)
def test_tables_of_a_store_are_read(s3, key, data):
    log = open_log(put(s3, f"read/{key}", data))
    [chunk] = log.chunks(["ad", "click"])
    assert chunk.table.to_pydict() == {"ad": ["a", "b"], "click": ["1", "0"]}
    assert chunk.path == f"s3://logs/read/{key}"
    assert log.num_bytes == len(data)
    assert log.count_rows()[0] in (2, 3), "text counts its header's line"


@pytest.mark.parametrize(("key", "text"), [("a.libsvm", "1 3:0.5\n0 4:1\n"), ("a.ffm.gz", "1 0:3:0.5\n0 0:4:1\n")])
def test_libsvm_and_libffm_of_a_store_are_read(s3, key, text):
    data = gzip.compress(text.encode()) if key.endswith("gz") else text.encode()
    [chunk] = open_log(put(s3, f"read/{key}", data)).chunks()
    assert list(chunk.table.to_pydict().values()) == [["1", "0"], ["3:0.5", "4:1"]]


def test_files_larger_than_what_is_asked_for_at_a_time_are_whole(s3, monkeypatch):
    monkeypatch.setattr(stores, "_STREAM_BYTES", 1 << 16)
    rows = [f"{number},{'x' * 40}" for number in range(40_000)]
    text = "\n".join(["n,t", *rows]).encode()
    for name in (put(s3, "large/a.csv", text), put(s3, "large/b.csv.gz", gzip.compress(text))):
        read = [cell for chunk in open_log(name).chunks(["n"]) for cell in chunk.table["n"].to_pylist()]
        assert read == [str(number) for number in range(40_000)]
    table = pa.table({f"c{column}": range(column, 300_000) for column in (0,)})
    name = put(s3, "large/c.parquet", parquet(table))
    read = [cell for chunk in open_log(name, chunk_bytes=1 << 20).chunks() for cell in chunk.table["c0"].to_pylist()]
    assert read == list(range(300_000))


def test_a_changed_object_has_another_stamp_even_where_it_is_as_long_and_of_the_same_second(s3):
    name = put(s3, "stamp.csv", CSV)
    before = version_tag_of(name)
    assert before == version_tag_of(name) == open_log(name).version_tags[0]
    put(s3, "stamp.csv", CSV.replace(b"a", b"c"))
    assert version_tag_of(name)[0] == before[0]
    assert version_tag_of(name) != before
    log = open_log(name)
    log.refuse_change()
    put(s3, "stamp.csv", CSV.replace(b"a", b"d"))
    with pytest.raises(DataError, match=r"changed while the log was read\n  where: s3://logs/stamp.csv"):
        log.refuse_change()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s3://logs/wrong/a.cvs", r"no such file\n  where: s3://logs/wrong/a.cvs\n  hint: did you mean a.csv"),
        ("s3://logs/none/none.csv", r"no such file(.|\n)*check the path"),
        ("s3://nobucket/a.csv", r"no such bucket\n  where: s3://nobucket/a.csv"),
        ("s3://nobucket", "no such bucket|no such file"),
        ("s3://logs/wrong/*.tsv", "no file matches the pattern"),
        ("s3://logs/wrong/empty", r"holds no log file\n  where: s3://logs/wrong/empty"),
        ("s3://logs/wrong/cut.csv.gz", "gzip data is damaged or cut off"),
        ("s3://logs/wrong/cut.parquet", "cut off"),
        ("s3://logs/wrong/bad.parquet", "the Parquet file is damaged"),
        ("s3://logs/wrong/zero.csv", "the file is empty"),
        ("s3://logs/wrong/text.csv.gz", r"not what its name says(.|\n)*expected: gzip"),
    ],
)
def test_what_is_wrong_in_a_store_is_said_as_on_a_disk(s3, name, message):
    whole = parquet(pa.table({"a": range(1000)}))
    put(s3, "wrong/a.csv", CSV)
    put(s3, "wrong/empty/notes.md", b"-")
    put(s3, "wrong/cut.csv.gz", gzip.compress(CSV)[:-9])
    put(s3, "wrong/cut.parquet", whole[:-20])
    put(s3, "wrong/bad.parquet", whole[:-60] + bytes(30) + whole[-30:])
    put(s3, "wrong/zero.csv", b"")
    put(s3, "wrong/text.csv.gz", CSV)
    with pytest.raises(DataError, match=message):
        open_log(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ftp://host/a.csv", r"unsupported(.|\n)*expected: a local path, s3://, gs:// or hdfs://\n  got: ftp"),
        ("s3://key:secret@logs/a.csv", "credentials are not allowed in a path"),
        ("s3:///a.csv", "names no bucket"),
        ("s3://lo*/a.csv", "bucket must not be a pattern|no such bucket"),
    ],
)
def test_a_name_that_cannot_be_is_refused_without_a_secret_in_the_message(s3, name, message):
    with pytest.raises((ConfigError, DataError), match=message) as refused:
        find_files(name)
    assert "secret@" not in str(refused.value)


def test_a_store_that_is_not_there_is_an_error(s3, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    with pytest.raises(DataError, match=r"cannot be reached\n  where: s3://logs/a.csv(.|\n)*AWS_ENDPOINT_URL"):
        find_files("s3://logs/a.csv")


def test_a_store_that_accepts_and_never_answers_is_an_error_too(s3, monkeypatch):
    monkeypatch.setattr(stores, "_REQUEST_SECONDS", 1)
    monkeypatch.setattr(stores, "_ATTEMPTS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(DataError, match="cannot be reached"):
            find_files("s3://logs/a.csv")


def test_a_store_that_refuses_access_is_told_from_one_that_has_no_such_file(s3, monkeypatch):
    with s3_server(INITIAL_NO_AUTH_ACTION_COUNT="0") as strict:
        monkeypatch.setenv("AWS_ENDPOINT_URL", strict)
        with pytest.raises(DataError, match=r"denied access\n  where: s3://logs/a.csv(.|\n)*s3://anonymous@BUCKET"):
            find_files("s3://logs/a.csv")


def test_a_public_bucket_is_read_without_credentials(s3, monkeypatch):
    name = put(s3, "public/a.csv", CSV).replace("s3://", "s3://anonymous@")
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    assert found("s3://anonymous@logs/public") == [name]
    assert next(iter(open_log(name).chunks())).table.num_rows == 2


def test_google_cloud_storage_is_read(tmp_path, monkeypatch):
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "a.csv").write_bytes(CSV)
    (tmp_path / "day" / "b.csv.gz").write_bytes(gzip.compress(CSV))
    (tmp_path / "n.parquet").write_bytes(parquet(pa.table({"n": range(1000)})))
    with gs_server(tmp_path) as endpoint:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
        log = open_log("gs://logs/day")
        assert log.files == ("gs://logs/day/a.csv", "gs://logs/day/b.csv.gz")
        assert [chunk.table["ad"].to_pylist() for chunk in log.chunks()] == [["a", "b"]] * 2
        [chunk] = open_log("gs://logs/*.parquet").chunks()
        assert chunk.table["n"].to_pylist() == list(range(1000))
        log.refuse_change()
        with pytest.raises(DataError, match="no such bucket"):
            find_files("gs://nobucket/a.csv")
        with pytest.raises(DataError, match=r"no such file(.|\n)*did you mean a.csv"):
            find_files("gs://logs/day/a.cvs")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s3://b/a", "AWS Error ACCESS_DENIED during HeadObject", r"denied access(.|\n)*AWS_ACCESS_KEY_ID"),
        ("gs://b/a", "google::cloud::Status(UNAVAILABLE: ... OAuth2 access token", "denied access(.|\n)*gcloud auth"),
        ("hdfs://n/a", "HDFS connection failed", r"cannot be reached(.|\n)*name node"),
        ("s3://b/a", "something else\nand a long trace", r"cannot be read\n  where: s3://b/a\n  got: something else$"),
    ],
)
def test_errors_of_stores_are_told_apart(name, text, message):
    assert re.search(message, str(stores.unreadable(name, OSError(text))))


def test_hdfs_without_a_hadoop_client_says_what_to_install(monkeypatch):
    monkeypatch.setenv("ARROW_LIBHDFS_DIR", "/none")
    monkeypatch.setenv("JAVA_HOME", "/none")
    with pytest.raises(DataError, match=r"requires a Hadoop client(.|\n)*HADOOP_HOME") as refused:
        find_files("hdfs://namenode:8020/logs/a.csv")
    assert len(str(refused.value)) < 1000, "one line of what the loader says, not all"


def test_a_port_that_is_no_number_is_an_error_of_the_path():
    with pytest.raises(ConfigError, match=r"invalid port\n  where: hdfs://namenode:rpc\n(.|\n)*got: rpc"):
        find_files("hdfs://namenode:rpc/logs/a.csv")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost:4443", ("http", "localhost:4443")), ("https://fake:1", ("https", "fake:1")), ("", (None, None))],
)
def test_an_emulator_is_asked_whether_its_address_names_a_scheme_or_not(monkeypatch, host, expected):
    asked = {}
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
    monkeypatch.setattr(pyarrow.fs, "GcsFileSystem", lambda **options: asked.update(options))
    stores.locate(f"gs://emulated-{len(host)}/a.csv")
    assert (asked.get("scheme"), asked.get("endpoint_override")) == expected
    assert asked["anonymous"] == bool(host)


def test_a_pyarrow_without_a_filesystem_says_so(monkeypatch):
    monkeypatch.delattr(pyarrow.fs, "GcsFileSystem")
    monkeypatch.setattr(pyarrow.fs, "_not_imported", ["GcsFileSystem"])
    with pytest.raises(ConfigError, match=r"does not support gs://(.|\n)*pip install pyarrow"):
        find_files("gs://bucket/a.csv")


def test_paths_of_hdfs_begin_with_the_root_of_its_name_node(tmp_path, monkeypatch):
    (tmp_path / "day=1").mkdir()
    (tmp_path / "day=1" / "a.csv").write_bytes(CSV)
    opened: list[tuple[str, str]] = []

    def connect(scheme: str, host: str, anonymous: bool, settings: object) -> pyarrow.fs.FileSystem:
        opened.append((scheme, host))
        return pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())

    monkeypatch.setattr(stores, "_connect", connect)
    name = "hdfs://node:8020/day=1/a.csv"
    assert found("hdfs://node:8020/") == found("hdfs://node:8020/day=*/*.csv") == found(name) == [name]
    assert open_log("hdfs:///day=1").files == ("hdfs:///day=1/a.csv",)
    assert set(opened) == {("hdfs", "node:8020"), ("hdfs", "")}
    assert next(iter(open_log(name).chunks())).table.num_rows == 2
