"""The report of a reading: what became of the rows, files and columns of a log, under the same names in every job.

Rows read = used + rejected, of all files together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from fieldwise.counted import counted
from fieldwise.data.chunk import excerpt
from fieldwise.outcome import Outcome

__all__ = ["ReadReport", "Reason", "RejectTally", "describe", "tally_of_file", "why_rejected"]

_MAX_REASONS = 10
_MAX_DISTINCT = 10_000
_MAX_NAMED = 10
_MAX_SHOWN = 60
_OTHER = "other reasons"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why rows were rejected.

    Attributes
    ----------
    reason, column
        In words, and the column that is to blame, where one is.
    rows
        How many were rejected for it.
    file, row, value
        The first of them: its file, its number there (the first row of data is 1), and what stands in it.
    """

    reason: str
    column: str | None
    rows: int
    file: str
    row: int
    value: str


class ReadReport(Outcome, msgspec.Struct, frozen=True, kw_only=True):
    """What of a log was read, and what was not used, with the reasons.

    Attributes
    ----------
    files
        How many were read.
    files_left_out
        Files of the folders and globs that were not read: the reason of each.
    rows_read, rows_used, rows_rejected
        Of all files together; the first is the sum of the other two.
    reasons
        Why rows were rejected: the ten most frequent reasons, in this order, and what the rest comes to.
    rejects
        The file that lists every rejected row, where one was written.
    columns_not_used
        Columns that are no inputs of the model: the reason of each.
    remarks
        What else should be known of how the log was read.
    """

    files: int
    files_left_out: dict[str, str] = {}
    rows_read: int
    rows_used: int
    rows_rejected: int
    reasons: list[Reason] = []
    rejects: str | None = None
    columns_not_used: dict[str, str] = {}
    remarks: list[str] = []


class RejectTally:
    r"""Counts rejected rows by reason, in the order in which they come.

    Examples
    --------
    >>> tally = RejectTally()
    >>> tally.add([{"file": "a.csv", "row": 3, "column": "age", "value": "x", "reason": "not a finite number"}])
    >>> print("\n".join(describe(tally.report(rows_read=100, files=1))))
    1 of 100 rows could not be used:
      not a finite number, column age (a.csv, row 3: 'x')
    """

    def __init__(self) -> None:
        self.num_rows = 0
        self.first: str | None = None
        self._found: dict[tuple[str, str | None], tuple[int, Mapping[str, Any]]] = {}

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Count rejected rows, given as the lines of a rejects file."""
        for line in lines:
            if self.first is None:
                self.first = f"{line['file']}, row {line['row']}: {line['reason']}"
            self.num_rows += 1
            key = line["reason"], line["column"]
            if key not in self._found and len(self._found) >= _MAX_DISTINCT:
                key = _OTHER, None
            count, first = self._found.get(key, (0, line))
            self._found[key] = count + 1, first

    @property
    def reasons(self) -> list[Reason]:
        """See `ReadReport`."""
        ranked = sorted(self._found.items(), key=lambda item: (-item[1][0], item[1][1]["file"], item[1][1]["row"]))
        found = [_reason(*key, count, first) for key, (count, first) in ranked[:_MAX_REASONS]]
        if rest := ranked[_MAX_REASONS:]:
            found.append(_reason(_OTHER, None, sum(count for _, (count, _) in rest), rest[0][1][1]))
        return found

    def report(self, *, rows_read: int, files: int, **details: Any) -> ReadReport:
        """Sum up; `details` are further attributes of a `ReadReport`."""
        return ReadReport(
            rows_read=rows_read,
            rows_used=rows_read - self.num_rows,
            rows_rejected=self.num_rows,
            reasons=self.reasons,
            files=files,
            **details,
        )


def _reason(reason: str, column: str | None, rows: int, first: Mapping[str, Any]) -> Reason:
    value = excerpt(str(first["value"]))
    return Reason(reason=reason, column=column, rows=rows, file=first["file"], row=int(first["row"]), value=value)


def tally_of_file(path: Path) -> RejectTally:
    """Count the rows of a rejects file."""
    tally = RejectTally()
    with path.open("rb") as file:
        tally.add(msgspec.json.decode(line, type=dict[str, Any]) for line in file)
    return tally


def why_rejected(tally: RejectTally, rows_read: int) -> str | None:
    """Return in one line why rows were rejected, for an error's message; None where none was."""
    lines = describe(tally.report(rows_read=rows_read, files=0))
    return " ".join(line.strip() for line in lines[:3]) or None


def describe(read: ReadReport) -> list[str]:
    """Return what people should know of a report, in lines; nothing where all was used."""
    lines = list(read.remarks)
    if read.rows_rejected:
        see = f" see {read.rejects}" if read.rejects else ""
        lines.append(f"{read.rows_rejected:,} of {counted(read.rows_read, 'row')} could not be used:{see}")
        for each in read.reasons:
            count = f"{counted(each.rows, 'row', 'rows')}: " if len(read.reasons) > 1 else ""
            column = f", column {each.column}" if each.column is not None else ""
            first = "" if each.rows == 1 else "the first: "
            lines.append(f"  {count}{each.reason}{column} ({first}{each.file}, row {each.row}: {_shown(each.value)})")
    if any(each.reason.endswith("is not UTF-8") for each in read.reasons):
        lines.append("  if files are not UTF-8, set data.csv.encoding (init: --encoding), as in latin-1")
    if read.files_left_out:
        lines.append(counted(len(read.files_left_out), "file was", "files were") + " left out:")
        lines += _named(read.files_left_out)
    if read.columns_not_used:
        lines.append(
            counted(len(read.columns_not_used), "column is no input", "columns are no inputs") + " of the model:"
        )
        lines += _named(read.columns_not_used)
    return lines


def _named(reasons: Mapping[str, str]) -> list[str]:
    lines = [f"  {name}: {reason}" for name, reason in list(reasons.items())[:_MAX_NAMED]]
    if len(reasons) > _MAX_NAMED:
        lines.append(f"  and {len(reasons) - _MAX_NAMED:,} more")
    return lines


def _shown(value: str) -> str:
    return repr(value if len(value) <= _MAX_SHOWN else value[:_MAX_SHOWN] + "...")
