"""The chain over a factorisation machine's posterior, and models that start from its mean."""

from __future__ import annotations

import numpy as np
import pytest
from tests.reference import gibbs as reference

from fieldwise.errors import ConfigError
from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Batch, Layout
from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.metrics import evaluate_predictions
from fieldwise.models.config import ModelConfig
from fieldwise.training import gibbs
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import SamplerConfig, TrainConfig
from fieldwise.training.gibbs import FactorMeans, GibbsSampler
from fieldwise.training.initial import posterior_method, settled

SIZES = [30, 20, 5]
GIBBS = {"sampler": SamplerConfig(method="gibbs")}


def planted(num_examples=4000, seed=0):
    """Examples of three fields whose truth is a factorisation machine without the pair (0, 2)."""
    rng = np.random.default_rng(seed)
    layout = Layout.of([SINGLE] * 3, SIZES)
    truth = np.random.default_rng(99).normal(size=(sum(SIZES), 3)) * [0.3, 0.9, 0.9]
    ids = np.stack([rng.integers(0, size, num_examples) for size in SIZES], axis=1)
    z = reference.prediction(0.2, truth, ids, layout.base[:-1], {(0, 2)})
    labels = (z + rng.normal(size=num_examples) > 0).astype(np.int32)
    return batch_of(ids), labels, layout, ids


def batch_of(ids):
    count = len(ids)
    return Batch(
        np.ascontiguousarray(ids.T.astype(np.uint32)),
        np.empty((0, count), np.float32),
        np.empty((0, count + 1), np.int64),
        np.empty(0, np.uint32),
        np.empty(0, np.float32),
    )


def sampler(seed=3, factors=4):
    batch, labels, layout, _ = planted()
    return GibbsSampler(batch, labels, layout, [(0, 2)], factors, seed)


@pytest.mark.parametrize("part", [100, 1 << 14])
def test_predictions_follow_the_weights_through_a_sweep(part, monkeypatch):
    monkeypatch.setattr(gibbs, "_PART", part)
    chain = sampler()
    for _ in range(3):
        chain.sweep(keep=False)
    _, _, layout, ids = planted()
    expected = reference.prediction(chain.bias, chain.weights.astype(np.float64), ids, layout.base[:-1], {(0, 2)})
    np.testing.assert_allclose(chain._latent - chain._state[:, 0], expected, atol=2e-5)


def test_it_finds_what_was_planted():
    chain = sampler()
    for sweep in range(80):
        chain.sweep(keep=sweep >= 30)
    mean = FactorMeans(chain.mean, chain.mean_bias, chain.num_sweeps, chain.variance, chain.variance_bias)
    _, labels, layout, ids = planted(4000, seed=7)
    weights = np.stack([mean.numbers(number) for number in range(mean.num_numbers)], axis=1)
    logits = reference.prediction(mean.bias, weights, ids, layout.base[:-1], {(0, 2)})
    linear = reference.prediction(mean.bias, weights[:, :1], ids, layout.base[:-1], set())
    found, first = (evaluate_predictions(1 / (1 + np.exp(-each)), labels) for each in (logits, linear))
    assert found.auc > first.auc + 0.1
    assert found.calibration_error < 0.05
    truth = np.random.default_rng(99).normal(size=(sum(SIZES), 3)) * [0.3, 0.9, 0.9]
    best = evaluate_predictions(
        1 / (1 + np.exp(-reference.prediction(0.2, truth, ids, layout.base[:-1], {(0, 2)}))), labels
    )
    assert found.auc > best.auc - 0.015


@pytest.mark.parametrize("part", [100, 1 << 14])
def test_threads_and_seeds(part, monkeypatch):
    monkeypatch.setattr(gibbs, "_PART", part)
    before = num_threads()
    chains = []
    try:
        for threads, seed in ((1, 3), (2, 3), (2, 4)):
            set_num_threads(threads)
            chain = sampler(seed)
            for _ in range(4):
                chain.sweep(keep=True)
            chains.append(chain)
    finally:
        set_num_threads(before)
    one, two, other = chains
    assert (one.weights == two.weights).all()
    assert (one.mean == two.mean).all()
    assert one.mean_bias == two.mean_bias
    assert (one.weights != other.weights).any()


def test_a_chain_goes_on_as_if_it_had_never_stopped(tmp_path):
    whole, first, second = sampler(), sampler(), sampler()
    for sweep in range(6):
        whole.sweep(keep=sweep >= 2)
    for sweep in range(4):
        first.sweep(keep=sweep >= 2)
    checkpoints = Checkpoints(tmp_path)
    first.save(checkpoints)
    second.restore(checkpoints.newest())
    for _ in range(2):
        second.sweep(keep=True)
    assert (second.weights == whole.weights).all()
    assert (second.mean == whole.mean).all()
    assert second.mean_bias == whole.mean_bias


@pytest.mark.parametrize("part", [100, 1 << 14])
def test_bags_and_numbers_are_the_single_features_that_they_stand_for(part, monkeypatch):
    """A bag with one value of weight 1 is a category, and so is a number whose value is 1."""
    monkeypatch.setattr(gibbs, "_PART", part)
    batch, labels, layout, _ = planted(500)
    count = len(labels)
    plain = GibbsSampler(batch, labels, layout, [], 2, 0)
    as_bag = Batch(
        batch.ids[:2], batch.values, np.arange(count + 1)[None], batch.ids[2].copy(), np.ones(count, np.float32)
    )
    bag = GibbsSampler(as_bag, labels, Layout.of([SINGLE, SINGLE, BAG], SIZES), [], 2, 0)
    as_value = batch._replace(values=np.ones((1, count), np.float32))
    value = GibbsSampler(as_value, labels, Layout.of([SINGLE, SINGLE, VALUE], SIZES), [], 2, 0)
    for chain in (plain, bag, value):
        for _ in range(3):
            chain.sweep(keep=True)
    np.testing.assert_allclose(bag.mean, plain.mean, atol=1e-4)
    np.testing.assert_allclose(value.mean, plain.mean, atol=1e-4)


def test_a_feature_that_a_bag_has_twice_is_one_of_twice_the_weight():
    labels = np.array([0, 1, 1, 0, 1], np.int32)
    ids = np.zeros((1, 5), np.uint32)
    none = np.empty((0, 5), np.float32)
    layout = Layout.of([SINGLE, BAG], [2, 3])
    twice = Batch(
        ids, none, np.array([[0, 2, 3, 3, 4, 6]]), np.array([1, 1, 2, 0, 2, 2], np.uint32), np.ones(6, np.float32)
    )
    heavy = Batch(
        ids, none, np.array([[0, 1, 2, 2, 3, 4]]), np.array([1, 2, 0, 2], np.uint32), np.array([2, 1, 1, 2], np.float32)
    )
    chains = [GibbsSampler(batch, labels, layout, [], 2, 0) for batch in (twice, heavy)]
    for chain in chains:
        chain.sweep(keep=True)
    np.testing.assert_allclose(chains[0].mean, chains[1].mean, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "options", "train", "reason"),
    [
        (SIZES[:1], {}, {}, "no two fields"),
        (SIZES, {"num_classes": 3}, {}, "more than two classes"),
        (SIZES, {"weighted": True}, GIBBS, "examples have weights"),
        (SIZES, {}, {"negative_rate": 0.5, **GIBBS}, "leaves examples out"),
    ],
)
def test_what_cannot_be_sampled_is_refused_where_it_is_asked_for_and_else_left_out(sizes, options, train, reason):
    log = Layout.of([SINGLE] * len(sizes), sizes), 1000
    assert settled(ModelConfig(), TrainConfig(**train), *log, **options).kind == "lc-dnn"
    for kind in ("bayesian-fm", "lr+bayesian-fm"):
        with pytest.raises(ConfigError, match=reason):
            settled(ModelConfig(kind=kind), TrainConfig(**train), *log, **options)


def test_auto_leaves_alone_what_it_would_not_help():
    def kind(layout, num_examples=1000, has_inputs=False, **model):
        return settled(ModelConfig(**model), TrainConfig(), layout, num_examples, has_inputs=has_inputs).kind

    layout = Layout.of([SINGLE] * 3, SIZES)
    assert kind(layout) == "lc-dnn+bayesian-fm"
    assert kind(Layout.of([SINGLE] * 2, [1400, 1_900_000])) == "lc-dnn+bayesian-fm"
    assert kind(Layout.of([SINGLE] * 2, [1400, 10**9])) == "lc-dnn"
    assert kind(layout, fm_interactions=False) == "lc-dnn"
    assert kind(layout, units=1) == "lc-dnn"
    assert kind(layout, has_inputs=True) == "lc-dnn"
    assert kind(layout, kind="lc-wide-deep") == "lc-wide-deep"


@pytest.mark.parametrize(
    ("num_examples", "weighted", "train", "method"),
    [
        (1000, False, {}, "gibbs"),
        (10**9, False, {}, "variational"),
        (10**9, False, {"preset": "best"}, "gibbs"),
        (10**9, False, GIBBS, "gibbs"),
        (1000, True, {}, "variational"),
        (1000, True, {"preset": "best"}, "variational"),
        (1000, False, {"negative_rate": 0.5}, "variational"),
        (1000, False, {"sampler": SamplerConfig(method="variational")}, "variational"),
    ],
)
def test_logs_that_are_large_or_have_weights_are_approximated(num_examples, weighted, train, method):
    layout, model, settings = Layout.of([SINGLE] * 3, SIZES), ModelConfig(), TrainConfig(**train)
    assert posterior_method(model, settings, layout, num_examples, weighted) == method
    assert settled(model, settings, layout, num_examples, weighted=weighted).is_sampled
