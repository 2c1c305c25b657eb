"""What an epoch tells of itself: the progressive AUC, against the AUC by its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.helpers import make_batch, make_layout
from tests.reference import metrics as reference
from tests.reference.batches import random_fields

import fieldwise as fw
from fieldwise.config import config_of
from fieldwise.data.cache import Examples
from fieldwise.events import Event, Progress
from fieldwise.models.click import build_model
from fieldwise.models.config import ModelConfig
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training import meter
from fieldwise.training.config import DenseOptimizerConfig
from fieldwise.training.make import make_stepper
from fieldwise.training.meter import ProgressiveAuc

FORMS, ROWS = ["single", "value", "bag", "single"], [7, 2, 5, 60]


@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_auc_whatever_the_batches_but_for_the_width_of_a_bin(weighted):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 900)
    logits = rng.normal(size=(900, 1)) + labels[:, None]
    weights = rng.random(900) if weighted else None
    auc = ProgressiveAuc()
    for begin, end in ((0, 0), (0, 1), (1, 700), (700, 900)):
        auc.add(logits[begin:end], labels[begin:end], None if weights is None else weights[begin:end])
    expected = reference.auc(logits[:, 0].tolist(), labels.tolist(), [1.0] * 900 if weights is None else weights)
    assert auc.value == pytest.approx(expected, abs=2e-4)


def test_logits_of_one_bin_are_ties_and_those_beyond_all_bins_are_in_the_outermost():
    auc = ProgressiveAuc()
    auc.add(np.array([[1e9], [np.inf], [-np.inf], [0.001]]), np.array([1, 0, 0, 1]))
    assert auc.value == pytest.approx((0.5 + 1 + 0 + 1) / 4)


def test_there_is_none_before_both_labels_have_come():
    auc = ProgressiveAuc()
    assert auc.value is None
    auc.add(np.zeros((3, 1)), np.ones(3, np.int64))
    assert auc.value is None


def test_of_several_classes_it_is_the_mean_of_each_against_the_rest():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 600)
    logits = rng.normal(size=(600, 3)) + 2.0 * (labels[:, None] == np.arange(3))
    auc = ProgressiveAuc(3)
    auc.add(logits, labels)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    of_class = [
        reference.auc(probabilities[:, number].tolist(), (labels == number).astype(int).tolist(), [1.0] * 600)
        for number in range(3)
    ]
    assert auc.value == pytest.approx(np.mean(of_class), abs=2e-4)


@pytest.mark.parametrize(("kind", "classes"), [("lr", 2), ("lr", 3), ("lc-dnn", 2), ("lc-dnn", 3), ("lc-dnn+dnn", 2)])
def test_a_step_tells_what_was_predicted_before_it(kind, classes):
    rng = np.random.default_rng(1)
    # Without what is another in training: units that are standardised by the batch, and dropout.
    config = ModelConfig(kind=kind, units=2, hidden=(3,), standardise=False, unit_dropout=0.0)
    model = build_model(config, make_layout(FORMS, ROWS), classes)
    stepper = make_stepper(model, TableOptimizerConfig(), DenseOptimizerConfig(), 40)
    for _ in range(3):
        batch = make_batch(FORMS, random_fields(rng, FORMS, ROWS, 40))
        examples = Examples(batch, rng.integers(0, classes, 40).astype(np.int32), None, None)
        with torch.inference_mode():
            expected = model.eval()(batch).numpy()
        model.train()
        stepper.step(examples, 1.0)
        np.testing.assert_allclose(stepper.logits(3), expected[::3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "initial"), [(["click"], "random"), (["click", "sale"], "random"), (["click"], "lr")]
)
def test_training_tells_the_auc_of_rows_that_it_has_not_learned_from(tmp_path, monkeypatch, labels, initial):
    """Labels that are drawn beside the columns: what is learned by rote shows in later epochs, and not in the first."""
    monkeypatch.setattr(meter, "_SECONDS_BETWEEN_REPORTS", 0.0)
    rng = np.random.default_rng(0)
    log = {"user": rng.integers(0, 700, 4000).astype(str), "ad": rng.integers(0, 900, 4000).astype(str)}
    log |= {label: rng.integers(0, 2, 4000) for label in labels}
    tree = {
        "data": {"label": "click"} if len(labels) == 1 else {"labels": labels},
        "model": {"kind": "lc-dnn", "units": 8, "initial_model": initial},
        "train": {"epochs": 6, "batch_size": 256},
    }
    tree["data"]["cache"] = str(tmp_path / "cache")
    told: list[Event] = []
    fw.train(config_of(tree), tmp_path / "run", data=log, listen=told.append)
    moments = [each for each in told if isinstance(each, Progress)]
    last = {each.epoch: each.auc for each in moments}
    assert {each.epoch for each in moments if each.is_progressive} == ({1} if initial == "random" else set())
    assert last[1] == pytest.approx(0.5, abs=0.04)
    assert last[6] > 0.6
