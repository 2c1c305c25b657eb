"""The loss of several labels, and what stops a training on them."""

import numpy as np
import pytest
import torch
from tests.reference import joint_loss as reference

from fieldwise.data.cache import Examples
from fieldwise.kernels.joint_labels import join_labels
from fieldwise.kernels.layout import Batch
from fieldwise.metrics import BinaryMetrics, JointMetrics
from fieldwise.models.config import LabelHead
from fieldwise.nn.joint_logits import joint_logits
from fieldwise.training.guard import Divergence, class_weights
from fieldwise.training.loss import logloss, probabilities


def drawn(among, num=40, seed=0):
    rng = np.random.default_rng(seed)
    states = rng.integers(0, 3, (len(among), num))
    return rng.normal(size=(num, len(among))) * 3, states, rng.uniform(0.5, 2.0, num)


@pytest.mark.parametrize("among", [(None, None), (None, 0), (None, 0, 1), (None, None, 0, 2)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_that_of_a_plain_loop_and_leaves_missing_labels_out(among, weighted):
    logits, states, weights = drawn(among)
    heads = [LabelHead(f"l{number}", other, number + 0.5) for number, other in enumerate(among)]
    marginal = joint_logits(torch.from_numpy(logits), among)
    found = logloss(
        marginal, torch.from_numpy(join_labels(list(states))), torch.from_numpy(weights) if weighted else None, heads
    )
    plain = [[None if state == 2 else int(state) for state in of_row] for of_row in states.T]
    expected = reference.loss(
        logits, plain, among, [head.weight for head in heads], weights if weighted else [1.0] * len(weights)
    )
    assert found.item() == pytest.approx(expected, rel=1e-12)
    answered = probabilities(marginal, heads).numpy()
    np.testing.assert_allclose(answered, [reference.probabilities(of_row, among) for of_row in logits], rtol=1e-12)


def test_heads_of_one_batch_have_the_mean_of_their_losses():
    among = (None, 0)
    heads = [LabelHead("click"), LabelHead("buy", 0)]
    (one, states, _), (other, _, _) = drawn(among), drawn(among, seed=1)
    codes = torch.from_numpy(join_labels(list(states)))
    both = logloss(torch.from_numpy(np.stack([one, other], axis=1)), codes, heads=heads)
    alone = [logloss(torch.from_numpy(each), codes, heads=heads).item() for each in (one, other)]
    assert both.item() == pytest.approx(np.mean(alone), rel=1e-12)


@pytest.mark.parametrize("size", [30.0, 500.0])
def test_logits_of_any_size_have_finite_probabilities_and_gradients(size):
    logits = torch.tensor([[a, b] for a in (-size, 0.0, size) for b in (-size, 0.0, size)], requires_grad=True)
    heads = [LabelHead("click"), LabelHead("buy", 0)]
    loss = logloss(joint_logits(logits, (None, 0)), torch.full((9,), 0b0101, dtype=torch.int32), heads=heads)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def examples(states, weights=None):
    codes = join_labels([np.array(each) for each in states])
    empty = np.empty((0, len(codes)))
    batch = Batch(empty.astype(np.uint32), empty.astype(np.float32), empty.astype(np.int64), *[np.empty(0)] * 2)
    return Examples(batch, codes, weights, None)


def test_the_base_rate_that_divergence_is_measured_by_is_each_labels_own():
    heads = [LabelHead("click"), LabelHead("buy", 0, 2.0)]
    seen = class_weights(examples([[0, 0, 0, 1], [0, 2, 2, 1]]), 5, heads)
    assert seen.tolist() == [3.0, 1.0, 2.0, 2.0, 4.0]
    weighted = class_weights(examples([[0, 1], [2, 1]], np.array([0.5, 3.0], np.float32)), 5, heads)
    assert weighted.tolist() == [0.5, 3.0, 0.0, 6.0, 3.5]
    states = [[0] * 3000 + [1] * 1000, [0] * 2000 + [2] * 1000 + [1] * 1000]
    weights = class_weights(examples(states), 5, heads)
    # The loss of the base rates of 1/4, and of 1/3 among the three quarters that say something of it, weight 2.
    base = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) - 2 * 0.75 * (2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    for times, diverges in ((3.9, False), (4.1, True)):
        guard = Divergence.of(5)
        found = [guard.add(times * base, 4000, weights, 2) for _ in range(60)]
        assert found[-1] == diverges


def test_metrics_of_labels_are_those_of_each_over_the_rows_that_have_it():
    rng = np.random.default_rng(3)
    p, states = rng.random((200, 2)), rng.integers(0, 3, (2, 200))
    weights, groups = rng.uniform(0.5, 2, 200), rng.integers(0, 9, 200)
    codes = join_labels(list(states))
    whole, one, other = (JointMetrics(["click", "buy"]) for _ in range(3))
    whole.update(p, codes, weights, groups)
    one.update(p[:90], codes[:90], weights[:90], groups[:90])
    other.update(p[90:], codes[90:], weights[90:], groups[90:])
    one.merge(other)
    assert one.compute() == whole.compute()
    for number, name in enumerate(("click", "buy")):
        known = states[number] != 2
        alone = BinaryMetrics()
        alone.update(p[known, number], states[number][known], weights[known], groups[known])
        assert whole.compute().labels[name] == alone.compute()
    assert whole.compute().auc == whole.compute().labels["click"].auc
