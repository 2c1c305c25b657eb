"""Logs that are full of rows nobody can use, of every kind that their formats allow, and what was planned for each."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.reference import rows as reference

COLUMNS = ("click", "weight", "age", "city", "tags", "when")
NOT_BEFORE = 70_000
"""A zero byte among the first 64 KB of a file makes it a binary one."""

Cells = list[bytes]


class TextFile(NamedTuple):
    """A file of a log, and the kinds of its malformed rows."""

    path: Path
    kinds: Counter[str]


def good(rng: random.Random) -> Cells:
    """Return cells that can be read."""
    city = rng.choice([b"Rome", b"Oslo", "Malmö".encode(), b"", b"nan", b"a,b", b'say "hi"', b"two\nlines",
                       b" spaced ", b"x" * rng.randint(1, 30), b"v%d" % rng.randint(0, 500), b"tab\there",
                       "東京".encode()])  # fmt: skip
    age = rng.choice(
        [b"", b"nan", b"-0.0", b" 17 ", b"1e3", b".5", b"5.", b"%d" % rng.randint(0, 99), b"%.3f" % rng.random()]
    )
    tags = b"|".join(b"t%d:%.2f" % (rng.randint(0, 20), rng.uniform(-2, 2)) for _ in range(rng.randint(0, 4)))
    when = rng.choice([b"", b"2026-11-%02d %02d:30:00" % (rng.randint(1, 28), rng.randint(0, 23))])
    return [rng.choice([b"0", b"1"]), b"%.2f" % rng.uniform(0, 3), age, city, tags, when]


def _short(rng: random.Random, cells: Cells) -> Cells:
    return cells[: rng.randint(1, len(cells) - 1)]


def _long(rng: random.Random, cells: Cells) -> Cells:
    return [*cells, *[rng.choice([b"", b"x", b"1"])] * rng.randint(1, 40)]


def _one_of(column: str, *values: bytes) -> Callable[[random.Random, Cells], Cells]:
    place = COLUMNS.index(column)

    def change(rng: random.Random, cells: Cells) -> Cells:
        return [*cells[:place], rng.choice(values), *cells[place + 1 :]]

    return change


KINDS: dict[str, Callable[[random.Random, Cells], Cells]] = {
    "short": _short,
    "long": _long,
    "number": _one_of("age", b"abc", b"1e", b"--3", b"0x10", b"1,5", b"inf", b"-Infinity", b"1e999", b"1_000", b"5 5",
                      "１２".encode(), b"1.2.3", b"e5", b"..", b"+", b"1e+-3", b"\xc2\xa05"),
    "label": _one_of("click", b"", b"nan", b"inf", b"2", b"maybe", b"-1", b"0.5", b"perhaps", b"wahr", b"01", b"1;0"),
    "weight": _one_of("weight", b"", b"nan", b"-1", b"x", b"inf", b"1e39", b"-0.001", b"1%"),
    "encoding": _one_of("city", b"\xff\xfe", b"Malm\xf6", b"\x80", b"ok\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80",
                        b"\xc0\xaf"),
    "encoding of a number": _one_of("age", b"\xff", b"5\x80"),
    "tag": _one_of("tags", b"a", b"a:", b"a:x", b"a:1|b", b"a:inf", b"a:1e39", b":", b"a:1||b:nan", b"a:1;b"),
    "zero byte in a number": _one_of("age", b"5\0", b"\0"),
    "nothing": lambda rng, cells: [b""] * len(cells),
    "noise": lambda rng, cells: [
        bytes(rng.choice(b"\x01\x7f\xfe;:|#' abc019") for _ in range(rng.randint(1, 12))) for _ in cells
    ],
}  # fmt: skip
"""Changes that leave a row which cannot be used."""
ODD: dict[str, Callable[[random.Random, Cells], Cells]] = {
    "time": _one_of("when", b"yesterday", b"2026-11-08 25:00:00", b"2026-13-08 10:00:00", b"2026-11-31 10:00:00",
                    b"10:00", b"2026-11-08 10:61:00"),
    "huge": lambda rng, cells: [*cells[:3], b"h" * rng.randint(50_000, 400_000), *cells[4:]],
    "zero byte": _one_of("city", b"a\0b", b"\0", b"Rome\0"),
}  # fmt: skip
"""Changes that are odd, and leave a row that is used."""


def text_file(path: Path, rng: random.Random, num_rows: int, share: float, num_open: int = 0) -> TextFile:
    """Write a CSV or TSV file, gzipped where its name says so.

    `num_open` rows, none of the last ten, open a quote that the next quote of the file closes, lines away.
    """
    delimiter = b"\t" if ".tsv" in path.name else b","
    lines = [delimiter.join(name.encode() for name in COLUMNS)]
    kinds: Counter[str] = Counter()
    num_bytes = 0
    opened = set(rng.sample(range(num_rows - 10), num_open))
    for row in range(num_rows):
        cells = good(rng)
        if rng.random() < share:
            changes = {**KINDS, **ODD}
            kind = rng.choice([name for name in changes if num_bytes > NOT_BEFORE or "zero byte" not in name])
            if kind == "huge" and rng.random() < 0.9:
                kind = "short"
            cells = changes[kind](rng, cells)
            kinds[kind] += 1
        line = delimiter.join(_written(cell, delimiter, rng) for cell in cells)
        if row in opened:
            line = line.replace(delimiter, delimiter + b'"', 1)
            kinds["open quote"] += 1
        lines.append(line)
        num_bytes += len(line)
        if rng.random() < 0.01:
            lines.append(b"")
    data = rng.choice([b"\n", b"\r\n"]).join(lines) + b"\n"
    if opened and _is_open(data, delimiter):  # that would be an error of the file, not of its rows
        data += b'"\n'
    path.write_bytes(gzip.compress(data, 1) if path.name.endswith(".gz") else data)
    return TextFile(path, kinds)


def _is_open(data: bytes, delimiter: bytes) -> bool:
    """Whether a quote swallows what comes after these rows."""
    return reference.delimited(data + b"\n" + delimiter * 99 + b"\n", delimiter)[-1] != [b""] * 100


def _written(cell: bytes, delimiter: bytes, rng: random.Random) -> bytes:
    needed = any(mark in cell for mark in (delimiter, b'"', b"\n", b"\r"))
    return b'"' + cell.replace(b'"', b'""') + b'"' if needed or rng.random() < 0.05 else cell


NONSENSE = [
    b"1 a:b", b"1 3:", b"1 :4", b"1 3:nan", b"0 -3:1", b"1 3:1 3", b"1 3:1:4:5", b"1 3.5:1", b"1:2 3:1", b"1 3:0x5",
    b"1 3:1e", b"\xff\xfe 3:1", b"1 3:1 \x80", b"1 3::1", b"1 3=1", b"1,3:1", b"1 99999999999:1:1:1", b"1 3:1;4:1",
    b"1 3:--1", b"1 3:1\r0",
]  # fmt: skip
BAD_LABELS = [b"x", b"-1", b"2", b"1.5", b"++1", b"nan", b"inf"]


def libsvm_file(path: Path, rng: random.Random, num_rows: int, share: float, parts: int) -> TextFile:
    """Write a libsvm file (2 parts in a token) or a libffm file (3)."""
    lines: list[bytes] = []
    kinds: Counter[str] = Counter()
    for _ in range(num_rows):
        tokens = [
            b":".join(
                [
                    *[b"%d" % rng.randint(0, 9) for _ in range(parts - 1)],
                    rng.choice([b"1", b"0.5", b"-2e-1", b".5", b"5."]),
                ]
            )
            for _ in range(rng.randint(0, 6))
        ]
        label = rng.choice([b"0", b"1", b"+1"])
        space = rng.choice([b" ", b"  ", b"\t", b" \t "])
        line = space.join([label, *tokens]) + rng.choice([b"", b"", b" ", b" # 3:nonsense", b"\r"])
        if rng.random() < share:
            kind = rng.choice(["nonsense", "label", "half", "other format"])
            if kind == "nonsense":
                line = rng.choice(NONSENSE)
            elif kind == "label":
                line = space.join([rng.choice(BAD_LABELS), *tokens])
            elif kind == "half":
                line = label + b" 3:1 4:"
            else:
                line = label + (b" 1:2:3" if parts == 2 else b" 1:2")
            kinds[kind] += 1
        lines.append(line)
        if rng.random() < 0.02:
            lines.append(rng.choice([b"", b"  ", b"# a comment"]))
    data = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(data, 1) if path.name.endswith(".gz") else data)
    return TextFile(path, kinds)
