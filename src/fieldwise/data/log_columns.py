"""Which columns the files of a log have, and of which types: what can be read from all of them.

Nothing is said of columns that nobody asks for. A column that some files have and others lack is no column of the log;
who asks for it gets an error that names the file. So does who asks for a column whose types cannot be read alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from fieldwise.data.chunk import Reader
from fieldwise.data.column_types import ReadAs, are_alike, holds_integers
from fieldwise.data.parquet import ParquetReader
from fieldwise.data.partitions import Keys, keys_of
from fieldwise.data.sources import Source
from fieldwise.errors import DataError, did_you_mean
from fieldwise.features.canonical import is_list
from fieldwise.schema import Schema

__all__ = ["FileColumns", "LogColumns", "columns_of_files", "near_column"]

_EXACT = 2.0**53
_NAMED = 10
_TEXT = pa.string()
_NO_TYPES: Mapping[str, pa.DataType] = {}


class FileColumns(NamedTuple):
    """The columns of one file.

    Attributes
    ----------
    path
        The file.
    names
        In the file's order; those that its folders name (`data.partitions`) come last.
    hidden
        Further names that folders give, above the one that was named, and alike for all files of the log: nobody sees
        them who does not ask for them, for who calls a folder ``seed=1`` need not mean a column.
    types
        Of the columns that are no plain text; one object for all files that have the same.
    largest
        Returns the largest magnitude of a column of numbers, as far as the file says; None where it does not.
    """

    path: str
    names: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    types: Mapping[str, pa.DataType] = _NO_TYPES
    largest: Callable[[str], float | None] = lambda name: None

    def has(self, name: str) -> bool:
        """Whether the file has a column, hidden or not."""
        return name in self.names or name in self.hidden


def columns_of_files(
    sources: Sequence[Source], readers: Sequence[Reader], keys: Mapping[int, Keys]
) -> Iterator[FileColumns]:
    """Yield the columns of each file; those that folders name are hidden where they are above what was named, and the
    same for all files.
    """
    fields = {
        name
        for source, reader in zip(sources, readers, strict=True)
        if source.format == "libffm"
        for name in reader.columns
    }
    of_libffm = ("label", *sorted(fields - {"label"}, key=lambda name: (len(name), name)))
    values: dict[str, set[str | None]] = {}
    for of_file in keys.values():
        for name, value in of_file.items():
            values.setdefault(name, set()).add(value)
    seen: list[tuple[pa.Schema, dict[str, pa.DataType]]] = []
    for source, reader, of_file in zip(sources, readers, keys.values(), strict=True):
        own = of_libffm if source.format == "libffm" else reader.columns
        above = keys_of(os.path.join(source.base, "_")) if of_file else {}
        further = [name for name in of_file if name not in own]
        hidden = tuple(name for name in further if name in above and len(values[name]) == 1)
        shown = tuple(name for name in further if name not in hidden)
        if not isinstance(reader, ParquetReader):
            yield FileColumns(source.path, own + shown, hidden, getattr(reader, "types", {}))
            continue
        types = next((types for schema, types in seen if schema.equals(reader.schema)), None)
        if types is None:
            types = reader.types
            seen.append((reader.schema, types))
        yield FileColumns(source.path, own + shown, hidden, types, reader.largest)


def near_column(name: str, known: Collection[str]) -> str:
    """Return a hint for the name of a column that a log does not have.

    Examples
    --------
    >>> near_column("clik", ["click", "ad"])
    'did you mean click?'
    >>> near_column("click", ["click~ad"])
    'did you mean click~ad? It is the only column: if its cells hold several, name what separates them, csv.delimiter'
    """
    hint = did_you_mean(name, known)
    if len(known) != 1:
        return hint
    end = "" if hint.endswith("?") else "."
    return f"{hint}{end} It is the only column: if its cells hold several, name what separates them, csv.delimiter"


class LogColumns:
    """The columns of all files of a log, or of several.

    Attributes
    ----------
    files
        One or more.
    common
        The names that all files have, in the order of the first.
    hidden
        Further names that all files have, for those who ask.
    partial
        The names that only some files have: which file lacks it, as a reason for leaving the column out.

    Raises
    ------
    DataError
        No column is in all files.
    """

    def __init__(self, files: Iterable[FileColumns]) -> None:
        self.files = tuple(files)
        by_kind: dict[object, FileColumns] = {}
        for file in self.files:  # most are alike: of a thousand, a few are looked at
            by_kind.setdefault((file.names, file.hidden, id(file.types)), file)
        self._distinct = list(by_kind.values())
        shown = dict.fromkeys(name for file in self._distinct for name in file.names)
        common = {*self.files[0].names, *self.files[0].hidden} if self.files else set()
        for file in self._distinct[1:]:
            common &= {*file.names, *file.hidden}
            if not common:
                raise self._nothing_in_common(file)
        self.common = tuple(name for name in shown if name in common)
        self.hidden = tuple(name for file in self.files[:1] for name in file.hidden if name in common - shown.keys())
        self.partial = {name: self._why_partial(name) for name in shown if name not in common}

    @property
    def is_mixed(self) -> bool:
        """Whether files differ in the types of their columns."""
        return len({id(file.types) for file in self._distinct}) > 1

    @classmethod
    def of_all(cls, logs: Iterable[LogColumns]) -> LogColumns:
        """Return the columns of several logs together."""
        return cls(file for log in logs for file in log.files)

    def require(self, names: Iterable[str]) -> None:
        """Raise DataError where a file lacks one of these columns."""
        known = {*self.common, *self.hidden}
        for name in names:
            if name in known:
                continue
            if name not in self.partial:
                raise DataError(
                    "the log has no such column",
                    where=self.files[0].path,
                    got=name,
                    fix=near_column(name, self.files[0].names),
                )
            lacking, having = self._lacking(name), self._having(name)
            raise DataError(
                "a file of the log lacks a column that others have",
                where=lacking.path,
                expected=f"column {name}, as in {having.path}",
                got=f"columns {_listed(lacking.names)}",
                fix=self._how_to_mend(name, lacking),
            )

    def misspelled(self) -> Iterator[str]:
        """Yield the names that some files write otherwise: with capitals or blanks where the rest has none."""
        for name in self.partial:
            if _twin(name, self._lacking(name).names) is not None:
                yield name

    def refuse_mixtures(self, schema: Schema) -> None:
        """Raise DataError where a column that is read has types that cannot be read alike.

        Raises
        ------
        DataError
            It names the file, the column and both types.
        """
        for name, (first, other, why) in self.mixtures(schema).items():
            raise DataError(
                "the files of the log have types in a column that cannot be read alike",
                where=f"{other.path}, column {name}",
                expected=f"{_said(first.types.get(name, _TEXT))}, as in {first.path}",
                got=f"{_said(other.types.get(name, _TEXT))}{why}",
                fix="write the column with one type in all files, or leave it out: [data] exclude",
            )

    def mixtures(self, schema: Schema) -> dict[str, tuple[FileColumns, FileColumns, str]]:
        """Return the columns that cannot be read alike in all files: two files that differ, and more about the second.

        Files that have no such column, or are text, fit all others.
        """
        found: dict[str, tuple[FileColumns, FileColumns, str]] = {}
        if not self.is_mixed:
            return found
        for name, reading in _readings(schema):
            firsts: dict[pa.DataType, FileColumns] = {}
            for file in self._distinct:
                if file.has(name):
                    firsts.setdefault(file.types.get(name, _TEXT), file)
            if name in found or len(firsts) < 2:
                continue
            kinds = list(firsts)
            pairs = ((one, other) for at, one in enumerate(kinds) for other in kinds[at + 1 :])
            clash = next(((a, b) for a, b in pairs if not are_alike(a, b, reading)), None)
            if clash is not None:
                found[name] = firsts[clash[0]], firsts[clash[1]], ""
            elif reading != "number" and (inexact := self._inexact(name, firsts)) is not None:
                found[name] = inexact
        return found

    @staticmethod
    def why_mixed(name: str, first: FileColumns, other: FileColumns, more: str) -> str:
        """Say in short what `refuse_mixtures` says of a column that `mixtures` returns."""
        one, two = (_said(file.types.get(name, _TEXT)) for file in (first, other))
        return f"cannot be read alike: {one} in {first.path}, {two}{more} in {other.path}"

    def _inexact(
        self, name: str, firsts: Mapping[pa.DataType, FileColumns]
    ) -> tuple[FileColumns, FileColumns, str] | None:
        """Find a file whose floats are too large to be the integers of another: identifiers that lost their digits."""
        integers = next((file for kind, file in firsts.items() if holds_integers(kind)), None)
        for file in self.files if integers is not None else ():
            if pa.types.is_floating(file.types.get(name, _TEXT)):
                largest = file.largest(name)
                if largest is not None and largest > _EXACT:
                    assert integers is not None
                    return integers, file, f" up to {largest:.17g}, which does not hold every integer above 2^53"
        return None

    def _having(self, name: str) -> FileColumns:
        return next(file for file in self._distinct if file.has(name))

    def _lacking(self, name: str) -> FileColumns:
        return next(file for file in self._distinct if not file.has(name))

    def _why_partial(self, name: str) -> str:
        return f"not in every file: {self._lacking(name).path} lacks it"

    def _how_to_mend(self, name: str, lacking: FileColumns) -> str:
        twin = _twin(name, lacking.names)
        if twin is not None:
            return f"is {twin!r} the same column? Name it {name!r} in all files"
        return "write the column into every file, name only the files that have it, or leave it out: [data] exclude"

    def _nothing_in_common(self, file: FileColumns) -> DataError:
        return DataError(
            "the files of the log have no column in common",
            where=file.path,
            expected=f"columns {_listed(self.files[0].names)}, as in {self.files[0].path}",
            got=_listed(file.names),
            fix="name files of one log; in text files, check that each has a header and the same delimiter",
        )


def _readings(schema: Schema) -> Iterator[tuple[str, ReadAs]]:
    """Yield every column that a schema reads, with how it is read."""
    for field in schema.fields:
        if field.type in ("bag", "vector") and not field.custom:
            yield from ((name, "bag") for name in field.columns)
        elif field.type == "time":
            yield from ((name, "time") for name in field.columns)
        else:
            yield from ((name, "number" if field.type == "number" else "text") for name in field.columns)
    if schema.weight is not None:
        yield schema.weight, "number"
    yield from ((name, "label") for name in schema.label_columns)
    yield from ((name, "text") for name in (schema.group, schema.split) if name is not None)
    if schema.time is not None and schema.time.column is not None:
        yield schema.time.column, "time"


def _twin(name: str, others: Iterable[str]) -> str | None:
    """Return the name that differs from another in capitals and surrounding blanks alone."""
    return next((other for other in others if other != name and _folded(other) == _folded(name)), None)


def _folded(name: str) -> str:
    return name.strip("\ufeff \t\r\n\xa0").casefold()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _said(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return f"a dictionary of {kind.value_type}"
    return f"a list of {kind.value_type}" if is_list(kind) else str(kind)
