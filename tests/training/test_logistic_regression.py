"""Logistic regression against scikit-learn's: the same data, the same objective, the same minimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tests.helpers import make_batch, make_layout
from tests.reference import table as reference
from tests.reference.batches import random_fields

from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.loss import logloss

FORMS = ["single", "value", "bag", "single"]
ROWS = [7, 2, 5, 40]


@pytest.mark.parametrize(("num_classes", "weighted"), [(2, False), (2, True), (3, False)])
def test_the_minimum_is_scikit_learns(num_classes, weighted):
    rng = np.random.default_rng(0)
    num_examples, l2 = 400, 0.02
    fields = random_fields(rng, FORMS, ROWS, num_examples)
    x = np.concatenate(reference.encode(fields, ROWS), axis=1)
    truth = rng.normal(size=(x.shape[1], num_classes))
    labels = np.argmax(x @ truth + rng.gumbel(size=(num_examples, num_classes)), axis=1)
    weights = rng.uniform(0.2, 3, num_examples) if weighted else np.ones(num_examples)

    peer = LogisticRegression(C=1 / (l2 * weights.sum()), tol=1e-12, max_iter=10_000)
    peer.fit(x, labels, sample_weight=weights)

    batch, layout = make_batch(FORMS, fields), make_layout(FORMS, ROWS)
    model = build_model(ModelConfig(kind="lr"), layout, num_classes, dtype=torch.float64)
    # The whole data set is one batch, so the rows of the batch are all rows, and the objectives are the same:
    # sum of weight loss / sum of weight + l2 / 2 |w|^2.
    model.table.train_by(TableOptimizerConfig(name="adagrad", learning_rate=0.5, l2=l2, epsilon=1e-12))
    bias = torch.optim.Adagrad([model.members["lr"].bias], lr=0.5)
    for _ in range(2500):
        loss = logloss(model(batch), torch.from_numpy(labels), torch.from_numpy(weights))
        bias.zero_grad()
        loss.backward()
        bias.step()
        model.table.push()(1.0)

    def objective(logits: np.ndarray, w: np.ndarray) -> float:
        losses = logloss(torch.from_numpy(logits), torch.from_numpy(labels), torch.from_numpy(weights))
        return losses.item() + l2 / 2 * float((w**2).sum())

    w = model.table.weights
    ours = objective(x @ w + model.members["lr"].bias.detach().numpy(), w)
    theirs = objective(x @ peer.coef_.T + peer.intercept_, peer.coef_)
    assert abs(ours - theirs) < 1e-6
    ours_p = torch.sigmoid(model(batch))[:, 0] if num_classes == 2 else torch.softmax(model(batch), dim=1)
    theirs_p = peer.predict_proba(x)[:, 1] if num_classes == 2 else peer.predict_proba(x)
    np.testing.assert_allclose(ours_p.detach().numpy(), theirs_p, atol=2e-3)
