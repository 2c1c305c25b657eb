"""What crosses add to logits: as the plain reference, cell by cell."""

import numpy as np
import pytest
from tests.reference import pairs as reference

from fieldwise.kernels.cells_of_pairs import combine_ids, held_out_gain, move_logits, sum_cells


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 12, 300).astype(np.uint32)
    parts = rng.integers(0, 4, 300).astype(np.uint8)
    slope = (rng.normal(size=300) * (parts < 3)).astype(np.float32)
    bend = (rng.random(300) * (parts < 3)).astype(np.float32)
    sums = np.zeros((12, 4, 2), np.float32)
    sum_cells(cells, parts, slope, bend, sums)
    return cells, parts, slope, bend, sums


@pytest.mark.parametrize("l2", [0.5, 10.0])
def test_gain_and_variance_are_those_of_the_reference(drawn, l2):
    cells, parts, slope, bend, sums = drawn
    expected = reference.held_out_gain(reference.sums_of(cells, parts, slope, bend), l2)
    assert held_out_gain(sums, l2) == pytest.approx(expected, rel=1e-4)


def test_logits_move_by_what_other_parts_say_and_rows_put_aside_by_what_all_say(drawn):
    cells, parts, slope, bend, sums = drawn
    logits = np.zeros(300)
    move_logits(cells, parts, sums, 2.0, logits)
    found = reference.sums_of(cells, parts, slope, bend)
    expected = [reference.weight_of(found, cell, part, 2.0) for cell, part in zip(cells, parts, strict=True)]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-6)


def test_few_combinations_have_a_cell_each_and_many_share_some():
    ids, others = np.divmod(np.arange(1000, dtype=np.uint32), 50)
    cells, hashed = np.empty(1000, np.uint32), np.empty(1000, np.uint32)
    combine_ids(ids, others, 50, 1024, cells)
    assert cells.tolist() == list(range(1000))
    combine_ids(ids, others, 50, 256, hashed)
    assert hashed.tolist() == [
        reference.cell_of(*pair, 50, 256) for pair in zip(ids.tolist(), others.tolist(), strict=True)
    ]
    assert hashed.max() < 256
    assert len(np.unique(hashed)) > 200
