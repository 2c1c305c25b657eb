import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernels.test_canonical import TEXTS
from tests.reference.canonical import canonical as reference

from fieldwise.features.canonical import canonical
from fieldwise.features.spelling import spelled

KINDS = st.sampled_from([pa.string(), pa.large_string()])


@settings(max_examples=400)
@given(st.lists(TEXTS, max_size=12), KINDS)
def test_expressions_spell_as_the_kernels_do(texts, kind):
    array = pa.array(texts, kind)
    assert spelled(array).to_pylist() == canonical(array).to_pylist() == [reference(text) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-08 09:30:00+0:", "2026-11-08 09:30:00+::", "2026-11-08T09:30:00+0:00", "2026-11-08T09:30:00+00:0:"),
        *("2026-11-08 00:00:00.000Z", "2026-11-08 00:00:00.", "2026-11-08 99:99:99.10", "2026-11-08 00:00:00\n"),
        *(
            "-0",
            "-0.00",
            "00.0",
            "-05.0",
            "5.0\n",
            "1e+05",
            "1.5e+16",
            "1.25e+01",
            "-9.75e+02",
            "nan\n",
            "fAlSe",
            "truE",
        ),
    ],
)
def test_what_looks_much_like_a_rule_is_spelled_as_the_kernels_do(text):
    array = pa.array([text, "kept", None])
    assert spelled(array).to_pylist() == canonical(array).to_pylist()


def test_bytes_that_are_no_text_are_left_as_they_are():
    array = pa.array([b"\xff\xfe", b"5.0", b"\xff"])
    assert spelled(array).cast(pa.large_binary()).to_pylist() == [b"\xff\xfe", b"5", b"\xff"]
