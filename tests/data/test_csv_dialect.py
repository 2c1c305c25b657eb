"""The same table gives the same rows in whatever dialect it is written; what cannot be told is refused by name."""

import csv
import gzip
import io

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwise.data.csv_dialect import CsvOptions
from fieldwise.data.log import open_log
from fieldwise.errors import DataError, UserError

CELLS = st.text("abz019.-é_", min_size=1, max_size=5)


def rows_of(path, options=None) -> tuple[list[str], list[list[str]]]:
    log = open_log([path], csv=options or CsvOptions())
    table = pa.concat_tables([chunk.table for chunk in log.chunks()])
    return table.column_names, [list(row.values()) for row in table.to_pylist()]


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.text("abz09.éèü€ì", min_size=1), min_size=2, max_size=2), min_size=1, max_size=30),
    st.sampled_from(["utf-8-sig", "utf-16", "utf-32", "utf-16-be", "utf-16-le", "cp1252", "utf-8"]),
    st.booleans(),
)
def test_a_table_in_any_encoding_gives_the_same_rows(tmp_path_factory, rows, encoding, gzipped):
    """A byte order mark tells it; where there is none, `csv.encoding` does."""
    data = "".join(",".join(row) + "\n" for row in [["città", "prezzo"], *rows]).encode(encoding)
    path = tmp_path_factory.mktemp("log") / ("log.csv.gz" if gzipped else "log.csv")
    path.write_bytes(gzip.compress(data) if gzipped else data)
    marked = encoding in ("utf-8-sig", "utf-16", "utf-32")
    for given_encoding in (None, encoding) if marked else (encoding,):
        assert rows_of(path, CsvOptions(encoding=given_encoding)) == (["città", "prezzo"], rows)
    if encoding == "utf-8-sig":
        assert rows_of(path, CsvOptions(encoding="cp1252")) == (["città", "prezzo"], rows), "the mark says it"


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        (b"citt\xe0,b\n1,2\n", None, r"not UTF-8\n  where: .*, line 1\n  got: byte 4 is e0(.|\n)*csv.encoding"),
        (b"a,b\n" + b"1,\xe8\n" * 40_000 + b"\x81", "cp1252", r"not cp1252 .*, line 40002\n  got: byte 160,004 is 81"),
        ("a,b\n1,è".encode("utf-16-le")[:-1], "utf-16", r"not utf-16-le text\n  where: .*, line 2\n.* truncated data"),
        (b"a,b\n", "latin-one", r"the encoding is unknown(.|\n)*got: latin-one"),
        (b"a,b\n", "base64", r"the encoding is unknown"),
        (b"a,b\n1,\0\n", "latin-1", r"csv text in iso8859-1\n  got: binary data, a zero byte at 6"),
    ],
)
def test_bytes_that_the_encoding_has_not_are_named_with_file_line_and_the_setting(tmp_path, data, encoding, message):
    (tmp_path / "log.csv").write_bytes(data)
    with pytest.raises(UserError, match=message.replace(" .*", r"(.|\n)*")):
        rows_of(tmp_path / "log.csv", CsvOptions(encoding=encoding))


@settings(max_examples=40)
@given(
    st.integers(2, 5).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=6)),
    st.sampled_from([",", ";", "|", "\t", "\x01", "~", "^", " "]),
    st.sampled_from(["", "\n\n", "sep", "# made by a tool\n", "\ufeff"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_table_in_any_dialect_gives_the_same_rows(tmp_path_factory, rows, delimiter, before, ends, quoting):
    names = [f"name_{letter}" for letter in "abcde"[: len(rows[0])]]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=ends, quoting=quoting).writerows([names, *rows])
    path = tmp_path_factory.mktemp("log") / "log.csv"
    path.write_text((f"sep={delimiter}{ends}" if before == "sep" else before) + text.getvalue(), newline="")
    assert rows_of(path) == (names, rows)


@pytest.mark.parametrize(
    ("text", "names", "rows"),
    [
        ("click;price\n1;3,14\n0;2,5\n", ["click", "price"], [["1", "3,14"], ["0", "2,5"]]),
        ("price;amount,click\n1,2\n", ["price;amount", "click"], [["1", "2"]]),
        ("#h,click\n1,2\n", ["#h", "click"], [["1", "2"]]),
        ("user id\nu 1\nu2\n", ["user id"], [["u 1"], ["u2"]]),
        ("click,2025,2026\n1,2,3\n", ["click", "2025", "2026"], [["1", "2", "3"]]),
        ("click,0,1,2\n1,2,3,4\n", ["click", "0", "1", "2"], [["1", "2", "3", "4"]]),
        ('"a;b","c;d"\n1,2\n', ["a;b", "c;d"], [["1", "2"]]),
    ],
)
def test_first_lines_are_not_mistaken(tmp_path, text, names, rows):
    (tmp_path / "log.csv").write_text(text)
    assert rows_of(tmp_path / "log.csv") == (names, rows)


def test_what_is_stated_holds(tmp_path):
    (tmp_path / "log.csv").write_text("a;b\n1;2\n")
    assert rows_of(tmp_path / "log.csv", CsvOptions(delimiter=",")) == (["a;b"], [["1;2"]])
    (tmp_path / "log.csv").write_text("0,u3,4.5\n1,u4,2\n")
    assert rows_of(tmp_path / "log.csv", CsvOptions(header=True))[0] == ["0", "u3", "4.5"]
    assert rows_of(tmp_path / "log.csv", CsvOptions(header=False))[0] == ["f0", "f1", "f2"]


@pytest.mark.parametrize("text", ["0,u3,4.56\n1,u4,2\n", "0\t1\t\t68fd1e64\n1\t\t3\t80e26c9b\n", "1;5;3\n2;7;1\n"])
def test_a_first_row_of_data_is_not_taken_for_names(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(DataError, match=r"looks like data(.|\n)*--no-header(.|\n)*csv.header = true"):
        rows_of(tmp_path / "log.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"click": 1, "ad": "a"}\n{"click": 0, "ad": "b"}\n', r"looks like JSON(.|\n)*convert"),
        ('[{"click": 1}]\n', "looks like JSON"),
        ("'click','ad'\n'1','a'\n", r"single quotes(.|\n)*--quote \"'\"(.|\n)*csv.header = true"),
    ],
)
def test_a_first_row_that_is_read_in_a_wrong_way_is_refused(tmp_path, text, message):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        rows_of(tmp_path / "log.csv")


def test_single_quotes_are_read_where_they_are_stated(tmp_path):
    (tmp_path / "log.csv").write_text("'click','ad'\n'1','a,b'\n")
    assert rows_of(tmp_path / "log.csv", CsvOptions(quote="'")) == (["click", "ad"], [["1", "a,b"]])


def test_a_delimiter_of_two_characters_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "log.csv").write_text("user::item::rating\n1::2::5\n3::4::1\n")
    with pytest.raises(DataError, match=r"two characters, ::(.|\n)*sed"):
        rows_of(tmp_path / "log.csv")


@pytest.mark.parametrize("ending", ["zip", "bz2", "zst", "xz"])
def test_a_packed_file_that_is_named_is_said_to_be_packed(tmp_path, ending):
    (tmp_path / f"log.csv.{ending}").write_bytes(b"PK\3\4")
    with pytest.raises(UserError, match=rf"the file is packed as {ending}(.|\n)*unpack it, or pack it by gzip"):
        open_log([tmp_path / f"log.csv.{ending}"])


def test_a_column_that_a_file_of_one_column_lacks_is_an_error_that_names_the_delimiter(tmp_path):
    (tmp_path / "log.csv").write_text("click!ad\n1!a\n0!b\n")
    with pytest.raises(UserError, match=r"no such column(.|\n)*It is the only column(.|\n)*csv\.delimiter"):
        list(open_log([tmp_path / "log.csv"]).chunks(["click"]))
