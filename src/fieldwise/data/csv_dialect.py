r"""How a text table is written: as stated, else as its first lines tell: its delimiter, its header, what comes before.

The same rules hold whenever a file is opened, in training and afterwards, and only for what nobody has stated. A
delimiter is one that stands in each of the first lines, outside quotes, equally often: the usual one of the file's name
if it does at all in the first, else a tab, ``;``, ``|``, Hive's byte 1, ``~``, ``^`` or a space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from fieldwise.errors import DataError

__all__ = [
    "CsvOptions",
    "Dialect",
    "Preamble",
    "first_row_is_data",
    "preamble",
    "read_delimiter",
    "recognised",
    "refuse_data_as_names",
]

_OTHERS = ("\t", ";", "|", "\x01", "~", "^", " ")
_NUM_LINES = 20
_SEP_LINE = re.compile(rb'"?sep=([^\r\n"])"?[ ]*\r?\n', re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_YEAR = re.compile(r"(19|20)[0-9]{2}")
_SPELLED = {r"\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


class CsvOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How CSV files are written, where their names do not tell.

    Attributes
    ----------
    header
        Whether the first line names the columns. Unless given it has to, and is refused where it looks like data.
    delimiter
        One character; a tab for ``.tsv``, a comma for all else unless given, or what the first lines have in its place
        (`recognised`).
    recognise
        Whether a delimiter that is not given is told from the first lines. A saved model does not: what was recognised
        in its training log is its `delimiter`, and its first lines are a `header` or not, so that later files are read
        alike.
    quote
        The character around cells that hold delimiters or line ends; empty where quotes are plain characters.
    columns
        The names of the columns of files without a header; f0, f1, ... unless given.
    encoding
        Of files without a byte order mark, which tells it: ``latin-1``, ``cp1252``, ``utf-16-le``, ...; UTF-8 unless
        given.
    """

    header: bool | None = None
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] | None = None
    recognise: bool = True
    quote: Annotated[str, Meta(max_length=1)] = '"'
    columns: tuple[str, ...] = ()
    encoding: str | None = None


class Dialect(NamedTuple):
    """How cells are told apart.

    Attributes
    ----------
    delimiter
        One character.
    quote
        One character, or empty where quotes are plain characters.
    """

    delimiter: str
    quote: str

    @property
    def is_usable(self) -> bool:
        """Whether each is one byte that is no line end, and they differ."""
        characters = self.delimiter + self.quote
        return self.delimiter != self.quote and all(ord(one) < 128 and one not in "\r\n\0" for one in characters)


class Preamble(NamedTuple):
    """What stands before the first row.

    Attributes
    ----------
    num_bytes
        Of it.
    delimiter
        The one that Excel's line ``sep=;`` names, if it is there.
    """

    num_bytes: int
    delimiter: str | None


def read_delimiter(text: str | None) -> str | None:
    r"""Return the delimiter that people mean.

    Examples
    --------
    >>> read_delimiter(r"\t"), read_delimiter(";"), read_delimiter(None)
    ('\t', ';', None)
    """
    return text if text is None else _SPELLED.get(text.lower(), text)


def preamble(body: bytes) -> Preamble:
    r"""Look at the beginning of a file, without its byte order mark and empty lines.

    Lines that begin with ``#`` are comments where what follows them has another number of cells.

    Examples
    --------
    >>> preamble(b"sep=;\nclick;ad\n1;2\n")
    Preamble(num_bytes=6, delimiter=';')
    >>> preamble(b"# made today\nclick,ad\n1,2\n")
    Preamble(num_bytes=13, delimiter=None)
    >>> preamble(b"#click,ad\n1,2\n")
    Preamble(num_bytes=0, delimiter=None)
    """
    found = _SEP_LINE.match(body)
    if found:
        return Preamble(found.end(), found[1].decode("latin-1"))
    lines = body.splitlines(keepends=True)
    num = next((at for at, line in enumerate(lines) if not line.startswith(b"#")), 0)
    if num and not any(_as_many_cells(lines[num - 1], lines[num], delimiter) for delimiter in b",\t;| "):
        return Preamble(sum(map(len, lines[:num])), None)
    return Preamble(0, None)


def _as_many_cells(line: bytes, next_line: bytes, delimiter: int) -> bool:
    if delimiter == ord(" ") and line.startswith(b"# "):  # a sentence: no column is called #
        return False
    of_one, of_other = (text.count(bytes([delimiter])) for text in (line, next_line))
    return of_one == of_other > 0


def recognised(body: bytes, usual: str, quote: str, where: str) -> str:
    r"""Return the delimiter of a table from its first lines.

    Raises
    ------
    DataError
        Cells are separated by ``::``, which is more than one character.

    Examples
    --------
    >>> recognised(b"click;ad\n1;2,5\n", ",", '"', "a.csv"), recognised(b"click,ad\n1;2,3\n", ",", '"', "a.csv")
    (';', ',')
    """
    lines = body[: 1 << 16].splitlines(keepends=True)
    whole = [line.decode(errors="replace").rstrip("\r\n") for line in lines if line.endswith((b"\n", b"\r"))] or [
        line.decode(errors="replace") for line in lines
    ]
    whole = [line for line in whole if line][:_NUM_LINES]
    if quote:
        whole = [re.sub(f"{re.escape(quote)}[^{re.escape(quote)}]*{re.escape(quote)}", "x", line) for line in whole]
    if not whole:
        return usual
    decimal = usual == "," and _often(whole, ";") and not any(re.search("(^|[^0-9]),|,($|[^0-9])", x) for x in whole)
    if usual in whole[0] and not decimal:
        return usual
    if _often(whole, "::"):
        raise DataError(
            "the delimiter has two characters, ::",
            where=where,
            expected="one character between cells",
            fix="convert the file, as in: sed 's/::/\\t/g' ratings.dat > ratings.tsv",
        )
    return next((delimiter for delimiter in _OTHERS if _often(whole, delimiter)), usual)


def _often(lines: Sequence[str], delimiter: str) -> bool:
    """Whether a delimiter stands in every line equally often, and does so."""
    counts = {line.count(delimiter) for line in lines}
    return len(counts) == 1 and counts != {0}


def first_row_is_data(cells: Sequence[str]) -> bool:
    """Whether a row holds numbers as no header does: names may be years, or be counted, and only the first is empty.

    Examples
    --------
    >>> first_row_is_data(["0", "u3", "4.56"]), first_row_is_data(["click", "0", "1", "2"])
    (True, False)
    >>> first_row_is_data(["click", "2025", "2026"]), first_row_is_data(["click", "ad"])
    (False, False)
    """
    numbers = [cell.strip() for cell in cells if _NUMBER.fullmatch(cell.strip())]
    if numbers and not all(cells[1:]):  # the first column may be an index without a name
        return True
    if not numbers or all(_YEAR.fullmatch(number) for number in numbers):
        return False
    if len(numbers) < 2 or not all(number.isdigit() and str(int(number)) == number for number in numbers):
        return True
    whole = [int(number) for number in numbers]
    return whole != list(range(whole[0], whole[0] + len(whole)))


def refuse_data_as_names(cells: Sequence[str], path: str) -> None:
    """Raise DataError where the first row, which is to name the columns, is one of data, or is read in a wrong way."""
    if cells[0].startswith(("{", "[{")):
        raise DataError(
            "the first row looks like JSON and not like the names of columns",
            where=f"{path}, row 1",
            got=cells[0][:60],
            fix="convert the file to CSV or Parquet",
        )
    if all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in cells):
        raise DataError(
            "the names of columns are in single quotes",
            where=f"{path}, row 1",
            got=", ".join(cells[:6]) + (", ..." if len(cells) > 6 else ""),
            fix="""say --quote "'" (csv.quote = "'"); where the quotes belong to the names, csv.header = true""",
        )
    if first_row_is_data(cells):
        raise DataError(
            "the first row looks like data and not like the names of columns",
            where=f"{path}, row 1",
            expected="names",
            got=", ".join(map(repr, cells[:6])) + (", ..." if len(cells) > 6 else ""),
            fix="if there is no header, use --no-header (csv.header = false) and name the columns with --columns; "
            "if these are names, set csv.header = true",
        )
