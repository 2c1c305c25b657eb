"""The kernels of a factorisation machine's Gaussian posterior."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference import variational as reference

from fieldwise.kernels import variational as kernels
from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Batch, Layout
from fieldwise.training.variational import VariationalFM

SIZES, NUM = [6, 5, 2, 7], 40
LAYOUT = Layout.of([SINGLE, SINGLE, VALUE, BAG], SIZES)


def make_batch(rng, repeats=False):
    ids = np.stack([rng.integers(0, size, NUM) for size in SIZES[:3]]).astype(np.uint32)
    values = rng.normal(size=(1, NUM)).astype(np.float32)
    offsets = np.concatenate(([0], np.cumsum(rng.integers(0, 4, NUM))))[None]
    bags = [rng.choice(2 if repeats else SIZES[3], length, replace=repeats) for length in np.diff(offsets[0])]
    bag_ids = np.concatenate(bags).astype(np.uint32)
    batch = Batch(ids, values, offsets, bag_ids, rng.normal(size=len(bag_ids)).astype(np.float32))
    examples = []
    for e in range(NUM):
        own = [(f, LAYOUT.base[f] + ids[f, e], float(values[0, e]) if f == 2 else 1.0) for f in range(3)]
        inside = range(offsets[0, e], offsets[0, e + 1])
        own += [(3, LAYOUT.base[3] + bag_ids[i], float(batch.bag_weights[i])) for i in inside]
        examples.append(own)
    return batch, examples


def pairs_but(left_out):
    return [(f, g) for f in range(4) for g in range(f + 1, 4) if (f, g) not in left_out]


def make_posterior(rng, left_out):
    posterior = VariationalFM(LAYOUT, left_out, 3, 0.3, 0, NUM)
    d = 4
    posterior.rows[:, :d] = rng.normal(size=(sum(SIZES), d))
    posterior.rows[:, d:] = rng.uniform(1.0, 4.0, (sum(SIZES), d))
    posterior.bias[:] = 0.2, 3.0
    return posterior


@pytest.mark.parametrize("left_out", [[], [(0, 2)], [(0, 1), (1, 3), (2, 3)]])
def test_moments_are_those_of_every_pair_that_is_not_left_out(left_out):
    rng = np.random.default_rng(0)
    batch, examples = make_batch(rng, repeats=not left_out)
    posterior = make_posterior(rng, left_out)
    found = posterior.predict(batch)
    mean, precision = posterior.rows[:, :4], posterior.rows[:, 4:]
    expected = [
        reference.of_logit(*reference.fields_of(own, mean, 1 / precision, 4), 0.2, 1 / 3.0, pairs_but(left_out))
        for own in examples
    ]
    np.testing.assert_allclose(np.transpose(found), expected, rtol=1e-6)


def test_the_variance_is_that_of_draws():
    rng = np.random.default_rng(1)
    batch, examples = make_batch(rng)
    posterior = make_posterior(rng, [(0, 1)])
    _, variance = posterior.predict(batch)
    own, pairs = examples[0], pairs_but([(0, 1)])
    mean, precision = posterior.rows[:, :4], posterior.rows[:, 4:]
    drawn = []
    for _ in range(8000):
        a, _ = reference.fields_of(own, rng.normal(mean, 1 / np.sqrt(precision)), 1 / precision, 4)
        drawn.append(reference.of_logit(a, np.zeros(a.shape), rng.normal(0.2, np.sqrt(1 / 3)), 0.0, pairs)[0])
    assert np.var(drawn) == pytest.approx(variance[0], rel=0.06)


@pytest.mark.parametrize("first_pass", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_piece_moves_the_posterior_as_the_reference_says(first_pass, weighted):
    rng = np.random.default_rng(2)
    batch, examples = make_batch(rng)
    left_out = [(0, 2)]
    posterior = make_posterior(rng, left_out)
    labels = rng.integers(0, 2, NUM).astype(np.int8)
    weights = rng.integers(0, 3, NUM).astype(np.float32) if weighted else np.ones(NUM, np.float32)
    posterior.num_passes = int(not first_pass)
    posterior.counts[:] = 0.0 if first_pass else rng.integers(5, 50, sum(SIZES))
    posterior._num_examples = 0.0 if first_pass else 200.0
    rows, bias, counts = posterior.rows.copy(), posterior.bias.copy(), posterior.counts.copy()
    prior = posterior.prior.copy()
    room = (NUM, 4, 4)
    asked = np.empty(room, np.float32), np.empty(room, np.float32), np.empty((NUM, 2))
    given = weights if weighted else weights[:0]
    posterior._learn(*asked, batch, labels, given, 0, NUM, 0.7)
    pairs = pairs_but(left_out)
    mean, precision = rows[:, :4], rows[:, 4:]
    of_weight = [(example, label, weight) for example, label, weight in zip(examples, labels, weights, strict=True)]
    used = [each for each in of_weight if each[2] > 0]
    reference.learn_piece(
        [each[0] for each in used], [each[1] for each in used], [float(each[2]) for each in used],
        mean, precision, bias, prior, counts, pairs, 0.7, first_pass, 200.0,
    )  # fmt: skip
    np.testing.assert_allclose(posterior.rows, rows, rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(posterior.counts, counts, rtol=1e-12)
    np.testing.assert_allclose(posterior.bias, bias, rtol=1e-6)


def test_the_prior_goes_half_of_the_way_to_the_likeliest_and_precisions_follow():
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.normal(size=(9, 3)), rng.uniform(3.0, 9.0, (9, 3))], axis=1)
    counts, prior = np.ones(9), np.array([1.0, 2.0, 3.0])
    counts[4] = 0.0
    seen = np.arange(9) != 4
    now = kernels.likelier_prior(rows, counts, prior, 0, 9)
    np.testing.assert_allclose(now, reference.likelier_prior(rows[seen, :3], rows[seen, 3:], prior), rtol=1e-12)
    before = rows.copy()
    kernels.change_prior(rows, counts, prior, now, 0, 9)
    np.testing.assert_allclose(rows[seen, 3:], np.maximum(before[seen, 3:] + now - prior, now), rtol=1e-12)
    assert rows[4].tolist() == [0.0, 0.0, 0.0, *now]
