"""A quote that quotes nothing loses no rows in silence; cells that hold lines by right are read."""

from __future__ import annotations

import csv
import io
import random
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.test_csv import read, write

from fieldwise.data import csv as csv_module
from fieldwise.data.csv_quotes import StrayQuoteError
from fieldwise.data.log import open_log

WORDS = ["red shoes", "tv", "blue", '19" screen', 'a "b" c', "x,y"]


def queries(stray: dict[int, str], num_rows: int = 1_000, delimiter: str = "\t", end: str = "\n") -> str:
    rng = random.Random(0)
    rows = [["1", stray.get(i, "hat"), f"a{rng.randrange(9)}"] for i in range(1, num_rows + 1)]
    return end.join(delimiter.join(row) for row in [["click", "query", "ad"], *rows]) + end


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("second", ['"blue', 'blue"', '"blue" hat'])
def test_two_quotes_far_apart_are_an_error_that_names_the_first_and_plain_characters_where_told(
    tmp_path, delimiter, end, second
):
    path = write(tmp_path / "q.csv", queries({101: '"red', 901: second}, delimiter=delimiter, end=end))
    with pytest.raises(StrayQuoteError, match=r"q\.csv, row 101 \(line (.|\n)*a cell with 800 line ends, its lines"):
        read(path, delimiter=delimiter)
    rows, rejects = read(path, delimiter=delimiter, quote="")
    assert (len(rows), len(rejects)) == (1_000, 0)
    assert (rows[101][1], rows[901][1]) == ('"red', second)


def test_the_line_is_told_in_a_later_block_too(tmp_path):
    path = write(tmp_path / "q.tsv", queries({701: '"red', 740: '"blue'}))
    with (
        mock.patch.object(csv_module, "_BLOCK_BYTES", 1024),
        pytest.raises(StrayQuoteError, match=r"row 701 \(line 702\)"),
    ):
        read(path)


def test_quotes_in_different_blocks_are_an_error(tmp_path):
    path = write(tmp_path / "q.tsv", queries({101: '"red', 901: '"blue'}))
    with (
        mock.patch.object(csv_module, "_BLOCK_BYTES", 1024),
        pytest.raises(StrayQuoteError, match=r"row 101 \(line 102\)(.|\n)*no closing quote within 1,024 bytes"),
    ):
        read(path)


def test_a_sloppy_cell_of_a_few_lines_is_a_rejected_row_and_the_rest_is_read(tmp_path):
    path = write(tmp_path / "a.csv", 'x,y,z\n1,"one\ntwo" more,3\n4,"five\nsix",7\n8,"nine\nten"  ,11\n')
    rows, rejects = read(path)
    assert rows == {2: ("4", "five\nsix", "7"), 3: ("8", "nine\nten  ", "11")}
    assert [reject.reason for reject in rejects.values()] == [
        "a quote that opens a cell closes inside of it: a cell with 1 line end"
    ]


def test_long_texts_in_quotes_are_no_alarm(tmp_path):
    rng = random.Random(1)
    texts = ["\n".join(", ".join(rng.choices(WORDS, k=rng.randrange(5))) for _ in range(200)) for _ in range(30)]
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([["click", "text", "ad"], *(["1", text, "a"] for text in texts)])
    rows, rejects = read(write(tmp_path / "a.csv", file.getvalue()))
    assert ([cells[1] for cells in rows.values()], rejects) == (texts, {})


@settings(max_examples=150)
@given(
    table=st.lists(
        st.lists(st.text('a",\n\t ', max_size=8), min_size=3, max_size=3).filter(any), min_size=1, max_size=20
    ),
    delimiter=st.sampled_from(",\t"),
)
def test_what_a_csv_writer_wrote_is_read_back(tmp_path_factory, table, delimiter):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows([["x", "y", "z"], *table])
    path = write(tmp_path_factory.mktemp("log") / "a.csv", file.getvalue())
    with mock.patch("fieldwise.data.csv_quotes._FEW_LINES", 50):  # texts by chance like rows, which these can be
        rows, rejects = read(path, delimiter=delimiter)
    assert ([list(cells) for cells in rows.values()], rejects) == (table, {})


@settings(max_examples=150)
@given(
    cells=st.lists(st.sampled_from(['"', '"a', 'a"', 'a"b', "a", "", '""', '"a"', "'"]), min_size=3, max_size=90),
    block_bytes=st.sampled_from([64, 1 << 22]),
)
def test_no_line_is_lost_whatever_quotes_there_are(tmp_path_factory, cells, block_bytes):
    lines = ["\t".join(["1", *cells[at : at + 2]]) for at in range(0, len(cells) - 1, 2)]
    path = write(tmp_path_factory.mktemp("log") / "a.tsv", "\n".join(["x\ty\tz", *lines]) + "\n")
    with mock.patch.object(csv_module, "_BLOCK_BYTES", block_bytes):
        rows, rejects = read(path, quote="")
        assert (len(rows), rejects) == (len(lines), {})
        try:
            rows, rejects = read(path)
        except StrayQuoteError:
            return
    inside = sum(cell.count("\n") for row in rows.values() for cell in row)
    inside += sum(reject.text.count("\n") for reject in rejects.values())
    assert len(rows) + len(rejects) + inside == len(lines)
    assert all(sum(cell.count("\n") for cell in row) <= 2 for row in rows.values())


@settings(max_examples=30)
@given(
    texts=st.lists(st.sampled_from(["a", "b\nc", "d", "e\nf\ng", 'h ""i""', "j\r\nk"]), min_size=1, max_size=30),
    block_bytes=st.sampled_from([64, 4096]),
)
def test_rows_with_line_ends_inside_are_counted_once_however_often_they_are_read(tmp_path_factory, texts, block_bytes):
    path = tmp_path_factory.mktemp("ends") / "log.csv"
    lines = ["n,text\n", *(f'{number},"{text}"\n' for number, text in enumerate(texts))]
    write(path, "".join(lines))
    broken = [number for number, text in enumerate(texts) if "\n" in text]
    with mock.patch.object(csv_module, "_BLOCK_BYTES", block_bytes):
        log = open_log(path)
        for _ in range(2):
            assert sum(chunk.table.num_rows for chunk in log.chunks()) == len(texts)
    found = [(each.rows, each.line) for each in log.line_ends]
    assert found == ([(len(broken), 1 + "".join(lines[: broken[0] + 1]).count("\n"))] if broken else [])
