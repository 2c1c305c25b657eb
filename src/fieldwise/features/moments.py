"""Points in time, read from every type of column.

A moment is read alike from every type of column, as whole seconds since 1970 in UTC:

======================================  ================================================================================
cell                                    moment
======================================  ================================================================================
timestamp, date                         itself; timestamps without a zone and dates are in UTC
text in ISO 8601                        ``2026-11-08``, ``2026-11-08 09:30:00.25``, ``2026-11-08T09:30+02:00``; in UTC
                                        without a zone (`kernels.times`)
number, also as text                    time since 1970 in the field's `unit`; where none is stated, by its size:
                                        seconds below 10^11, milliseconds below 10^14, microseconds below 10^17, else
                                        nanoseconds. So seconds are read rightly up to the year 5138, the others from
                                        1973 on: state the unit for others
text or whole number with a `format`    the time of this pattern: 14102109 with ``%y%m%d%H``
null, NaN, empty text; texts of the     missing
field's `missing`
======================================  ================================================================================

Anything else, and what lies before the year 1 or after 9999, is no moment.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fieldwise.errors import DataError
from fieldwise.features.canonical import as_text, buffers, canonical, is_text, plain
from fieldwise.features.columns import Columns, reading
from fieldwise.features.missing import ZERO_DATES, is_missing
from fieldwise.features.numerals import read_numbers
from fieldwise.features.parse import cast_all, parse_text, parse_written, taken_from, without_empty, without_markers
from fieldwise.kernels.times import ISO, compile_pattern, parse_times
from fieldwise.schema import Field

__all__ = ["PER_SECOND", "missing_moments", "read_moments"]

Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800.0, 253_402_300_799.0  # the years 1 to 9999
_ISO_KINDS = (pa.timestamp("s"), pa.timestamp("s", "UTC"), pa.timestamp("us"), pa.timestamp("us", "UTC"))
_ISO = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?$"
"""What Arrow reads as times of one kind, unless there is no such day."""
_MAY_BE_MOMENT = re.compile(r"\s*[+-]?\.?[0-9]")
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def read_moments(columns: Columns, name: str, field: Field) -> tuple[Float64s, Bools]:
    """Read a column as moments.

    Parameters
    ----------
    columns, name
        The column.
    field
        Its `unit` and `format`, and what means missing in it.

    Returns
    -------
    Whole seconds since 1970 in UTC, (B,), NaN for missing and for what is no moment; and which cells are none, (B,).

    Raises
    ------
    DataError
        The column's type holds no points in time.

    Examples
    --------
    >>> field = Field(name="time", type="time", column="time", part="hour")
    >>> columns = Columns(pa.table({"time": ["1970-01-02", "86400", "1762594200999", "soon", None]}))
    >>> seconds, bad = read_moments(columns, "time", field)
    >>> seconds.tolist(), bad.tolist()
    ([86400.0, 86400.0, 1762594200.0, nan, nan], [False, False, False, True, False])
    """
    array = columns.array(name)
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        seconds = _of_temporal(plain(array))
        bad = np.zeros(len(seconds), dtype=np.bool_)
    elif field.format is not None:
        seconds, bad = _of_pattern(columns, name, field.format, field.missing)
    elif is_text(kind):
        seconds, bad = _of_text(array, field.unit, field.missing)
    else:
        numbers, bad = _numbers(columns, name, field.missing)
        seconds = _of_numbers(numbers, field.unit)
    bad |= ~np.isnan(seconds) & ~((seconds >= _FIRST_MOMENT) & (seconds <= _LAST_MOMENT))
    gone = bad if not (sentinels := missing_moments(field)) else bad | np.isin(seconds, sentinels)
    return np.where(gone, np.nan, seconds), bad


@lru_cache(maxsize=1024)
def missing_moments(field: Field) -> tuple[float, ...]:
    """Return the moments that mean missing, such as 1900-01-01 where a configuration says so."""
    # A moment in ISO, or as a number, begins with a digit: nothing is parsed, nor compiled, for the usual texts.
    texts = [text for text in field.missing if field.format is not None or _MAY_BE_MOMENT.match(text)]
    texts = [text for text in texts if text not in ZERO_DATES]
    if not texts:
        return ()
    bare = Field(name=field.name, type="time", column="at", part="hour", unit=field.unit, format=field.format)
    seconds, _ = read_moments(Columns(pa.table({"at": texts})), "at", bare)
    return tuple(seconds[~np.isnan(seconds)].tolist())


def _of_temporal(array: pa.Array) -> Float64s:
    if pa.types.is_timestamp(array.type):
        unit = array.type.unit
    else:
        array, unit = array.cast(pa.date32()).cast(pa.timestamp("s")), "s"
    counted = array.cast(pa.int64())
    seconds = counted.fill_null(0).to_numpy(zero_copy_only=False) // PER_SECOND[unit]
    return np.where(pc.is_null(counted).to_numpy(zero_copy_only=False), np.nan, seconds.astype(np.float64))


def _numbers(columns: Columns, name: str, missing: tuple[str, ...]) -> tuple[Float64s, Bools]:
    try:
        return read_numbers(columns, name, missing)
    except DataError as error:
        raise DataError(
            "a column of this type holds no points in time",
            where=f"column {name}",
            expected="timestamps, dates, text or numbers",
            got=error.got,
            fix="leave the field out, or cast the column",
        ) from None


def _of_numbers(numbers: Float64s, unit: str | None) -> Float64s:
    size = np.abs(numbers)
    per_second = (
        np.select([size < 1e11, size < 1e14, size < 1e17], [1e0, 1e3, 1e6], 1e9) if unit is None else PER_SECOND[unit]
    )
    with np.errstate(invalid="ignore"):  # infinity
        return np.asarray(numbers // per_second)


def _of_text(array: pa.Array, unit: str | None, missing: tuple[str, ...]) -> tuple[Float64s, Bools]:
    """Read texts as they are written, of any type of text: as one column by Arrow, or what it refuses cell by cell."""
    if pa.types.is_dictionary(array.type) and len(array.dictionary) <= len(array):
        return taken_from(array.indices, *_of_text(array.dictionary, unit, missing))
    text = without_empty(as_text(plain(array)))
    seconds = _of_iso(text)
    if seconds is None and (found := without_markers(text, missing)) is not text:
        text = found
        seconds = _of_iso(text)
    if seconds is None and cast_all(text, pa.float64()) is not None:
        numbers, bad = parse_written(text, missing)
        return _of_numbers(numbers, unit), bad
    if seconds is None:
        seconds = _of_iso(pc.if_else(pc.match_substring_regex(text, _ISO), text, None))
    if seconds is None:  # there is no such day
        seconds = np.full(len(text), np.nan)
    left = np.flatnonzero(np.isnan(seconds) & text.is_valid().to_numpy(zero_copy_only=False))
    bad = np.zeros(len(text), dtype=np.bool_)
    if len(left):
        seconds[left], bad[left] = _of_canonical(plain(canonical(text.take(pa.array(left)))), unit, missing)
    return seconds, bad


def _of_canonical(text: pa.Array, unit: str | None, missing: tuple[str, ...]) -> tuple[Float64s, Bools]:
    seconds = parse_times(*buffers(text), ISO)
    left = np.flatnonzero(np.isnan(seconds))
    bad = np.zeros(len(text), dtype=np.bool_)
    if len(left):
        numbers, bad[left] = parse_text(text.take(pa.array(left)), missing)
        seconds[left] = _of_numbers(numbers, unit)
    return seconds, bad


def _of_iso(text: pa.Array) -> Float64s | None:
    """Return the seconds of texts in ISO 8601, (B,), as Arrow reads them; None where it refuses one."""
    for kind in _ISO_KINDS:
        # Arrow reads a column whose times are all of one of these kinds three times as fast as our kernel, which need
        # not be compiled then; at the first cell that is not, it gives up.
        read = cast_all(text, kind)
        if read is not None:
            return _of_temporal(read)
    return None


def _of_pattern(columns: Columns, name: str, pattern: str, missing: tuple[str, ...]) -> tuple[Float64s, Bools]:
    # Digits may come as a number, and then as 14102109.0 where its column has gaps; all else is read as it is written,
    # for canonical text leaves midnight out.
    with reading(name):
        only_digits = not pattern.translate({ord(letter): None for letter in "%YymdHMS"})
        text = plain(columns.text(name) if only_digits else columns.written(name))
    seconds = parse_times(*buffers(text), compile_pattern(pattern))
    empty = pc.equal(pc.binary_length(text), 0).fill_null(True).to_numpy(zero_copy_only=False)
    bad = np.isnan(seconds) & ~empty
    if missing and bad.any():
        bad[bad] = ~is_missing(text.filter(pa.array(bad)), missing).to_numpy(zero_copy_only=False)
    return seconds, bad
