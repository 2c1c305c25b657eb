from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import decode as naive

from fieldwise.kernels import decode

SIZES = [0, 1, 15, 16, 17, 100]


@pytest.mark.parametrize("num_examples", SIZES)
@pytest.mark.parametrize("num_lines", [0, 1, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_rows_are_gathered_into_the_named_lines_and_no_others(num_examples, num_lines, dtype):
    rng = np.random.default_rng(num_examples)
    plane = rng.integers(0, np.iinfo(dtype).max, 1000, dtype=dtype, endpoint=True)
    starts = rng.integers(0, 1000 - num_lines, num_examples)
    lines = np.sort(rng.permutation(8)[:num_lines])
    out = np.full((8, num_examples), 7, dtype=np.uint32)
    expected = naive.gather_lines(plane.tolist(), starts.tolist(), lines.tolist(), out.tolist())
    decode.gather_lines(plane, starts, lines, out)
    assert out.tolist() == expected


@pytest.mark.parametrize("num_examples", SIZES)
@pytest.mark.parametrize("first", [0, 3])
def test_ids_are_packed_in_rows_from_the_first_example_on(num_examples, first):
    rng = np.random.default_rng(num_examples)
    ids = rng.integers(0, 200, (4, first + num_examples + 2), dtype=np.uint32)
    lines = np.array([0, 2, 3])
    plane = np.zeros((num_examples, 3), dtype=np.uint8)
    assert decode.pack_lines(ids, lines, np.array([200, 200, 200]), first, plane) == -1
    assert plane.tolist() == naive.pack_lines(ids.tolist(), lines.tolist(), first, num_examples)


def test_an_id_beyond_its_field_is_reported_with_its_line_and_not_cut_in_silence():
    ids = np.array([[1, 2], [3, 256]], dtype=np.uint32)
    plane = np.zeros((2, 2), dtype=np.uint8)
    assert decode.pack_lines(ids, np.array([0, 1]), np.array([256, 256]), 0, plane) == 1


def test_an_id_beyond_its_field_in_an_example_that_is_not_packed_does_not_matter():
    ids = np.array([[300, 2, 300]], dtype=np.uint32)
    plane = np.zeros((1, 1), dtype=np.uint8)
    assert decode.pack_lines(ids, np.array([0]), np.array([256]), 1, plane) == -1
    assert plane.tolist() == [[2]]


bags = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(-9, 9, width=32)), max_size=4)


@st.composite
def blocks_of_bags(draw):
    """Return ``blocks[block][g][row]`` and places (block, row) in them."""
    num_bags, rows = draw(st.integers(0, 3)), draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    blocks = [[[draw(bags) for _ in range(n)] for _ in range(num_bags)] for n in rows]
    place = st.integers(0, len(rows) - 1).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, rows[b] - 1)))
    return blocks, draw(st.lists(place, max_size=6))


@given(blocks_of_bags(), st.booleans())
def test_bags_of_any_lengths_are_gathered_with_their_weights_or_with_ones(example, weighted):
    blocks, places = example
    num_bags = len(blocks[0])
    words = np.zeros(0, dtype=np.uint32)
    planes = np.full((num_bags, 3, len(blocks)), -1, dtype=np.int64)
    for number, block in enumerate(blocks):
        for g, rows in enumerate(block):
            flat = [entry for row in rows for entry in row]
            offsets = np.cumsum([0, *map(len, rows)]).astype(np.uint32)
            weights = np.array([w for _, w in flat], dtype=np.float32).view(np.uint32)
            for plane, data in enumerate((offsets, np.array([i for i, _ in flat], dtype=np.uint32), weights)):
                if plane < 2 or weighted:
                    planes[g, plane, number] = len(words)
                    words = np.concatenate((words, data))
    at = [np.array(numbers, dtype=np.int64) for numbers in ([b for b, _ in places], [r for _, r in places])]

    offsets = np.zeros((num_bags, len(places) + 1), dtype=np.int64)
    decode.bag_offsets(words, planes[:, 0], *at, offsets)
    num_entries = offsets[-1, -1] if num_bags else 0
    ids, weights = np.zeros(num_entries, dtype=np.uint32), np.zeros(num_entries, dtype=np.float32)
    decode.bag_entries(words, words.view(np.float32), planes, *at, offsets, ids, weights)

    expected_offsets, expected_ids, expected_weights = naive.gather_bags(blocks, places)
    assert offsets.tolist() == expected_offsets
    assert ids.tolist() == expected_ids
    assert weights.tolist() == (expected_weights if weighted else [1.0] * len(expected_ids))
