"""Logistic regression at its optimum: scikit-learn's, for every form of field."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Batch, Layout
from fieldwise.kernels.newton import LogisticProblem, LogisticSolution, logits_of
from fieldwise.kernels.threads import num_threads, set_num_threads

SIZES = [40, 3, 12, 2]
LAYOUT = Layout.of([SINGLE, SINGLE, BAG, VALUE], SIZES)


def drawn(num_examples: int, seed: int) -> tuple[Batch, sparse.csr_matrix, np.ndarray]:
    """Return examples of all forms, the same as a matrix, and labels that follow from them."""
    rng = np.random.default_rng(seed)
    ids = np.array([rng.integers(0, size, num_examples) for size in (SIZES[0], SIZES[1])], np.uint32)
    has_value = rng.random(num_examples) < 0.9
    values = np.where(has_value, rng.normal(size=num_examples), 1.0).astype(np.float32)
    lengths = rng.integers(0, 4, num_examples)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    bag_ids = rng.integers(0, SIZES[2], offsets[-1]).astype(np.uint32)
    bag_weights = rng.random(offsets[-1]).astype(np.float32) + 0.5
    batch = Batch(
        np.stack([ids[0], ids[1], has_value.astype(np.uint32)]), values[None], offsets[None], bag_ids, bag_weights
    )
    dense = np.zeros((num_examples, LAYOUT.num_features))
    rows, base = np.arange(num_examples), LAYOUT.base
    for f in range(2):
        dense[rows, base[f] + ids[f]] = 1.0
    np.add.at(dense, (np.repeat(rows, lengths), base[2] + bag_ids), bag_weights)
    dense[rows, base[3] + has_value] = values
    truth = rng.normal(size=LAYOUT.num_features)
    labels = (rng.random(num_examples) < 1 / (1 + np.exp(-dense @ truth))).astype(np.int32)
    return batch, sparse.csr_matrix(dense), labels


@pytest.mark.parametrize("num_examples", [0, 1, 300])
def test_logits_of_other_examples_are_products_with_the_weights(num_examples):
    batch, matrix, _ = drawn(num_examples, seed=6)
    weights = np.random.default_rng(7).normal(size=LAYOUT.num_features)
    found = logits_of(LogisticSolution(weights, 0.4, 0.0, 1), batch, LAYOUT)
    np.testing.assert_allclose(found, np.dot(matrix.toarray(), weights) + 0.4, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("l2", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_optimum_is_that_of_scikit_learn(l2, weighted):
    batch, matrix, labels = drawn(3000, seed=1)
    weights = np.random.default_rng(2).random(3000) * 3 if weighted else None
    found = LogisticProblem(batch, LAYOUT, labels, weights).solve(np.full(4, l2), close=1e-12)
    peer = LogisticRegression(C=1 / l2, solver="newton-cholesky", tol=1e-12, max_iter=200).fit(
        matrix.toarray(), labels, weights
    )
    np.testing.assert_allclose(found.weights, peer.coef_[0], atol=2e-5)
    assert found.bias == pytest.approx(peer.intercept_[0], abs=2e-5)


def test_every_field_has_a_penalty_of_its_own():
    batch, matrix, labels = drawn(2000, seed=3)
    l2 = np.array([0.5, 2.0, 20.0, 5.0])
    found = LogisticProblem(batch, LAYOUT, labels).solve(l2, close=1e-12)
    p = 1 / (1 + np.exp(-(matrix @ found.weights + found.bias)))
    gradient = matrix.T @ (p - labels) + np.repeat(l2, SIZES) * found.weights
    assert np.abs(gradient).max() < 1e-3
    assert abs((p - labels).sum()) < 1e-3


def test_what_is_known_of_another_penalty_saves_steps_and_changes_nothing():
    batch, _, labels = drawn(2000, seed=4)
    problem = LogisticProblem(batch, LAYOUT, labels)
    before = problem.solve(np.full(4, 10.0), close=1e-12)
    anew, onwards = (problem.solve(np.full(4, 5.0), start, close=1e-12) for start in (None, before))
    np.testing.assert_allclose(onwards.weights, anew.weights, atol=1e-5)
    assert onwards.steps <= anew.steps


def test_curvatures_are_second_derivatives_of_the_loss_by_each_weight():
    batch, matrix, labels = drawn(500, seed=8)
    weights = np.random.default_rng(9).random(500)
    found = LogisticProblem(batch, LAYOUT, labels, weights)
    solution = LogisticSolution(np.random.default_rng(10).normal(size=LAYOUT.num_features), -0.3, 0.0, 1)
    p = 1 / (1 + np.exp(-(matrix @ solution.weights + solution.bias)))
    wanted = np.square(matrix.toarray()).T @ (weights * p * (1 - p))
    np.testing.assert_allclose(found.curvatures(solution), wanted, rtol=1e-6)


def test_no_bit_depends_on_the_number_of_threads():
    rng = np.random.default_rng(5)
    ids = rng.integers(0, 500, (3, 100_000)).astype(np.uint32)
    none = np.empty(0, np.float32)
    batch = Batch(ids, none.reshape(0, 100_000), np.empty((0, 100_001), np.int64), none.astype(np.uint32), none)
    labels = rng.integers(0, 2, 100_000)
    threads, found = num_threads(), []
    try:
        for count in (1, 3):
            set_num_threads(count)
            found.append(LogisticProblem(batch, Layout.of([SINGLE] * 3, [500] * 3), labels).solve(np.ones(3)))
    finally:
        set_num_threads(threads)
    assert found[0].bias == found[1].bias
    np.testing.assert_array_equal(found[0].weights, found[1].weights)


@settings(max_examples=30)
@given(st.integers(1, 60), st.sampled_from([1e-6, 1.0, 1e6]), st.integers(0, 99), st.sampled_from([0, 1, None]))
def test_few_examples_of_one_class_or_of_two_have_a_finite_optimum(num_examples, l2, seed, only):
    batch, _, labels = drawn(num_examples, seed)
    labels = labels if only is None else np.full(num_examples, only)
    found = LogisticProblem(batch, LAYOUT, labels).solve(np.full(4, l2))
    assert np.isfinite(found.weights).all()
    assert np.isfinite(found.bias)
