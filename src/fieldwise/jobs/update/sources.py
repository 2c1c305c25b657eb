"""Where rows come from whose labels may come later: what a server logged (`serving.log`), or the log of a day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from fieldwise.data.log import Log
from fieldwise.errors import ConfigError, DataError
from fieldwise.features.columns import Columns
from fieldwise.features.moments import PER_SECOND, read_moments
from fieldwise.io.files import explaining
from fieldwise.jobs.forget.logs import log_files
from fieldwise.schema import Field, Schema

__all__ = ["DayRows", "RowSource", "ServedRows", "moment_of"]

_OURS = "request_id", "asked_at", "model_name", "model_version", "probability"
_PREFIX = "served_"
"""Of one of ours whose name a raw column has (`serving.log`)."""

Float64s = npt.NDArray[np.float64]


class RowSource(Protocol):
    """Tables of raw rows, the same ones in the same order however often they are read.

    Attributes
    ----------
    moment
        The column that says when a row was answered.
    num_passed
        Rows of files that were not read, for all of them lie before the horizon.
    """

    moment: str
    num_passed: int

    @property
    def columns(self) -> Sequence[str]:
        """Those that a table may have."""

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows, with those of the columns that they have."""

    def moments(self, table: pa.Table) -> Float64s:
        """Return when each row was answered, in seconds since 1970, (R,)."""


class ServedRows:
    """What a server logged, file by file, in the order in which it was answered.

    Parameters
    ----------
    folders
        Folders of Parquet files, or the files.
    horizon
        Files that end before it, in seconds since 1970, are not read; None for none.

    Attributes
    ----------
    version, probability
        The columns of the version that answered, and of what it said.

    Raises
    ------
    ArtefactError
        A folder is not there.
    DataError
        A file is none of a server's log, or is damaged.
    ConfigError
        They are of several models.
    """

    def __init__(self, folders: Sequence[str | Path], horizon: float | None) -> None:
        files = log_files(folders)
        if not files:
            raise DataError("no served rows found", where=folders[0], expected="what `fieldwise serve --log` writes")
        self.num_passed = 0
        names: dict[str, None] = {}
        found = []
        for path in files:
            with _reading(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
                own = file.schema_arrow.names
                moment = self._ours("asked_at", own)
                if any(self._ours(name, own) not in own for name in _OURS):
                    raise DataError(
                        "this file is not what a server logged",
                        where=path,
                        expected=", ".join(_OURS),
                        got=", ".join(own[:10]),
                        fix="name the folder that `fieldwise serve --log` writes to",
                    )
                first, last = _ends(file, moment)
                if horizon is not None and last < horizon:
                    self.num_passed += file.metadata.num_rows
                    continue
                names.update(dict.fromkeys(own))
                models = file.read([self._ours("model_name", own)]).column(0).unique().to_pylist()
                found.append((first, path.name, path, models))
        self._files = [path for _, _, path, _ in sorted(found, key=lambda each: each[:2])]
        self.columns: Sequence[str] = list(names)
        self.moment, self.version, self.probability = (
            self._ours(name, self.columns) for name in ("asked_at", "model_version", "probability")
        )
        several = sorted({str(name) for *_, models in found for name in models})
        if len(several) > 1:
            raise ConfigError(
                "the folder has what several models were asked",
                where=folders[0],
                got=", ".join(several),
                fix="name the folder of one model in it",
            )

    @staticmethod
    def _ours(name: str, columns: Sequence[str]) -> str:
        return _PREFIX + name if _PREFIX + name in columns else name

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows of each file, by the time at which they were answered."""
        for path in self._files:
            with _reading(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
                own = file.schema_arrow.names
                wanted = dict.fromkeys([self.moment, *(name for name in columns if name in own)])
                table = file.read(list(wanted))
            yield table.take(pa.array(np.argsort(self.moments(table), kind="stable")))

    def moments(self, table: pa.Table) -> Float64s:
        """Return when each row was answered, in seconds since 1970, (R,)."""
        column = table[self.moment]
        per_second = PER_SECOND[column.type.unit] if pa.types.is_timestamp(column.type) else 1
        seconds: Float64s = column.cast(pa.int64()).to_numpy().astype(np.float64) / per_second
        return seconds


class DayRows:
    """The log of a day whose labels are not final yet.

    Raises
    ------
    ConfigError
        The model knows of no time.
    """

    num_passed = 0

    def __init__(self, log: Log, schema: Schema) -> None:
        if schema.time is None or schema.time.column is None:
            raise ConfigError(
                "the time of a row says whether its window is open, and the model has no column of times",
                where="data.time",
                expected="the column of the time at which a row was answered",
                fix="name it in [data], and train again",
            )
        self._log, self._time, self.moment = log, schema.time, schema.time.column
        self.columns: Sequence[str] = log.columns

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows of each chunk, in the order of the log."""
        wanted = dict.fromkeys([self.moment, *(name for name in columns if name in self.columns)])
        for chunk in self._log.chunks(list(wanted)):
            yield chunk.table
        if "table" not in self._log.formats:
            self._log.refuse_change()

    def moments(self, table: pa.Table) -> Float64s:
        """Return the time of each row, in seconds since 1970, (R,); of those that have none the beginning of time."""
        return np.nan_to_num(read_moments(Columns(table), self.moment, self._time)[0], nan=-np.inf)


def moment_of(text: str) -> float:
    """Return a moment in seconds since 1970.

    Raises
    ------
    ConfigError
        The text is none.

    Examples
    --------
    >>> moment_of("1970-01-02 00:30")
    88200.0
    """
    field = Field(name="at", type="time", column="at", part="hour")
    seconds = float(read_moments(Columns(pa.table({"at": [text]})), "at", field)[0][0])
    if np.isnan(seconds):
        raise ConfigError(
            "this is not a point in time",
            where="--labels-until",
            expected="as 2026-11-30 or 2026-11-30T04:00+01:00",
            got=text,
        )
    return seconds


def _ends(file: pq.ParquetFile, name: str) -> tuple[float, float]:
    """Return the first and the last moment of a file, as far as its statistics know."""
    first, last, metadata = np.inf, -np.inf, file.metadata
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema == name:
                told = column.statistics
                if told is None or not told.has_min_max:
                    return -np.inf, np.inf
                per_second = PER_SECOND[file.schema_arrow.field(name).type.unit]
                first, last = min(first, told.min_raw / per_second), max(last, told.max_raw / per_second)
    return first, last


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        with explaining(path):
            yield
    except pa.ArrowException as error:
        raise DataError("the file is damaged", where=path, got=error) from None
