"""Members' logits, blended as validation rows say."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from fieldwise.models.stack import Stacker


def rows(count=4000):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=count) * 2
    members = np.stack([3 * truth + rng.normal(size=count), truth + 2 * rng.normal(size=count)], axis=1)
    labels = (rng.random(count) < 1 / (1 + np.exp(-truth))).astype(np.int32)
    return members.astype(np.float32), labels


def test_it_is_logistic_regression_held_at_the_mean_where_the_base_rate_is_that_of_training():
    members, labels = rows(100_000)
    free = LogisticRegression(C=1e10, tol=1e-8).fit(members + 0.8, labels)
    for level, shift in ((0.0, 0.0), (0.8, -0.8)):  # members are trained on half of the negatives, say
        blend = Stacker([1, 1], level)
        blend.fit(members + 0.8, labels, offset=shift)
        np.testing.assert_allclose(blend.weight[1:], free.coef_[0], atol=5e-3)
        np.testing.assert_allclose(blend.weight[0] + shift, free.intercept_[0], atol=1e-2)


def test_validation_rows_of_another_base_rate_do_not_move_the_level():
    """In the order of time the last rows before the test say how much members know, not what the rate will be."""
    members, labels = rows(40_000)
    quiet = (labels == 0) | (np.random.default_rng(3).random(40_000) < 0.3)
    usual, fewer = Stacker([1, 1]), Stacker([1, 1])
    usual.fit(members, labels)
    fewer.fit(members[quiet], labels[quiet])
    assert abs(usual.weight[0]) < 0.05
    assert fewer.weight[0] == 0.0
    answers = [stacker(torch.from_numpy(members)[:, :, None])[:, 0].numpy() for stacker in (usual, fewer)]
    rates = [float((1 / (1 + np.exp(-each))).mean()) for each in answers]
    assert abs(rates[0] - rates[1]) < 0.02
    assert labels.mean() - labels[quiet].mean() > 0.2


def test_what_is_added_afterwards_is_not_learned():
    """A stack of members that have seen half of the negatives, on all rows: what is added makes them right."""
    members, labels = rows(100_000)
    plain, corrected = Stacker([1, 1]), Stacker([1, 1], 0.7)
    plain.fit(members, labels)
    corrected.fit(members + 0.7, labels, offset=-0.7)
    both = torch.from_numpy(members)[:, :, None]
    np.testing.assert_allclose(corrected(both + 0.7) - 0.7, plain(both), atol=1e-5)


def test_a_row_of_weight_0_is_no_row():
    members, labels = rows(500)
    plain, weighted = Stacker([1, 1]), Stacker([1, 1])
    plain.fit(members[1:], labels[1:])
    weighted.fit(members, labels, np.r_[0.0, np.ones(499)])
    np.testing.assert_allclose(weighted.weight, plain.weight, rtol=1e-6)
    assert abs(weighted.weight[1] - 0.5) > 0.05


def test_the_order_of_the_rows_does_not_matter_where_every_fifth_is_a_click():
    members, labels = rows(4000)
    clicks, others = np.flatnonzero(labels == 1)[:400], np.flatnonzero(labels == 0)[:1600].reshape(400, 4)
    in_turns = np.concatenate([clicks[:, None], others], axis=1).reshape(-1)
    ordered, mixed = Stacker([1, 1]), Stacker([1, 1])
    ordered.fit(members[in_turns], labels[in_turns])
    at_random = np.random.default_rng(1).permutation(in_turns)
    mixed.fit(members[at_random], labels[at_random])
    np.testing.assert_allclose(ordered.weight, mixed.weight, atol=1e-5)
    assert abs(ordered.weight[1] - 0.5) > 0.05


def test_few_rows_of_one_label_fit_nothing():
    blend = Stacker([1, 1])
    members, labels = rows(10)
    for some in (labels * 0, labels * 0 + 1):
        blend.fit(members, some)
        assert blend.weight.tolist() == [0.0, 0.5, 0.5]
    blend.fit(members[:0], labels[:0])
    assert blend.weight.tolist() == [0.0, 0.5, 0.5]


def test_separable_rows_leave_it_finite():
    members = np.array([[-1.0], [-2.0], [1.0], [2.0]], np.float32)
    blend = Stacker([1])
    blend.fit(members, np.array([0, 0, 1, 1]))
    assert torch.isfinite(blend.weight).all()
    assert blend.weight[1] >= 1


def test_a_member_that_is_better_alone_than_the_stack_on_rows_that_were_not_fitted_counts_alone():
    rng = np.random.default_rng(0)
    truth = 3 * rng.normal(size=60)
    labels = (rng.random(60) < 1 / (1 + np.exp(-truth))).astype(np.int32)
    noise = 5 * rng.normal(size=(60, 24))
    stacker = Stacker([2, *[1] * 24])
    members = np.concatenate([truth[:, None], truth[:, None], noise], axis=1)
    stacker.fit(members, labels)
    assert stacker.weight.tolist() == [0.0, 0.5, 0.5, *[0.0] * 24]


def test_few_rows_hold_the_weights_of_many_members_nearer_to_the_mean():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=20_200)
    labels = (rng.random(20_200) < 1 / (1 + np.exp(-truth))).astype(np.int32)
    members = truth[:, None] + 0.7 * rng.normal(size=(20_200, 12))
    stacker = Stacker([1] * 12)
    stacker.fit(members[:200], labels[:200])
    free = LogisticRegression(C=0.1).fit(members[:200], labels[:200])

    def loss(logits):
        return np.mean(np.logaddexp(0, logits) - labels[200:] * logits)

    ours = stacker(torch.from_numpy(members[200:])[:, :, None]).numpy()[:, 0]
    assert loss(ours) < loss(free.decision_function(members[200:])) - 0.005
