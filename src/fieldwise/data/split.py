"""Which part of the data a row belongs to: training, validation or test.

A split is made by share (a hash of the row's place), by time (`data.split_by_time`), by a column, or by path,
in which case every part is a log of its own and nothing has to be decided per row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.data.chunk import Chunk, RejectedRow, excerpt
from fieldwise.data.log import Log
from fieldwise.errors import ConfigError, DataError
from fieldwise.features.columns import shown

__all__ = [
    "NOWHERE",
    "NO_PART",
    "PARTS",
    "SPELLINGS",
    "Parts",
    "Split",
    "SplitByColumn",
    "SplitByShare",
    "SplitLog",
    "check_shares",
    "uniform",
]

PARTS = ("train", "valid", "test")
SPELLINGS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test",
}  # fmt: skip
"""What a column may call the parts, in any case."""
NO_PART = len(PARTS)
"""The part of a row that belongs to none and is rejected."""
NOWHERE = ""
"""The name of that part, which rows that could not be read belong to as well."""

Parts = npt.NDArray[np.uint8]


class Split(Protocol):
    """Says which part each row of a chunk belongs to."""

    @property
    def remarks(self) -> list[str]:
        """What to say of the parts that the rows alone have decided."""

    def parts(self, chunk: Chunk) -> tuple[Parts, list[RejectedRow]]:
        """Return (rows,) places in `PARTS`, or `NO_PART`, and the rows that have none with the reason."""


def check_shares(valid: float, test: float) -> None:
    """Raise ConfigError unless shares for validation and testing leave rows to train on."""
    if not (valid >= 0 and test >= 0 and valid + test < 1):
        raise ConfigError(
            "the shares leave nothing to train on",
            where="[data]",
            expected="valid + test below 1, neither negative",
            got=f"valid = {valid}, test = {test}",
        )


@dataclass(frozen=True)
class SplitByShare:
    """Give each row to a part by a hash of (seed, file's position, row's number).

    The part of a row does not depend on how the log is cut into chunks, nor on the other rows of its file: rows
    appended later leave the earlier ones where they are.

    Attributes
    ----------
    valid, test
        Shares, 0 or more and below 1 together; training has the rest.
    seed
        0 to 2^64 - 1.

    Examples
    --------
    >>> rows = np.arange(1, 10_001)
    >>> parts, _ = SplitByShare(valid=0.2).parts(Chunk(pa.table({}), "a.csv", 0, rows, []))
    >>> bool(abs((parts == 1).mean() - 0.2) < 0.02)
    True
    """

    valid: float = 0.0
    test: float = 0.0
    seed: int = 0
    remarks: ClassVar[list[str]] = []

    def __post_init__(self) -> None:
        """Check the shares."""
        check_shares(self.valid, self.test)

    def parts(self, chunk: Chunk) -> tuple[Parts, list[RejectedRow]]:
        """See `Split`."""
        share = uniform(chunk, self.seed)
        parts = np.zeros(len(share), dtype=np.uint8)
        parts[share < self.valid + self.test] = PARTS.index("test")
        parts[share < self.valid] = PARTS.index("valid")
        return parts, []


@dataclass(frozen=True)
class SplitByColumn:
    """Give each row to the part that a column names; a row that names no part is rejected.

    Attributes
    ----------
    column
        Holds ``train``, ``valid`` or ``test``, or what else means them (`SPELLINGS`); the chunks must carry it.
    """

    column: str
    remarks: ClassVar[list[str]] = []

    def parts(self, chunk: Chunk) -> tuple[Parts, list[RejectedRow]]:
        """See `Split`."""
        try:
            names = chunk.table.column(self.column).cast(pa.string())
        except pa.ArrowException as error:
            raise DataError(
                "the split column holds no text", where=chunk.path, expected=", ".join(PARTS), got=error
            ) from None
        words = pc.ascii_lower(pc.ascii_trim_whitespace(names))
        places = pc.fill_null(pc.index_in(words, value_set=pa.array(SPELLINGS)), len(SPELLINGS))
        parts = np.array([*map(PARTS.index, SPELLINGS.values()), NO_PART], dtype=np.uint8)[np.asarray(places)]
        reason = f"column {self.column} is none of {', '.join(PARTS)}"
        rejects = [
            RejectedRow(int(chunk.rows[i]), excerpt(shown(names[int(i)])), reason, self.column)
            for i in np.flatnonzero(parts == NO_PART)
        ]
        return parts, rejects


class SplitLog(NamedTuple):
    """A log, and how its rows are split.

    Attributes
    ----------
    log
        The rows.
    split
        Says the part of each row; None where all belong to `part`.
    part
        ``train``, ``valid`` or ``test``.
    """

    log: Log
    split: Split | None
    part: str

    def deal(self, chunk: Chunk) -> dict[str, Chunk]:
        """Return the rows of a chunk by part; those that could not be read or dealt as rejects of `NOWHERE`.

        Rows of folds to come (`data.split_by_time`) are in none.
        """
        if self.split is None:
            dealt = {self.part: chunk._replace(rejects=[])}
            astray = chunk.rejects
        else:
            parts, rejects = self.split.parts(chunk)
            astray = [*chunk.rejects, *rejects]
            dealt = {
                part: chunk._replace(table=chunk.table.filter(pa.array(chosen)), rows=chunk.rows[chosen], rejects=[])
                for number, part in enumerate(PARTS)
                if (chosen := parts == number).any()
            }
        return {**dealt, NOWHERE: chunk._replace(table=chunk.table.slice(0, 0), rows=chunk.rows[:0], rejects=astray)}


def uniform(chunk: Chunk, seed: int) -> npt.NDArray[np.float64]:
    """Return (rows,) numbers in [0, 1) that follow from `seed` and each row's place alone."""
    file_seed = _mix(_mix(np.array([seed], dtype=np.uint64)) + np.uint64(chunk.file))
    place = _mix(file_seed + chunk.rows.astype(np.uint64))
    share: npt.NDArray[np.float64] = (place >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return share


def _mix(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the output function of splitmix64 (Steele, Lea and Flood, 2014): every bit depends on every bit."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
