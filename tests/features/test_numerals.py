import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldwise.errors import DataError
from fieldwise.features.columns import Columns
from fieldwise.features.numerals import read_numbers
from fieldwise.features.parse import parse_text

LIKE_NUMBERS = st.text("+-.eEx0159infaty _", max_size=7) | st.floats().map(repr) | st.integers().map(str)


def one_by_one(texts: list[str | None]) -> list[tuple[float, bool]]:
    return [(number[0], bool(bad[0])) for number, bad in (parse_text(pa.array([text], pa.string())) for text in texts)]


@given(st.lists(st.none() | LIKE_NUMBERS, max_size=8))
def test_a_text_is_read_alike_whatever_stands_beside_it(texts):
    numbers, bad = parse_text(pa.array(texts, pa.string()))
    expected = one_by_one(texts)
    assert bad.tolist() == [is_bad for _, is_bad in expected]
    for number, (other, is_bad) in zip(numbers.tolist(), expected, strict=True):
        assert is_bad or number == other or (math.isnan(number) and math.isnan(other))


@given(LIKE_NUMBERS)
def test_what_is_accepted_is_what_python_reads(text):
    ((number, bad),) = one_by_one([text])
    if bad:
        return
    stripped = text.strip(" ")
    assert math.isnan(number) if not stripped else number == float(stripped)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_accepted(number):
    assert one_by_one([repr(number), f" {number!r} "]) == [(number, False)] * 2


@pytest.mark.parametrize(
    "text", ["five", "1,5", "inf", "-Infinity", "1e999", "0x10", "1_000", "--1", "NAN", "1 2", "١"]
)
def test_what_is_no_finite_number_is_pointed_out(text):
    assert one_by_one([text])[0][1]
    assert parse_text(pa.array(["1", text]))[1].tolist() == [False, True]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None, -3], pa.int8()),
        ([2**63 + 5, None], pa.uint64()),
        ([1.5, None, float("nan")], pa.float64()),
        ([1.5, None], pa.float16()),
        (["1.5", "", "nan", None, " 7 "], pa.string()),
        ([b"1.5", b"", None], pa.binary()),
        ([None, None], pa.null()),
        ([], pa.string()),
    ],
)
def test_columns_of_numbers_and_of_text_are_read(values, kind):
    array = pa.array(values, kind)
    expected = [math.nan if value in (None, "", b"") else float(value) for value in values]
    for form in (array, array.dictionary_encode()):
        numbers, bad = read_numbers(Columns(pa.table({"n": form})), "n")
        assert np.array_equal(numbers, expected, equal_nan=True)
        assert not bad.any()


def test_a_narrow_float_is_the_number_that_was_meant():
    numbers, _ = read_numbers(Columns(pa.table({"n": pa.array([0.1, None], pa.float32())})), "n")
    assert numbers[0] == 0.1
    assert math.isnan(numbers[1])


def test_infinity_is_pointed_out_in_a_column_of_floats():
    assert read_numbers(Columns(pa.table({"n": [1.0, math.inf]})), "n")[1].tolist() == [False, True]


@pytest.mark.parametrize("values", [[True], [[1]]])
def test_a_column_of_another_type_is_refused_by_name(values):
    with pytest.raises(DataError, match=r"holds no numbers\n  where: column n"):
        read_numbers(Columns(pa.table({"n": values})), "n")
