from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import canonical as reference

from fieldwise.kernels.canonical import BUT_FOR_EMPTY, MAY_CHANGE, MISSING_TEXT, is_canonical, spell, write

NUMBERISH = st.text("-+0123459.eE", max_size=9)
TIMEISH = st.from_regex(
    r"(2026|0000)-1\d-0\d[ TX]0[0-9]:(00|59):0[05](\.[0-9]{0,7})?(Z|\+00:00|\+0000|\+00|\+01|\+0|z)?", fullmatch=True
)
WORDISH = st.sampled_from(
    ["true", "True", "FALSE", "fALSE", "falsy", "nan", "NaN", "nAN", "NAN", "None", "tru", "truee"]
)
TEXTS = st.none() | NUMBERISH | TIMEISH | WORDISH | st.text(max_size=30)


def respelled(texts: list[str | None]) -> tuple[list[str | None], bool]:
    content = [(text or "").encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in content])]).astype(np.int64)
    data = np.array(list(b"".join(content)), dtype=np.uint8)
    valid = np.array([text is not None for text in texts], dtype=np.bool_)
    forms, ends = np.empty(len(texts), np.uint8), np.empty(len(texts) + 1, np.int64)
    found = is_canonical(data, offsets, valid)
    assert found == MAY_CHANGE or (found == BUT_FOR_EMPTY) == spell(data, offsets, valid, forms, ends)
    changed = spell(data, offsets, valid, forms, ends)
    out = np.empty(ends[-1], np.uint8)
    write(data, offsets, forms, ends, out)
    cut = [out[begin:end].tobytes().decode() for begin, end in pairwise(ends)]
    return [None if form == MISSING_TEXT else text for form, text in zip(forms, cut, strict=True)], changed


def test_no_text_needs_no_change():
    assert respelled([]) == ([], False)


@given(st.lists(TEXTS, max_size=12))
def test_texts_are_respelled_as_the_regular_expressions_say(texts):
    expected = [reference.canonical(text) for text in texts]
    assert respelled(texts) == (expected, expected != texts)


@given(TEXTS)
def test_canonical_text_is_canonical(text):
    (once,), _ = respelled([text])
    assert respelled([once]) == ([once], False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5.0", "5"),
        ("-12.000", "-12"),
        ("-0.0", "0"),
        ("05", "05"),
        ("05.0", "05.0"),
        ("1e3", "1e3"),
        ("1.2345678901e+10", "12345678901"),
        ("1e+16", "1e+16"),
        ("1.5e+00", "1.5e+00"),
        ("2026-11-08T09:30:00.250Z", "2026-11-08 09:30:00.25"),
        ("2026-11-08 00:00:00", "2026-11-08"),
        ("2026-11-08 09:30:00+01:00", "2026-11-08 09:30:00+01:00"),
    ],
)
def test_the_table_of_canonical_texts_holds(text, expected):
    assert respelled([text])[0] == [expected]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], 0),
        (["12", "a", None, "nation", "123456"], 0),
        (["12", ""], BUT_FOR_EMPTY),
        (["5.0"], MAY_CHANGE),
        (["nan"], MAY_CHANGE),
        (["12", "False"], MAY_CHANGE),
    ],
)
def test_most_columns_are_known_to_be_canonical_at_a_glance(texts, expected):
    content = [(text or "").encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in content])]).astype(np.int64)
    valid = np.array([text is not None for text in texts], dtype=np.bool_)
    assert is_canonical(np.array(list(b"".join(content)), dtype=np.uint8), offsets, valid) == expected
