"""Synthetic logs: what they promise of themselves, checked on what lies on the disk."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from fieldwise.datasets.synth import SynthOptions, make_synth
from fieldwise.datasets.truth import (
    auc_of_probabilities,
    draw_features,
    feature_counts,
    feature_probabilities,
    plant,
    sigmoid,
)
from fieldwise.errors import ConfigError

OPTIONS = SynthOptions(rows=70_000, fields=5, features=300, seed=4)


def made(folder, options=OPTIONS):
    make_synth(folder, options, name="log")
    return pyarrow.parquet.read_table(folder / "log.parquet"), json.loads((folder / "log.json").read_text())


def test_a_longer_log_begins_with_the_shorter_one(tmp_path):
    long, _ = made(tmp_path / "long")
    short, _ = made(tmp_path / "short", SynthOptions(rows=1_000, fields=5, features=300, seed=4))
    assert short.equals(long.slice(0, 1_000))


def test_another_seed_is_another_log(tmp_path):
    first, _ = made(tmp_path / "a", SynthOptions(rows=500, fields=3, features=30, seed=0))
    second, _ = made(tmp_path / "b", SynthOptions(rows=500, fields=3, features=30, seed=1))
    assert not first.equals(second)


def test_the_facts_are_those_of_the_rows_on_the_disk(tmp_path):
    table, facts = made(tmp_path)
    part, click = np.array(table["split"].to_pylist()), table["click"].to_numpy()
    for name in ("train", "valid", "test"):
        assert facts[name]["examples"] == (part == name).sum()
        assert facts[name]["click_rate"] == pytest.approx(click[part == name].mean(), abs=1e-12)
    shares = np.array([facts[name]["examples"] for name in ("train", "valid", "test")]) / table.num_rows
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.01)


def test_clicks_follow_the_truth_as_closely_as_was_asked_for(tmp_path):
    _, facts = made(tmp_path)
    assert facts["train"]["best"]["auc"] == pytest.approx(OPTIONS.best_auc, abs=0.01)
    assert facts["train"]["click_rate"] == pytest.approx(OPTIONS.click_rate, abs=0.01)
    assert facts["train"]["linear_auc"] < facts["train"]["best"]["auc"] - 0.01


def test_in_a_linear_truth_the_linear_part_is_the_best(tmp_path):
    _, facts = made(tmp_path, SynthOptions(rows=5_000, fields=3, features=40, truth="linear"))
    assert facts["train"]["linear_auc"] == pytest.approx(facts["train"]["best"]["auc"], abs=1e-12)


def test_the_facts_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    counts = feature_counts(4, 60, rng)
    truth = plant(counts, 1.0, network=True, best_auc=0.75, click_rate=0.3, rng=rng)
    sums = truth.no_fields(20_000)
    for field, count in enumerate(counts.tolist()):
        truth.add_field(sums, field, draw_features(rng.random(20_000), count, 1.0))
    probability = sigmoid(truth.logit(sums))
    click = (rng.random(20_000) < probability).astype(int)
    assert auc_of_probabilities(probability, click) == pytest.approx(roc_auc_score(click, probability), abs=1e-12)
    margin = np.where(click == 1, 1, -1) * truth.logit(sums)
    assert np.logaddexp(0, -margin).mean() == pytest.approx(log_loss(click, probability), abs=1e-12)


@pytest.mark.parametrize("skew", [0.0, 0.7, 1.0, 2.0])
def test_features_are_drawn_with_the_probabilities_stated(skew):
    uniform = (np.arange(1_000_000) + 0.5) / 1_000_000
    frequency = np.bincount(draw_features(uniform, 50, skew), minlength=50) / len(uniform)
    np.testing.assert_allclose(frequency, feature_probabilities(50, skew), atol=3e-6)


def test_ties_count_half():
    ordering, click = np.array([1.0, 1.0, 2.0, 0.0, 2.0]), np.array([1, 0, 1, 0, 0])
    assert auc_of_probabilities(ordering, click) == pytest.approx(roc_auc_score(click, ordering), abs=1e-12)


@pytest.mark.parametrize("options", [{"rows": 0}, {"fields": 1}, {"features": 3}, {"best_auc": 0.5}, {"skew": -1.0}])
def test_an_option_out_of_its_range_is_named(tmp_path, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        make_synth(tmp_path, SynthOptions(**{"fields": 2, **options}))
