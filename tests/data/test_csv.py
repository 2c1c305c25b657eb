from __future__ import annotations

import csv as python_csv
import gzip
import io
import re
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import cells as naive_cells
from tests.reference import csv as naive

from fieldwise.data import csv as csv_module
from fieldwise.data import csv_cells
from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.data.csv_quotes import StrayQuoteError
from fieldwise.data.log import open_log
from fieldwise.errors import ConfigError, DataError


def read(path, wanted=None, **options):
    """Return {row number: cells} and {row number: reject} of a file."""
    log = open_log(path, format="csv" if path.suffix == ".txt" else None, csv=CsvOptions(**options))
    rows, rejects = {}, {}
    for chunk in log.chunks(wanted):
        cells = zip(*(column.to_pylist() for column in chunk.table.columns), strict=True)
        rows.update(zip(chunk.rows.tolist(), cells, strict=True))
        rejects.update({reject.row: reject for reject in chunk.rejects})
    return rows, rejects


def write(path, data):
    data = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_cells_are_strings_whatever_they_look_like(tmp_path, name):
    path = write(tmp_path / name, "x,y\n1,1.0\n007,nan\nNA,\ntrue, null\n")
    assert read(path)[0] == {1: ("1", "1.0"), 2: ("007", "nan"), 3: ("NA", ""), 4: ("true", " null")}


def test_quoted_cells_may_hold_delimiters_quotes_and_lines(tmp_path):
    path = write(tmp_path / "a.csv", 'x,"y,\nz"\n"a,b","c""d"\n"e\nf",g"h\n')
    assert open_log(path).columns == ("x", "y,\nz")
    assert read(path)[0] == {1: ("a,b", 'c"d'), 2: ("e\nf", 'g"h')}


def test_quotes_can_be_plain_characters(tmp_path):
    path = write(tmp_path / "a.tsv", 'x\ty\n"a\tb\nc\t"d\n')
    assert read(path, quote="")[0] == {1: ('"a', "b"), 2: ("c", '"d')}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [True, False])
def test_every_line_end_and_a_byte_order_mark_are_understood(tmp_path, newline, bom, end):
    text = newline.join(["x,y", "1,2", "3,4"]) + newline * end
    path = write(tmp_path / "a.csv", bom + text.encode())
    assert open_log(path).columns == ("x", "y")
    assert read(path)[0] == {1: ("1", "2"), 2: ("3", "4")}


def test_a_file_without_header_names_its_columns_by_number_or_as_told(tmp_path):
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbf1,2\n3,4\n")
    assert open_log(path, csv=CsvOptions(header=False)).columns == ("f0", "f1")
    assert open_log(path, csv=CsvOptions(header=False, columns=("x", "y"))).columns == ("x", "y")
    assert read(path, header=False)[0] == {1: ("1", "2"), 2: ("3", "4")}


def test_a_tsv_is_split_at_tabs_and_any_file_at_the_given_delimiter(tmp_path):
    assert read(write(tmp_path / "a.tsv", "x\ty\n1,2\t3\n"))[0] == {1: ("1,2", "3")}
    assert read(write(tmp_path / "a.txt", "x;y\n1,2;3\n"), delimiter=";")[0] == {1: ("1,2", "3")}


def test_only_the_columns_asked_for_come_in_the_order_asked(tmp_path):
    path = write(tmp_path / "a.csv", "x,y,z\n1,2,3\n")
    assert read(path, ["z", "x"])[0] == {1: ("3", "1")}


def test_rows_too_short_or_too_long_are_rejected_with_their_number_and_text(tmp_path):
    path = write(tmp_path / "a.csv", "x,y\n1,2\n\n3\n4,5,6\n\n7,8\n9\n")
    rows, rejects = read(path)
    assert rows == {1: ("1", "2"), 4: ("7", "8")}
    assert {row: (reject.text, reject.reason) for row, reject in rejects.items()} == {
        2: ("3", "expected 2 cells, got 1"),
        3: ("4,5,6", "expected 2 cells, got 3"),
        5: ("9", "expected 2 cells, got 1"),
    }


def test_a_file_of_bad_rows_only_is_all_rejects(tmp_path):
    rows, rejects = read(write(tmp_path / "a.csv", "x,y\n1\n2\n"))
    assert (rows, list(rejects)) == ({}, [1, 2])


def test_a_file_with_a_header_only_has_no_rows(tmp_path):
    for text in ("x,y\n", "x,y", "\n\nx,y\n\n\n"):
        path = write(tmp_path / "a.csv", text)
        assert open_log(path).columns == ("x", "y")
        assert read(path) == ({}, {})


def test_a_row_that_is_not_utf8_is_rejected_and_only_that_row(tmp_path):
    path = write(tmp_path / "a.csv", b"x,y\na,b\n\xff,c\nd,\xc3\xa4\n\xfe,\xfe\n")
    rows, rejects = read(path)
    assert rows == {1: ("a", "b"), 3: ("d", "ä")}
    assert {row: (reject.text, reject.reason) for row, reject in rejects.items()} == {
        2: ("\\xff", "the cell is not UTF-8"),
        4: ("\\xfe", "the cell is not UTF-8"),
    }
    assert read(path, ["y"])[0] == {1: ("b",), 2: ("c",), 3: ("ä",)}  # a column not asked for may be anything


def test_a_long_text_of_a_reject_is_cut(tmp_path):
    _, rejects = read(write(tmp_path / "a.csv", "x,y\n" + "z" * 10_000 + "\n"))
    assert rejects[1].text == "z" * 200 + "..."


@pytest.mark.parametrize("rest", ["", "c,d\n", "c,d\n" * 10_000])
def test_a_quote_that_is_never_closed_is_an_error_and_not_a_long_cell(tmp_path, rest):
    path = write(tmp_path / "a.csv", 'x,y\n1,2\n3,"4\n' + rest)
    with (
        mock.patch.object(csv_module, "_BLOCK_BYTES", 4096),
        pytest.raises(DataError, match=r"a quote is opened(.|\n)*where: .*a\.csv, row 2 \(line 3\)(.|\n)*csv\.quote"),
    ):
        read(path)


def test_a_row_longer_than_a_block_is_an_error_that_says_how_long_it_may_be(tmp_path):
    path = write(tmp_path / "a.csv", "x,y\n1,2\n3," + "4" * 5000 + "\n")
    with mock.patch.object(csv_module, "_BLOCK_BYTES", 1024), pytest.raises(DataError, match="none longer than 1024"):
        read(path)


def test_a_file_without_one_good_row_in_a_long_stretch_is_given_up(tmp_path):
    path = write(tmp_path / "a.csv", "x,y\n" + "1\n" * 20)
    with (
        mock.patch.object(csv_cells, "_MAX_REFUSED", 10),
        pytest.raises(DataError, match="20 consecutive rows, none of them of 2 cells"),
    ):
        read(path)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (b"x,x\n1,2\n", {}, DataError, "duplicate column names(.|\n)*columns 1, 2(.|\n)*got: 'x'"),
        (b"x,\xff\n1,2\n", {}, DataError, "first row is not UTF-8(.|\n)*csv.encoding"),
        (b'x,"y\n1,2\n', {}, DataError, "a first row that does not end"),
        (
            b"1,2\n",
            {"header": False, "columns": ("x",)},
            DataError,
            "expected: 1 column\n  got: 2 with the delimiter ','",
        ),
        (b"1,2\n", {"columns": ("x", "y")}, ConfigError, "set header = false"),
        (b"\n\n", {}, DataError, "cannot be read as a table"),
    ],
)
def test_a_first_row_that_cannot_be_used_is_refused(tmp_path, data, options, error, message):
    with pytest.raises(error, match=message):
        read(write(tmp_path / "a.csv", data), **options)


def test_gzip_that_is_cut_off_after_the_beginning_is_an_error_not_a_short_log(tmp_path):
    text = "x,y\n" + "".join(f"{i},{i * i * 7919}\n" for i in range(60_000))
    data = gzip.compress(text.encode())
    for damaged in (data[: len(data) * 3 // 4], data[:-4]):
        (tmp_path / "a.csv.gz").write_bytes(damaged)
        with pytest.raises(DataError, match="damaged or cut off"):
            read(tmp_path / "a.csv.gz")


cells = st.text(st.sampled_from('ab,"\n ä'), max_size=4)
good_rows = st.tuples(cells, cells).filter(lambda row: row != ("", ""))
bad_rows = st.sampled_from(["short", "a,b,c", ",,", "\xff,1"])


@settings(max_examples=200)
@given(st.lists(good_rows | bad_rows, max_size=20), st.integers(64, 200))
def test_every_row_keeps_its_number_wherever_blocks_end(tmp_path_factory, rows, block_bytes):
    expected, rejected, data = {}, set(), b"x,y\n"
    for number, row in enumerate(rows, start=1):
        if isinstance(row, tuple):
            line = io.StringIO()
            python_csv.writer(line, lineterminator="\n", quoting=python_csv.QUOTE_ALL).writerow(row)
            data += line.getvalue().encode()
            expected[number] = row
        else:
            data += row.encode("latin1") + b"\n"
            rejected.add(number)
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", data)
    with mock.patch.object(csv_module, "_BLOCK_BYTES", block_bytes):
        got, rejects = read(path)
    assert got == expected
    assert set(rejects) == rejected


def test_chunks_are_never_longer_than_promised(tmp_path):
    path = write(tmp_path / "a.csv", "x,y\n" + "1,2\n" * 150_000)
    chunks = list(open_log(path).chunks())
    assert max(chunk.table.num_rows for chunk in chunks) == 65_536
    assert sum(chunk.table.num_rows for chunk in chunks) == 150_000
    assert [chunk.rows[0] for chunk in chunks[1:]] == [chunk.rows[-1] + 1 for chunk in chunks[:-1]]


def test_files_of_many_columns_may_have_longer_rows(tmp_path):
    names = [f"c{i}" for i in range(600)]
    path = write(tmp_path / "a.csv", ",".join(names) + "\n" + ",".join(["12"] * 600) + "\n")
    with mock.patch.object(csv_module, "_BLOCK_BYTES", 1024):
        assert read(path)[0] == {1: ("12",) * 600}


def test_a_row_that_ends_with_a_carriage_return_at_the_end_of_a_block_is_not_lost(tmp_path):
    rows = [f'"{"a" * (50 + length)}",b\r' for length in range(30)]
    path = write(tmp_path / "a.csv", ("x,y\r" + "".join(rows)).encode())
    for block_bytes in range(100, 240):
        with mock.patch.object(csv_module, "_BLOCK_BYTES", block_bytes):
            found, rejects = read(path, quote='"')
        assert not rejects
        assert [cells for _, cells in sorted(found.items())] == [("a" * (50 + length), "b") for length in range(30)]


tables = st.lists(
    st.sampled_from([b"a", b"x1" * 9, b",", b",", b"a,b", b'"', b"\n", b"\n", b"a,b\n", b"\r\n", b"\r"])
    | st.sampled_from([b"\xc3\xa4", b"\xef\xbb\xbf"]),
    max_size=60,
).map(b"".join)


@settings(max_examples=500)
@given(tables, st.integers(100, 300), st.sampled_from(['"', ""]))
def test_blocks_of_any_size_give_what_arrow_gives_of_the_whole_file(tmp_path_factory, data, block_bytes, quote):
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", b"x,y\n" + data)
    _, _, is_open = naive_cells.find_rows(data + b"\n", b",", quote.encode())
    with mock.patch.object(csv_module, "_BLOCK_BYTES", block_bytes):
        try:
            rows, rejects = read(path, quote=quote)
        except StrayQuoteError:
            assert quote
            assert b'"' in data
            return
        except DataError:
            assert is_open or max(len(line) for line in data.replace(b"\r", b"\n").split(b"\n")) > 99
            return
    assert not is_open
    expected, refused = naive.read(data, ["x", "y"], ",", quote)
    for row in [row for row, reject in rejects.items() if reject.reason.startswith("a quote that opens a cell")]:
        cells, text = expected.pop(row, ()), refused.pop(row, rejects.pop(row).text)
        assert re.search("[\r\n]", text)
        assert not cells or any(re.search("[\r\n]", cell) for cell in cells)
    assert (rows, {row: reject.text for row, reject in rejects.items()}) == (expected, refused)


@pytest.mark.parametrize("good", [b"", b"a,b\n"])
def test_a_row_that_is_neither_utf8_nor_of_the_right_length_is_rejected_too(tmp_path, good):
    rows, rejects = read(write(tmp_path / "a.csv", b"x,y\n" + good + b"\xff\n\xff,\xff,\xff\n"))
    assert len(rows) == len(good.splitlines())
    assert [reject.text for reject in rejects.values()] == ["\\xff", "\\xff,\\xff,\\xff"]


def test_pieces_may_be_parsed_in_any_order(tmp_path):
    rows = [(str(i), f"{i * i}") for i in range(3000)]
    path = write(tmp_path / "a.csv", "x,y\n" + "".join(f"{x},{y}\n" for x, y in rows))
    with mock.patch.object(csv_module, "_BLOCK_BYTES", 4096):
        pieces = list(open_log(path).pieces())
    chunks = [chunk for piece in reversed(pieces) for chunk in piece.parse()]
    assert len(pieces) > 5
    assert sum(piece.num_rows for piece in pieces) == 3000
    for chunk in chunks:
        cells = zip(*(column.to_pylist() for column in chunk.table.columns), strict=True)
        assert list(cells) == [rows[row - 1] for row in chunk.rows]


@pytest.mark.parametrize("options", [{"delimiter": "é"}, {"delimiter": "\n"}, {"delimiter": '"'}, {"quote": "«"}])
def test_a_delimiter_or_quote_that_cannot_be_one_is_refused(tmp_path, options):
    with pytest.raises(ConfigError, match="ASCII characters other than line ends"):
        read(write(tmp_path / "a.csv", "x,y\n1,2\n"), **options)
