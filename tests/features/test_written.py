"""Numbers and times in text, read as they are written, against the same read from their canonical texts one by one."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import times as reference
from tests.reference.canonical import canonical as canonical_text

from fieldwise.features.columns import Columns
from fieldwise.features.moments import read_moments
from fieldwise.features.parse import parse_text, parse_written
from fieldwise.schema import Field

WORDS = [
    *("nan", "NaN", "NAN", "inf", "-inf", "TRUE", "true", "NA", "na", " nA ", "NULL", r"\N", "-", "five", "2026-11-08"),
    *("-0", "-0.0", "-00", "-0e0", "5.0", "1.25e+10", "1.5e+16", "-999", "-999.0", "5 ", "\t5", "5\u00a0"),
]
NUMBERS = (
    st.sampled_from(WORDS) | st.text("+-.eE0159infa _", max_size=7) | st.floats().map(repr) | st.integers().map(str)
)
MARKERS = st.lists(
    st.sampled_from(["NA", "NULL", "-", "-999", "inf", "TRUE", "5.0", "2026-11-08 00:00:00"]), max_size=3
)
KINDS = st.sampled_from([pa.string(), pa.large_string(), pa.string_view(), pa.binary()])


def encoded(texts: list[str | None], kind: pa.DataType, is_dictionary: bool) -> pa.Array:
    if is_dictionary:
        return pa.array(texts, pa.string()).dictionary_encode()
    return (
        pa.array([None if text is None else text.encode() for text in texts], kind)
        if kind == pa.binary()
        else pa.array(texts, kind)
    )


def same(left: float, right: float) -> bool:
    return (math.isnan(left) and math.isnan(right)) or (
        left == right and math.copysign(1, left) == math.copysign(1, right)
    )


@settings(max_examples=400)
@given(st.lists(st.none() | NUMBERS, max_size=8), MARKERS, KINDS, st.booleans())
def test_a_number_is_read_as_its_canonical_text_is_whatever_stands_beside_it(texts, markers, kind, is_dictionary):
    numbers, bad = parse_written(encoded(texts, kind, is_dictionary), tuple(markers))
    for text, number, is_bad in zip(texts, numbers.tolist(), bad.tolist(), strict=True):
        [expected], [expected_bad] = parse_text(pa.array([canonical_text(text)], pa.string()), tuple(markers))
        assert is_bad == expected_bad, text
        assert is_bad or same(number, expected), text


DAY, CLOCK = (
    "(2026|1969|0001|9999|0000)-[01][0-9]-[0-3][0-9]",
    "([01][0-9]|2[34])(:[0-6][0-9](:[0-6][0-9](FRACTION)?)?)?",
)
ZONE = r"(Z|z| UTC|\+00|\+0000|\+00:00|\+02:00|-0230|\+24:00)?"
TIMES = st.from_regex(rf"\A{DAY}([ TtX]{CLOCK})?{ZONE}\Z".replace("FRACTION", "[.,][0-9]{0,9}")) | st.sampled_from(
    ["", "nan", "NA", "1762594200999", "86400", "86400.0", "-1", "1e5", "soon", "20261108", " 2026-11-08 "]
)


@settings(max_examples=600)
@given(
    st.lists(st.none() | TIMES, min_size=1, max_size=5),
    st.sampled_from([(), ("NA",), ("86400",)]),
    KINDS,
    st.booleans(),
)
def test_a_time_is_read_as_its_canonical_text_is_whatever_stands_beside_it(texts, markers, kind, is_dictionary):
    field = Field(name="t", type="time", column="t", part="hour", missing=markers)
    seconds, bad = read_moments(Columns(pa.table({"t": encoded(texts, kind, is_dictionary)})), "t", field)
    for text, second, is_bad in zip(texts, seconds.tolist(), bad.tolist(), strict=True):
        spelled = canonical_text(text)
        expected = math.nan if spelled is None else reference.iso(spelled)
        if math.isnan(expected) and spelled is not None:
            [number], _ = parse_text(pa.array([spelled]), markers)
            expected = moment_of_number(number)
        known = -62_135_596_800 <= expected <= 253_402_300_799
        is_missing = spelled is None or spelled.strip().lower() in {marker.lower() for marker in markers}
        if "86400" in markers and expected == 86_400:
            assert math.isnan(second), text
            continue
        assert is_bad == (not known and not is_missing), text
        assert same(second, expected if known else math.nan), text


def moment_of_number(number: float) -> float:
    for limit, per_second in ((1e11, 1), (1e14, 1e3), (1e17, 1e6)):
        if abs(number) < limit:
            return number // per_second
    return number // 1e9


@pytest.mark.parametrize(
    "texts", [["1", "NA", "", "2.5"], ["2026-11-08 09:30:00", "", "NA"], ["2026-11-08T09:30:00.25Z"], ["1762594200"]]
)
def test_what_is_written_plainly_is_read_without_a_kernel(texts, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a kernel was called")

    for name in ("is_canonical", "spell", "write"):
        monkeypatch.setattr(f"fieldwise.features.canonical.{name}", refuse)
    monkeypatch.setattr("fieldwise.features.moments.parse_times", refuse)
    field = Field(name="t", type="time", column="t", part="hour", missing=("NA",))
    seconds, bad = read_moments(Columns(pa.table({"t": texts})), "t", field)
    assert not bad.any()
    assert np.isnan(seconds).sum() == sum(text in ("", "NA") for text in texts)
