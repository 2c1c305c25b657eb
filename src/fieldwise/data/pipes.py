"""Pipes and standard input, which can be read only once: they are copied into a file first."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fieldwise.errors import DataError, UserError
from fieldwise.io.files import explaining

__all__ = ["STANDARD_INPUT", "Spooled", "refuse_special", "spooled"]

STANDARD_INPUT = "-"
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a disk"),
)
_ENDINGS = ((b"PAR1", ".parquet"), (b"\x1f\x8b", ".gz"))
_SLICE = 1 << 20


class Spooled(NamedTuple):
    """Paths that can be read any number of times.

    Attributes
    ----------
    names
        The paths, those of copies among them.
    shown
        What messages call the copies.
    formless
        What neither its name nor its first bytes tell the format of; None where there is nothing of the kind.
    """

    names: list[str | Path]
    shown: dict[str, str]
    formless: str | None


def kind_of(path: str | Path) -> str | None:
    """Return what a path leads to, where that is neither a file nor a folder.

    Examples
    --------
    >>> kind_of("/dev/null"), kind_of("."), kind_of("no such file")
    ('a device', None, None)
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return None
    return next((kind for test, kind in _KINDS if test(mode)), None)


def refuse_special(path: str | Path) -> None:
    """Raise DataError where a path is no file, but a pipe, standard input, a socket or a device."""
    kind = "standard input" if str(path) == STANDARD_INPUT and not Path(path).exists() else kind_of(path)
    if kind is None:
        return
    raise DataError(
        "not a regular file",
        where=path,
        expected="a file, which can be read several times",
        got=kind,
        fix="write the rows into a file first",
    )


@contextmanager
def spooled(paths: Sequence[str | Path]) -> Iterator[Spooled]:
    """Copy what comes through pipes into temporary files, until the block ends; errors name the pipe, not its copy.

    ``-`` is standard input. A pipe is read to its end before anything else happens, and needs that much room in the
    folder for temporary files (``TMPDIR``).

    Raises
    ------
    DataError
        A path leads to a socket, a device, or a terminal; or two to one pipe.
    ResourceError
        The disk is full.
    """
    if not any(str(path) == STANDARD_INPUT or kind_of(path) for path in paths):
        yield Spooled(list(paths), {}, None)
        return
    names: list[str | Path] = []
    shown: dict[str, str] = {}
    formless: str | None = None
    seen: dict[tuple[int, int], str] = {}
    with tempfile.TemporaryDirectory(prefix="fieldwise-") as folder:
        for number, path in enumerate(paths):
            is_standard = str(path) == STANDARD_INPUT
            if not is_standard and kind_of(path) is None:
                names.append(path)
                continue
            name = "standard input" if is_standard else str(path)
            status = os.fstat(0) if is_standard else os.stat(path)
            if first := seen.get(pipe := (status.st_dev, status.st_ino)):
                raise DataError(
                    "a pipe that can be read only once is named twice",
                    where=name,
                    got=f"the same pipe as {first}" if first != name else None,
                    fix="name it once",
                )
            seen[pipe] = name
            copy = _copy(path, Path(folder, str(number)))
            if not copy.suffix:
                formless = name
            shown[str(copy)] = name
            names.append(copy)
        try:
            yield Spooled(names, shown, formless)
        except UserError as error:
            raise _renamed(error, shown) from None


def _copy(path: str | Path, target: Path) -> Path:
    """Copy a pipe, and return where; the copy's ending tells the format as far as name and first bytes do."""
    if str(path) == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.closed:
            raise DataError("there is no standard input", where=path)
        if sys.stdin.isatty():
            raise DataError(
                "standard input is a terminal",
                where=path,
                expected="rows through a pipe: zcat day.csv.gz | fieldwise ...",
            )
        return _copy_stream(sys.stdin.buffer, target, "")
    if kind_of(path) != "a pipe":
        refuse_special(path)
    ending = "".join(Path(path).suffixes[-2:])
    with explaining(path), open(path, "rb") as stream:
        return _copy_stream(stream, target, ending)


def _copy_stream(stream: BinaryIO, target: Path, ending: str) -> Path:
    head = stream.read(16)
    ending = ending or next((known for magic, known in _ENDINGS if head.startswith(magic)), "")
    target = target.with_name(target.name + ending)
    with explaining(target), target.open("wb") as file:
        file.write(head)
        shutil.copyfileobj(stream, file, _SLICE)
    return target


def _renamed(error: UserError, shown: dict[str, str]) -> UserError:
    parts = {"where": error.where, "expected": error.expected, "got": error.got}
    for copy, name in shown.items():
        parts = {key: value if value is None else str(value).replace(copy, name) for key, value in parts.items()}
    return type(error)(error.what, fix=error.fix, **parts)
