"""Weights replace the initial model where validation rows tell the two apart, and not where chance does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import metrics as reference

from fieldwise.training.noise import exceeds_noise


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), gain=st.floats(-0.5, 1.5))
def test_of_auc_it_is_a_difference_above_delongs_error(seed, gain):
    rng = np.random.default_rng(seed)
    labels = (np.arange(40) % 4 == 0).astype(np.int32)
    initial = rng.normal(0, 1, 40)
    logits = initial + gain * labels + rng.normal(0, 0.5, 40)
    _, _, difference, error, _ = reference.delong(labels, logits, initial)
    assert exceeds_noise("auc", labels, logits, initial) == (difference > error)


@pytest.mark.parametrize("metric", ["auc", "logloss", "normalized_entropy"])
@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2.0, 4000)])
def test_a_gain_on_most_rows_counts_and_no_gain_or_a_loss_does_not(metric, weights):
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1.5, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-truth))).astype(np.int32)
    worse = truth + rng.normal(0, 1.5, 4000)
    assert exceeds_noise(metric, labels, truth, worse, weights)
    assert not exceeds_noise(metric, labels, worse, truth, weights)
    assert not exceeds_noise(metric, labels, truth, truth, weights)


def test_of_equal_models_chance_passes_one_look_in_six():
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(600):
        labels = (rng.random(300) < 0.2).astype(np.int32)
        signal = labels + rng.normal(0, 1, 300)
        first, second = (signal + rng.normal(0, 0.5, 300) for _ in range(2))
        passed += exceeds_noise("auc", labels, first, second)
    assert 0.11 < passed / 600 < 0.21  # .159 of a normal distribution lie above one standard deviation
