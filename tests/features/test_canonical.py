import csv
import io
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.canonical import canonical as reference

from fieldwise.errors import DataError
from fieldwise.features.canonical import canonical, fingerprints

BERLIN = timezone(timedelta(hours=1))
MORNING = datetime(2026, 11, 8, 9, 30, 0, 250_000)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([5, -12, None], pa.int8(), ["5", "-12", None]),
        ([2**64 - 1, 0], pa.uint64(), ["18446744073709551615", "0"]),
        ([5.0, -0.0, 0.1, float("nan"), None], pa.float64(), ["5", "0", "0.1", None, None]),
        ([1e15, 123456789012.0, 1e16], pa.float64(), ["1000000000000000", "123456789012", "1e+16"]),
        ([0.1, 5.0, 16777216.0], pa.float32(), ["0.1", "5", "16777216"]),
        ([0.5, 5.0], pa.float16(), ["0.5", "5"]),
        ([True, False, None], pa.bool_(), ["true", "false", None]),
        ([Decimal("5.00"), Decimal("5.50")], pa.decimal128(5, 2), ["5", "5.50"]),
        ([date(2026, 11, 8)], pa.date32(), ["2026-11-08"]),
        ([date(2026, 11, 8)], pa.date64(), ["2026-11-08"]),
        ([MORNING, datetime(2026, 11, 8), None], pa.timestamp("ns"), ["2026-11-08 09:30:00.25", "2026-11-08", None]),
        ([MORNING.replace(microsecond=0)], pa.timestamp("s"), ["2026-11-08 09:30:00"]),
        ([MORNING.replace(tzinfo=BERLIN)], pa.timestamp("us", "Europe/Berlin"), ["2026-11-08 08:30:00.25"]),
        (["a", "", "é\0", None], pa.string(), ["a", None, "é\0", None]),
        (["a", "5.0"], pa.large_string(), ["a", "5"]),
        (["a", "5.0", "too long for a view"], pa.string_view(), ["a", "5", "too long for a view"]),
        ([b"a", b"5.0"], pa.binary(), ["a", "5"]),
        ([b"ab"], pa.binary(2), ["ab"]),
        ([None, None], pa.null(), [None, None]),
        ([], pa.string(), []),
    ],
)  # fmt: skip
def test_every_type_has_a_canonical_text(values, kind, expected):
    assert canonical(pa.array(values, kind)).to_pylist() == expected


@pytest.mark.parametrize("values", [[5, None], ["5.0", ""], [5.0, None]])
def test_a_dictionary_is_what_its_values_are(values):
    array = pa.array(values)
    encoded = array.dictionary_encode()
    assert fingerprints(canonical(encoded), 1).tolist() == fingerprints(canonical(array), 1).tolist()


def test_a_dictionary_longer_than_the_chunk_is_not_respelled_as_a_whole():
    array = pa.DictionaryArray.from_arrays(pa.array([2, None, 0]), pa.array(["a", "b", "5.0", "d"]))
    assert not pa.types.is_dictionary(canonical(array).type)
    assert canonical(array).to_pylist() == ["5", None, "a"]


@given(
    st.lists(st.none() | st.text(max_size=5), max_size=12),
    st.integers(0, 12),
    st.sampled_from([pa.string(), pa.large_string()]),
)
def test_a_slice_is_read_as_its_copy_would_be(texts, start, kind):
    array = pa.array(texts, kind)
    expected = [reference(text) for text in texts][start:]
    assert canonical(array.slice(start)).to_pylist() == expected
    assert fingerprints(array.slice(start), 3).tolist() == fingerprints(pa.array(texts[start:], kind), 3).tolist()


def test_bytes_that_are_no_text_are_fingerprinted_all_the_same():
    broken = canonical(pa.array([b"\xff\xfe", b"\xff"]))
    assert len(set(fingerprints(broken, 0).tolist()) - {0}) == 2


def test_a_type_without_text_is_refused():
    with pytest.raises(DataError, match=r"no text(.|\n)*list<item: int64>"):
        canonical(pa.array([[1]]))


TYPED = pa.table(
    {
        "int": pa.array([1, None, -7, 0], pa.int64()),
        "float": pa.array([1.0, None, 12345678901.0, 0.25]),
        "float32": pa.array([1.0, None, 0.1, -0.0], pa.float32()),
        "bool": pa.array([True, None, False, True]),
        "text": pa.array(["a", None, "5.0", "b c"]),
        "date": pa.array([date(2026, 11, 8), None, date(1970, 1, 1), date(1969, 7, 20)]),
        "seconds": pa.array([datetime(2026, 11, 8), None, datetime(2026, 1, 1, 1), None], pa.timestamp("s")),
        "nanos": pa.array([MORNING, None, datetime(2026, 1, 1, 1), datetime(2026, 1, 1)], pa.timestamp("ns", "UTC")),
        "decimal": pa.array([Decimal("5.00"), None, Decimal("5.50"), Decimal("-0.01")]),
    }
)  # fmt: skip


def read_as_text(content: bytes) -> pa.Table:
    options = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(TYPED.column_names, pa.string()), strings_can_be_null=False
    )
    return pa.csv.read_csv(io.BytesIO(content), convert_options=options)


def as_arrow_writes(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pa.csv.write_csv(table, out)
    return out.getvalue()


def as_pandas_writes(table: pa.Table) -> bytes:
    """Python's own spelling: True, 1.0, 2026-11-08 00:00:00+00:00."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(table.column_names)
    columns = [
        [value and np.float32(value) for value in column.to_pylist()]
        if column.type == pa.float32()
        else column.to_pylist()
        for column in table.columns
    ]
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue().encode()


def as_polars_writes(table: pa.Table) -> bytes:
    """ISO 8601 with a T."""
    isoformat = [
        pa.array([value and value.isoformat() for value in column.to_pylist()])
        if pa.types.is_timestamp(column.type)
        else column
        for column in table.columns
    ]
    return as_arrow_writes(pa.table(dict(zip(table.column_names, isoformat, strict=True))))


@pytest.mark.parametrize("write", [as_arrow_writes, as_pandas_writes, as_polars_writes])
@pytest.mark.parametrize("column", TYPED.column_names)
def test_a_column_and_the_csv_written_from_it_have_the_same_canonical_text(column, write):
    from_csv = read_as_text(write(TYPED)).column(column).combine_chunks()
    assert canonical(from_csv).to_pylist() == canonical(TYPED.column(column).combine_chunks()).to_pylist()


def test_a_time_is_one_instant_in_every_zone():
    there = MORNING.replace(tzinfo=BERLIN)
    texts = [
        canonical(pa.array([there], pa.timestamp("us", zone))).to_pylist()
        for zone in ("UTC", "Europe/Berlin", "+02:00")
    ]
    assert texts == [[there.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.25")]] * 3
