"""The draws of the posterior's kernels."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from tests.reference import gibbs as reference

from fieldwise.kernels.by_feature import FieldExamples
from fieldwise.kernels.factors import predict, row_width, shift
from fieldwise.kernels.gibbs import add_parts, draw_row, draw_rows, move_parts
from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Batch, Layout
from fieldwise.kernels.random import draw_latents

KEY = 0x1234_5678_9ABC_DEF0


def test_latents_are_those_of_the_reference():
    rng = np.random.default_rng(0)
    predicted, labels = rng.normal(size=400) * 4, rng.integers(0, 2, 400)
    latent = np.empty(400)
    draw_latents(predicted, labels, np.uint64(KEY), latent, 0, 400)
    np.testing.assert_allclose(latent, reference.latents(predicted, labels, KEY), rtol=1e-12)
    assert ((latent > 0) == (labels == 1)).all()


@pytest.mark.parametrize("mean", [-8.0, -3.0, -0.4, 0.0, 2.0])
def test_latents_have_the_mean_of_a_normal_that_is_cut_off(mean):
    count = 40_000
    latent = np.empty(count)
    draw_latents(np.full(count, mean), np.ones(count, np.int64), np.uint64(KEY), latent, 0, count)
    density = math.exp(-0.5 * mean**2) / math.sqrt(2 * math.pi)
    expected = mean + density / (0.5 * math.erfc(-mean / math.sqrt(2)))
    assert latent.mean() == pytest.approx(expected, abs=5 * latent.std() / math.sqrt(count))


NOTHING = Batch(
    np.empty((0, 0), np.uint32), np.empty((0, 0), np.float32), np.empty((0, 0), np.int64),
    np.empty(0, np.uint32), np.empty(0, np.float32),
)  # fmt: skip


def padded(numbers):
    """Rows as wide as the kernels read them."""
    rows = np.zeros((len(numbers), row_width(numbers.shape[1])), np.float32)
    rows[:, : numbers.shape[1]] = numbers
    return rows


@pytest.mark.parametrize("d", [4, 8, 13])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("with_inputs", [False, True])
@pytest.mark.parametrize("most", [5000, 1000], ids=["at once", "in parts"])
def test_rows_are_drawn_as_the_reference_says(most, with_inputs, own, d):
    rng = np.random.default_rng(1)
    n, base, num_rows = 5000, 3, 5
    weights = padded(rng.normal(size=(base + num_rows, d)).astype(np.float32))
    others = rng.normal(size=(n, d)).astype(np.float32)
    ids = np.minimum(rng.integers(0, 40, n), num_rows - 2)  # one feature of more than a tile; the last has no example
    examples = np.argsort(ids, kind="stable").astype(np.uint32)
    starts = np.concatenate(([0], np.cumsum(np.bincount(ids, minlength=num_rows))))
    inputs = rng.normal(size=n).astype(np.float32) if with_inputs else np.empty(0, np.float32)
    left = rng.normal(size=n)
    precision = np.linspace(1.0, 4.0, d)
    before = weights.astype(np.float64)
    x = np.empty(n)
    x[examples] = inputs if with_inputs else 1.0
    state = padded(others)
    if own:
        state += (x[:, None] * before[base + ids]).astype(np.float32)
    state[:, 0] = left
    field, apart = FieldExamples(base, starts, examples, inputs, not own), Layout.of([], [])
    draw_rows(state, weights, NOTHING, field, apart, most, precision, np.uint64(KEY), 0, num_rows)
    heavy = np.flatnonzero(np.diff(starts) > most)
    assert len(heavy) == (most == 1000)
    for r in heavy:
        assert (weights[base + r] == before[base + r]).all()
        cuts = [*range(starts[r], starts[r + 1], 700), starts[r + 1]]
        parts = np.array([(0, *cut) for cut in pairwise(cuts)])
        old, moved = weights[base + r : base + r + 1].copy(), np.zeros((1, weights.shape[1]), np.float32)
        sums = np.empty((len(parts), weights.shape[1], weights.shape[1]))
        for first, last in ((2, len(parts)), (0, 2)):
            add_parts(parts, sums, old, state, weights, NOTHING, field, apart, d, first, last)
        draw_row(weights, base + r, sums, old, moved, 0, precision, np.uint64(KEY), r)
        for first, last in ((2, len(parts)), (0, 2)):
            move_parts(parts, old, moved, state, weights, NOTHING, field, apart, d, first, last)
    assert (weights[:base] == before[:base]).all()
    assert (weights[-1] == 0).all()
    for r in range(num_rows - 1):
        here = examples[starts[r] : starts[r + 1]]
        old = before[base + r, :d]
        # The latent number is all that is left of it where predictions are zero.
        q = np.concatenate((np.ones((len(here), 1)), others[here, 1:]), axis=1) * x[here, None]
        expected, _ = reference.row(old, here, x[here], others.astype(np.float64), left, np.zeros(n), precision, KEY, r)
        np.testing.assert_allclose(weights[base + r, :d], expected, rtol=2e-5, atol=5e-6)
        assert (weights[base + r, d:] == 0).all()
        moved = weights[base + r, :d] - old
        np.testing.assert_allclose(state[here, 0], left[here] - q @ moved, atol=1e-5)
        after = others[here, 1:] + (x[here, None] * weights[base + r, 1:d] if own else 0)
        np.testing.assert_allclose(state[here, 1:d], after, atol=1e-5)


@pytest.mark.parametrize("left_out", [[], [(0, 2)], [(0, 1), (1, 3), (2, 3)]])
def test_predictions_and_sums_are_those_of_every_pair_that_is_not_left_out(left_out):
    rng = np.random.default_rng(2)
    n, d, sizes = 70, 5, [6, 4, 2, 7]
    layout = Layout.of([SINGLE, SINGLE, VALUE, BAG], sizes)
    weights = padded(rng.normal(size=(sum(sizes), d)).astype(np.float32))
    ids = np.stack([rng.integers(0, size, n) for size in sizes[:3]]).astype(np.uint32)
    values = rng.normal(size=(1, n)).astype(np.float32)
    offsets = np.concatenate(([0], np.cumsum(rng.integers(0, 4, n))))[None]
    bag_ids = rng.integers(0, sizes[3], offsets[0, -1]).astype(np.uint32)
    batch = Batch(ids, values, offsets, bag_ids, rng.normal(size=len(bag_ids)).astype(np.float32))
    state, predicted = np.empty((n, row_width(d)), np.float32), np.empty(n)
    predict(state, predicted, 0.3, weights, batch, layout, np.array(left_out, np.int64).reshape(-1, 2), 0, n)
    wide = weights.astype(np.float64)[:, :d]
    for e in range(n):
        in_bag = slice(offsets[0, e], offsets[0, e + 1])
        units = [wide[base + ids[f, e]] for f, base in enumerate(layout.base[:3])]
        units[2] = units[2] * values[0, e]
        units.append(batch.bag_weights[in_bag] @ wide[layout.base[3] + bag_ids[in_bag]])
        z = 0.3 + sum(unit[0] for unit in units)
        z += sum(units[f][1:] @ units[g][1:] for g in range(4) for f in range(g) if (f, g) not in left_out)
        assert predicted[e] == pytest.approx(z, abs=1e-5)
        np.testing.assert_allclose(state[e, 1:d], sum(units)[1:], atol=1e-5)
    assert (state[:, 0] == 0).all()
    state[:, 0] = 7.0
    shift(state, -1.0, weights, batch, layout, 0, n)
    np.testing.assert_allclose(state[:, 1:], 0, atol=1e-5)
    assert (state[:, 0] == 7.0).all()
