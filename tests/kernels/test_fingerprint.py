import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import fingerprint as reference

from fieldwise.kernels.fingerprint import combine, fingerprint

SEEDS = st.integers(0, 2**64 - 1)

# Written down once, from xxHash 0.8.2. Every saved vocabulary depends on them: they must never change.
GOLDEN = [
    ("a", 0, 0xD24EC4F1A98C6E5B),
    ("abc", 0, 0x44BC2CF5AD770999),
    ("Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1),
    ("xxhash", 20141025, 0xB559B98D844E0635),
]


def packed(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    return np.frombuffer(b"".join(texts) or b"", dtype=np.uint8) if offsets[-1] else np.zeros(0, np.uint8), offsets


@pytest.mark.parametrize(("text", "seed", "expected"), GOLDEN)
def test_the_golden_vectors_hold(text, seed, expected):
    assert fingerprint(*packed([text.encode()]), seed).tolist() == [expected]


def test_no_texts_have_no_fingerprints():
    assert fingerprint(*packed([]), 0).tolist() == []


def test_empty_texts_are_missing():
    assert fingerprint(*packed([b"", b"", b""]), 7).tolist() == [0, 0, 0]


@given(st.lists(st.binary(max_size=100), max_size=20), SEEDS)
def test_fingerprints_are_those_of_the_reference_and_of_the_xxhash_package(texts, seed):
    expected = [reference.fingerprint(text, seed) for text in texts]
    assert [xxhash.xxh64_intdigest(text, seed) if text else 0 for text in texts] == expected
    assert fingerprint(*packed(texts), seed).tolist() == expected


@pytest.mark.parametrize("length", range(70))
def test_every_length_up_to_two_stripes_and_more_is_hashed_right(length):
    text = bytes(range(length))
    assert fingerprint(*packed([b"before", text, b"after"]), 3)[1] == reference.fingerprint(text, 3)


def text_with_hash_zero(seed: int) -> bytes:
    """Run xxh64 of eight bytes backwards from 0."""
    inverse = {p: pow(p, -1, 2**64) for p in (reference.P1, reference.P2)}
    state = (
        reference.rotate(-reference.P4 * inverse[reference.P1], 64 - 27) ^ (seed + reference.P5 + 8) & reference.MASK
    )
    word = reference.rotate(state * inverse[reference.P1], 64 - 31) * inverse[reference.P2] & reference.MASK
    return word.to_bytes(8, "little")


def test_a_text_that_hashes_to_zero_is_not_missing():
    text = text_with_hash_zero(seed=5)
    assert xxhash.xxh64_intdigest(text, 5) == 0
    assert fingerprint(*packed([text]), 5).tolist() == [1]


@given(st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 3), max_size=10), SEEDS)
def test_a_cross_is_the_hash_of_its_parts_and_missing_where_one_is(rows, seed):
    parts = np.array(rows, dtype=np.uint64).reshape(-1, 3)
    expected = [
        reference.fingerprint(b"".join(part.to_bytes(8, "little") for part in row), seed) if all(row) else 0
        for row in rows
    ]
    assert combine(parts, seed).tolist() == expected


def test_the_order_of_the_parts_of_a_cross_matters():
    assert combine(np.array([[1, 2]], np.uint64), 0) != combine(np.array([[2, 1]], np.uint64), 0)
