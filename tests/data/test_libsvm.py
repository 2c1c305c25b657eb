from __future__ import annotations

import gzip
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwise.data import libsvm as libsvm_module
from fieldwise.data.log import open_log
from fieldwise.errors import DataError


def read(path, columns=None):
    log = open_log(path)
    rows, rejects = {}, {}
    for chunk in log.chunks(columns):
        rows.update(zip(chunk.rows.tolist(), chunk.table.to_pylist(), strict=True))
        rejects.update({reject.row: reject for reject in chunk.rejects})
    return rows, rejects


def write(path, text):
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["a.libsvm", "a.svm.gz"])
def test_libsvm_becomes_a_label_and_one_weighted_bag(tmp_path, name):
    path = write(tmp_path / name, "+1 3:0.5 10:-2e3\n-1\n0\t1:1   2:.5 # note\r\n\n# all comment\n1 7:1.")
    assert open_log(path).columns == ("label", "features")
    assert read(path) == (
        {
            1: {"label": "1", "features": "3:0.5|10:-2e3"},
            2: {"label": "-1", "features": ""},
            3: {"label": "0", "features": "1:1|2:.5"},
            4: {"label": "1", "features": "7:1."},
        },
        {},
    )


def test_libffm_becomes_a_label_and_a_weighted_bag_for_every_field(tmp_path):
    path = write(tmp_path / "a.ffm", "1 0:3:1 10:4:0.5 0:5:2\n0 2:7:1\n1\n")
    assert open_log(path).columns == ("label", "field_0", "field_2", "field_10")
    assert read(path)[0] == {
        1: {"label": "1", "field_0": "3:1|5:2", "field_2": "", "field_10": "4:0.5"},
        2: {"label": "0", "field_0": "", "field_2": "7:1", "field_10": ""},
        3: {"label": "1", "field_0": "", "field_2": "", "field_10": ""},
    }
    assert read(path, ["field_2"])[0] == {1: {"field_2": ""}, 2: {"field_2": "7:1"}, 3: {"field_2": ""}}


def test_files_of_libffm_may_hold_different_fields(tmp_path):
    write(tmp_path / "a.ffm", "1 0:3:1\n")
    write(tmp_path / "b.ffm", "0 11:4:1 2:3:1\n")
    log = open_log(tmp_path)
    assert log.columns == ("label", "field_0", "field_2", "field_11")
    assert [chunk.table.to_pydict() for chunk in log.chunks(["field_11"])] == [
        {"field_11": [""]},
        {"field_11": ["4:1"]},
    ]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("a.svm", "1 a:1"),
        ("a.svm", "1 1:a"),
        ("a.svm", "1 1:nan"),
        ("a.svm", "1 1:"),
        ("a.svm", "1 1"),
        ("a.svm", "1 2:1:1"),
        ("a.svm", "1:1 2:1"),
        ("a.svm", "1 qid:3 1:1"),
        ("a.ffm", "1 2:1"),
        ("a.ffm", "1 -2:1:1"),
        ("a.ffm", "1 99999999999:1:1"),
    ],
)
def test_a_row_of_another_form_is_rejected_with_its_number(tmp_path, name, row):
    good = "1 2:3:1" if name == "a.ffm" else "1 2:3"
    rows, rejects = read(write(tmp_path / name, f"{good}\n{row}\n{good}\n"))
    assert list(rows) == [1, 3]
    assert rejects[2].text == row
    assert "the row is not 'label " in rejects[2].reason
    assert "field_99999999999" not in open_log(tmp_path / name).columns


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("a.svm", "1 1:-inf", "values are finite numbers"),
        ("a.ffm", "1 1:2:NaN", "values are finite numbers"),
        ("a.svm", "1 age:3", "hash or number names"),
        ("a.ffm", "1 user:2:1", "hash or number names"),
    ],
)
def test_rows_of_names_and_of_numbers_that_are_not_finite_come_with_what_to_do(tmp_path, name, row, reason):
    _, rejects = read(write(tmp_path / name, f"{'1 2:3:1' if name == 'a.ffm' else '1 2:3'}\n{row}\n"))
    assert reason in rejects[2].reason


def test_a_row_that_is_not_utf8_is_rejected(tmp_path):
    rows, rejects = read(write(tmp_path / "a.svm", b"1 1:1\n\xff 1:1\n0 1:1\n"))
    assert list(rows) == [1, 3]
    assert rejects[2].reason == "the row is not UTF-8"


def test_a_line_that_never_ends_is_an_error(tmp_path):
    path = write(tmp_path / "a.svm", "1" * 1000)
    with (
        mock.patch.object(libsvm_module, "_BLOCK_BYTES", 64),
        mock.patch.object(libsvm_module, "_MAX_ROW_BYTES", 256),
        pytest.raises(DataError, match="a row does not end"),
    ):
        read(path)


@given(st.lists(st.sampled_from(["1 1:1", "0 22:2 3:3", "x 1", "", "  ", "# c"]), max_size=30), st.integers(1, 50))
def test_every_row_keeps_its_number_wherever_blocks_end(tmp_path_factory, lines, block_bytes):
    path = write(tmp_path_factory.mktemp("svm") / "a.svm", "\n".join(["1 1:1", *lines]))
    real = [line for line in ["1 1:1", *lines] if line.strip() and line != "# c"]
    with mock.patch.object(libsvm_module, "_BLOCK_BYTES", block_bytes):
        rows, rejects = read(path)
    assert {row: f"{cells['label']} {cells['features'].replace('|', ' ')}" for row, cells in rows.items()} == {
        number: line for number, line in enumerate(real, start=1) if line != "x 1"
    }
    assert set(rejects) == {number for number, line in enumerate(real, start=1) if line == "x 1"}


def test_query_ids_are_a_column_where_the_first_line_has_one(tmp_path):
    path = write(
        tmp_path / "a.svm", "# made today\n2 qid:7 3:0.5 9:1 # note\n0 qid:a7\n+1 1:1\n1 qid: 1:1\n1 1:1 qid:3\n"
    )
    assert open_log(path).columns == ("label", "qid", "features")
    rows, rejects = read(path)
    assert rows == {
        1: {"label": "2", "qid": "7", "features": "3:0.5|9:1"},
        2: {"label": "0", "qid": "a7", "features": ""},
        3: {"label": "1", "qid": "", "features": "1:1"},
    }
    assert list(rejects) == [4, 5]
    assert read(path, ["qid"])[0][2] == {"qid": "a7"}


def test_query_ids_that_the_first_line_lacks_are_rejected_with_what_to_do(tmp_path):
    rows, rejects = read(write(tmp_path / "a.svm", "1 1:1\n1 qid:3 1:1\n"))
    assert rows == {1: {"label": "1", "features": "1:1"}}
    assert "query ids (qid:) are read where the first line of the file has one" in rejects[2].reason
