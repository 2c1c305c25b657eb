"""Nothing behind the table needs the processor: on torch's device without data, whatever is not there is an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.reference.batches import random_fields

from fieldwise.kernels.cooccurrence import Cooccurrence
from fieldwise.models.click import build_model
from fieldwise.models.config import KINDS as ALL_KINDS
from fieldwise.models.config import ModelConfig
from fieldwise.training.loss import logloss, weighted_mean

KINDS = [kind for kind in ALL_KINDS if kind != "bayesian-fm"]  # those that steps train

FORMS, ROWS = ["single", "value", "bag", "single"], [7, 2, 5, 60]
HISTORY = Cooccurrence(0, 3, np.array([0, 0, 0, 2, 3, 3, 3, 4]), np.array([4, 9, 5, 6], dtype=np.uint32))
META = torch.device("meta")


def step(config, num_classes=2, histories=()):
    """Go forward and backward through a model whose table gives outputs without data."""
    model = build_model(config, make_layout(FORMS, ROWS), num_classes, bags=histories).to(META).train()
    table = model.table

    def forward(batch):
        shapes = (batch.num_examples, table.layout.num_fields * table.num_local), (batch.num_examples, table.num_full)
        return tuple(torch.empty(shape, device=META, requires_grad=shape[1] > 0) for shape in shapes)

    table.forward = forward
    given = model.augmented(make_batch(FORMS, random_fields(np.random.default_rng(0), FORMS, ROWS, 12)))
    weights = torch.empty(12, device=META)
    loss = logloss(model.member_logits(given), torch.empty(12, dtype=torch.int32, device=META), weights)
    if model.penalty is not None:
        loss = loss + weighted_mean(model.penalty, weights)
    loss.backward()
    assert all(p.grad is not None and p.grad.device == META for p in model.parameters())


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_stays_on_its_device(kind, num_classes):
    step(ModelConfig(kind=kind, units=4, hidden=(12, 8), fm_interactions=False, dropout=0.1), num_classes)


@pytest.mark.parametrize("deep", ["perceptron", "residual", "cross", "none"])
def test_so_does_every_deep_part_with_interactions_and_bags(deep):
    step(ModelConfig(units=4, hidden=(12, 8), fm_interactions=True, deep=deep), histories=[HISTORY])


def test_what_brings_something_from_the_processor_is_seen(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_, **__: self)  # nothing is moved any more
    with pytest.raises((RuntimeError, NotImplementedError)):
        step(ModelConfig(units=4, hidden=(12, 8), fm_interactions=True), histories=[HISTORY])
