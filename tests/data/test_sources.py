from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from fieldwise.data.find_files import find_files
from fieldwise.errors import ConfigError, DataError


def write(path, data=b"a,b\n1,2\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


def found(*arguments, **more):
    return [source.path for source in find_files(*arguments, **more)[0]]


def test_files_globs_and_folders_are_found_in_order_each_once(tmp_path):
    b, a = write(tmp_path / "b.csv"), write(tmp_path / "a.csv.gz")
    deep = write(tmp_path / "x" / "y" / "c.CSV")
    assert found([b, str(tmp_path / "*.csv*"), tmp_path]) == [str(b), str(a), str(deep)]
    assert found(b) == found(str(b)) == [str(b)]
    assert found(str(tmp_path / "**" / "*.CSV")) == [str(deep)]


def test_a_folder_stands_for_its_log_files_only(tmp_path):
    log = write(tmp_path / "day=1" / "part.csv")
    for other in ("_SUCCESS", "notes.md", ".part.csv", "_temporary/part.csv", "day=1/.part.csv.crc"):
        write(tmp_path / other)
    assert found(tmp_path) == [str(log)]


def test_a_folder_of_a_given_format_stands_for_all_its_files(tmp_path):
    log = write(tmp_path / "part-0000")
    write(tmp_path / "_SUCCESS")
    assert found(tmp_path, format="csv") == [str(log)]


def test_a_source_says_what_its_file_is(tmp_path):
    write(tmp_path / "a.tsv.gz")
    write(tmp_path / "b.ffm", b"1 0:1:1\n")
    first, second = find_files(tmp_path)[0]
    assert (first.position, first.format, first.gzipped) == (0, "tsv", True)
    assert (second.position, second.format, second.gzipped, second.num_bytes) == (1, "libffm", False, 8)


def test_a_name_with_the_characters_of_a_glob_is_a_file_when_there_is_one(tmp_path):
    path = write(tmp_path / "a[1].csv")
    assert found(path) == [str(path)]


ZSTD = b"\x28\xb5\x2f\xfd" + bytes(20)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", r"the file is empty\n  where: .*a\.csv"),
        ("a.csv", b"PAR1....PAR1", r"not what its name says(.|\n)*expected: csv text in UTF-8\n  got: Parquet"),
        ("a.csv", gzip.compress(b"a", mtime=0), r"not what its name says(.|\n)*got: gzip"),
        ("a.csv", ZSTD, "got: zstd"),
        ("a.csv", "a,b\n".encode("utf-16-be"), r"utf-16-be text without a byte order mark(.|\n)*--encoding utf-16-be"),
        ("a.csv", b"a,b\n1,\0\n", "binary data, a zero byte at 6"),
        ("a.svm", b"1 2:\0", "expected: libsvm text in UTF-8"),
        ("a.parquet", b"a,b\n1,2\n", r"expected: Parquet\n  got: text or other data"),
        ("a.parquet", b"PAR1" + bytes(20), "cut off"),
        ("a.parquet", b"PAR", "expected: Parquet"),
        ("a.txt", b"a,b\n", r"does not tell its format(.|\n)*hint: give the format: csv, tsv"),
        ("a", b"a,b\n", "does not tell its format"),
    ],
)
def test_a_file_that_cannot_be_a_log_is_refused_with_the_reason(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        find_files(tmp_path / name)


def test_a_file_of_another_format_is_not_read_as_the_usual_one(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DataError, match="such as JSON or a spreadsheet, has to be written as CSV"):
        find_files(tmp_path / "a.jsonl", usual_format="csv")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n1,2\n", r"expected: gzip\n  got: text"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "damaged or cut off"),
        (gzip.compress(b"a\0b", mtime=0), "binary data"),
    ],
)
def test_a_gzipped_file_is_judged_by_what_is_inside(tmp_path, data, message):
    (tmp_path / "a.csv.gz").write_bytes(data)
    with pytest.raises(DataError, match=message):
        find_files(tmp_path / "a.csv.gz")


def test_files_without_a_byte_are_left_out_with_the_reason_where_others_hold_rows(tmp_path):
    for name, data in {"a.csv": b"", "b.csv": b"x\n1\n", "c.csv.gz": gzip.compress(b""), "d.csv": b"x\n2\n"}.items():
        (tmp_path / name).write_bytes(data)
    sources, left_out, _ = find_files(tmp_path)
    assert [(Path(source.path).name, source.position) for source in sources] == [("b.csv", 0), ("d.csv", 1)]
    assert left_out == {f"{tmp_path}/a.csv": "without a byte", f"{tmp_path}/c.csv.gz": "without a byte"}
    (tmp_path / "e.parquet").touch()
    assert find_files(tmp_path)[1] == {**left_out, f"{tmp_path}/e.parquet": "without a byte"}
    with pytest.raises(DataError, match=r"the file is empty\n  where: .*e\.parquet"):
        find_files(tmp_path / "e.parquet")


def test_parquet_is_not_gzipped_as_a_whole(tmp_path):
    write(tmp_path / "a.parquet.gz")
    with pytest.raises(DataError, match=r"gunzip"):
        find_files(tmp_path / "a.parquet.gz")


def test_what_is_not_there_is_named_with_a_suggestion(tmp_path):
    write(tmp_path / "clicks.csv")
    with pytest.raises(DataError, match=r"no such file(.|\n)*did you mean clicks\.csv\?"):
        find_files(tmp_path / "clicsk.csv")
    (tmp_path / "gone.csv").symlink_to("elsewhere.csv")
    with pytest.raises(DataError, match=r"leads to no file\n  where: .*gone\.csv\n  got: elsewhere\.csv"):
        find_files(tmp_path / "gone.csv")
    with pytest.raises(DataError, match=r"no such file\n  where: .*none.a\.csv"):
        find_files(tmp_path / "none" / "a.csv")
    with pytest.raises(DataError, match="a path is empty"):
        find_files("")
    with pytest.raises(DataError, match="no file matches the pattern"):
        find_files(str(tmp_path / "*.tsv"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no log file"):
        find_files(tmp_path / "empty")
    with pytest.raises(DataError, match="names no file"):
        find_files([])


def test_an_unknown_format_is_named_with_a_suggestion(tmp_path):
    with pytest.raises(ConfigError, match=r"did you mean libsvm\?"):
        find_files(tmp_path, format="libsmv")
