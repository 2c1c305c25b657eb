"""The draws of the posterior's kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.reference import posterior as reference

from fieldwise.kernels.posterior import draw_latents, draw_rows

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


@pytest.mark.parametrize("with_inputs", [False, True])
def test_rows_are_drawn_as_the_reference_says(with_inputs):
    rng = np.random.default_rng(1)
    n, d, base, num_rows = 60, 4, 3, 5
    weights = rng.normal(size=(base + num_rows, d)).astype(np.float32)
    others = rng.normal(size=(n, d)).astype(np.float32)
    ids = rng.integers(0, num_rows - 1, n)  # the last feature has no example
    examples = np.argsort(ids, kind="stable").astype(np.uint32)
    starts = np.concatenate(([0], np.cumsum(np.bincount(ids, minlength=num_rows))))
    inputs = rng.normal(size=n).astype(np.float32) if with_inputs else np.empty(0, np.float32)
    latent, predicted = rng.normal(size=n), rng.normal(size=n)
    precision = np.array([1.0, 2.0, 3.0, 4.0])
    before, predicted_before = weights.copy(), predicted.copy()
    draw_rows(
        weights, base, starts, examples, inputs, others, latent, predicted, precision, np.uint64(KEY), 0, num_rows
    )
    assert (weights[:base] == before[:base]).all()
    assert (weights[-1] == 0).all()
    for r in range(num_rows - 1):
        here = slice(starts[r], starts[r + 1])
        old = before[base + r].astype(np.float64)
        x = inputs[here].astype(np.float64) if with_inputs else np.ones(starts[r + 1] - starts[r])
        expected, q = reference.row(
            old, examples[here], x, others.astype(np.float64), latent, predicted_before, precision, KEY, r
        )
        np.testing.assert_allclose(weights[base + r], expected, rtol=1e-5, atol=1e-6)
        moved = q @ (weights[base + r] - old)
        np.testing.assert_allclose(predicted[examples[here]], predicted_before[examples[here]] + moved, atol=1e-6)
