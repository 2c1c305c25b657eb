"""The posterior of a factorisation machine in passes over batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.logs import make_table, write
from tests.reference import gibbs as reference
from tests.training.test_gibbs import SIZES, planted

import fieldwise as fw
from fieldwise.data.cache import Examples
from fieldwise.kernels.layout import BAG, SINGLE, VALUE, Batch, Layout
from fieldwise.kernels.threads import num_threads, set_num_threads
from fieldwise.metrics import evaluate_predictions
from fieldwise.training.chain import read_chain
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.interrupt import Interrupt, Interrupted
from fieldwise.training.variational import VariationalFM, run_passes


def learned(batch, labels, layout, passes=8, left_out=((0, 2),), weights=None, factors=4, seed=3):
    posterior = VariationalFM(layout, left_out, factors, 0.5, seed, len(labels))
    for number in range(passes):
        posterior.learn([Examples(batch, labels, weights, None)], 1.5 - 1.4 * number / passes)
    return posterior


def test_it_finds_what_was_planted():
    batch, labels, layout, _ = planted(8000)
    posterior = learned(batch, labels, layout, passes=12)
    rest, labels, _, ids = planted(4000, seed=7)
    z, variance = posterior.predict(rest)
    linear = posterior.rows[:, :1][ids + layout.base[:-1]].sum(axis=(1, 2))
    found, first = (evaluate_predictions(1 / (1 + np.exp(-each)), labels) for each in (z, linear))
    truth = np.random.default_rng(99).normal(size=(sum(SIZES), 3)) * [0.3, 0.9, 0.9]
    best = reference.prediction(0.2, truth, ids, layout.base[:-1], {(0, 2)})
    assert found.auc > first.auc + 0.1
    assert found.auc > evaluate_predictions(1 / (1 + np.exp(-best)), labels).auc - 0.015
    # A probit truth is a logit of 1.6 z; how far the means are from it is what the variances say, by and large.
    wrong = (z - 1.6 * best) ** 2
    assert 0.3 < wrong.mean() / variance.mean() < 3.0


def test_means_and_variances_are_those_of_the_exact_posterior_of_single_weights():
    """Without interactions a feature's posterior is of one number, and an integral."""
    rng = np.random.default_rng(5)
    num, size = 3000, 40
    ids = np.minimum(rng.zipf(1.3, num) - 1, size - 1).astype(np.uint32)
    labels = (rng.random(num) < 1 / (1 + np.exp(0.5 - rng.normal(size=size)[ids]))).astype(np.int8)
    no_bags = np.empty((0, num + 1), np.int64), np.empty(0, np.uint32), np.empty(0, np.float32)
    batch = Batch(ids[None], np.empty((0, num), np.float32), *no_bags)
    posterior = learned(batch, labels, Layout.of([SINGLE], [size]), passes=12, left_out=(), factors=1)
    counts, ones = np.bincount(ids, minlength=size), np.bincount(ids, labels, minlength=size)
    assert counts.min() <= 3  # the prior counts, too
    w = np.linspace(-8, 8, 4001)[:, None]
    logs = ones * w - counts * np.logaddexp(0, posterior.bias[0] + w) - 0.5 * posterior.prior[0, 0] * w**2
    shares = np.exp(logs - logs.max(axis=0))
    shares /= shares.sum(axis=0)
    mean = (shares * w).sum(axis=0)
    deviation = np.sqrt((shares * (w - mean) ** 2).sum(axis=0))
    assert np.abs((posterior.rows[:, 0] - mean) / deviation).max() < 0.35
    ratio = 1 / np.sqrt(posterior.rows[:, 2]) / deviation
    assert 0.95 < ratio.min() <= ratio.max() < 1.1


def test_the_more_examples_a_feature_has_the_surer_it_is():
    batch, labels, layout, ids = planted(4000)
    few = np.flatnonzero(ids[:, 0] != 4)[:3000]
    few = np.concatenate([few, np.flatnonzero(ids[:, 0] == 4)[:3]])
    part = Batch(
        np.ascontiguousarray(batch.ids[:, few]), batch.values[:, few], batch.offsets[:, : len(few) + 1],
        batch.bag_ids, batch.bag_weights,
    )  # fmt: skip
    posterior = learned(part, labels[few], layout)
    precisions = posterior.rows[:30, 5]
    assert precisions[4] == precisions.min()
    assert (posterior.rows[:30, 5:] >= posterior.prior[0] * 0.99).all()


def test_a_weight_of_two_is_an_example_twice_and_one_of_nothing_is_no_example():
    batch, labels, layout, ids = planted(2000)
    weights = np.random.default_rng(0).integers(0, 3, 2000)
    weighted = learned(batch, labels, layout, weights=weights.astype(np.float32), left_out=())
    twice = np.repeat(np.arange(2000), weights)
    part = Batch(
        np.ascontiguousarray(batch.ids[:, twice]), np.empty((0, len(twice)), np.float32),
        np.empty((0, len(twice) + 1), np.int64), batch.bag_ids, batch.bag_weights,
    )  # fmt: skip
    repeated = learned(part, labels[twice], layout, left_out=())
    assert (weighted.counts == np.bincount((ids[twice] + layout.base[:-1]).ravel(), minlength=sum(SIZES))).all()
    one, other = (each.predict(batch)[0] for each in (weighted, repeated))
    assert np.corrcoef(one, other)[0, 1] > 0.99
    np.testing.assert_allclose(weighted.prior[:, 0], repeated.prior[:, 0], rtol=0.1)


def test_threads_change_nothing_and_seeds_do():
    before, found = num_threads(), []
    batch, labels, layout, _ = planted(2000)
    try:
        for threads, seed in ((1, 3), (3, 3), (2, 4)):
            set_num_threads(threads)
            found.append(learned(batch, labels, layout, passes=2, seed=seed))
    finally:
        set_num_threads(before)
    one, two, other = found
    assert (one.rows == two.rows).all()
    assert (one.bias == two.bias).all()
    assert (one.rows != other.rows).any()


def test_bags_and_numbers_are_the_single_features_that_they_stand_for():
    batch, labels, layout, _ = planted(500)
    count = len(labels)
    as_bag = Batch(
        batch.ids[:2], batch.values, np.arange(count + 1)[None], batch.ids[2].copy(), np.ones(count, np.float32)
    )
    as_value = batch._replace(values=np.ones((1, count), np.float32))
    plain, bag, value = (
        learned(each, labels, of, passes=3).rows
        for each, of in (
            (batch, layout),
            (as_bag, Layout.of([SINGLE, SINGLE, BAG], SIZES)),
            (as_value, Layout.of([SINGLE, SINGLE, VALUE], SIZES)),
        )
    )
    np.testing.assert_allclose(bag, plain, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(value, plain, rtol=1e-6, atol=1e-9)


def test_a_value_that_a_bag_holds_fifty_times_is_one_of_weight_fifty():
    batch, labels, _, _ = planted(2000)
    layout, count = Layout.of([SINGLE, SINGLE, BAG], SIZES), len(labels)
    ids = batch.ids[2]
    once = Batch(batch.ids[:2], batch.values, np.arange(count + 1)[None], ids.copy(), np.full(count, 50, np.float32))
    often = once._replace(
        offsets=50 * once.offsets, bag_ids=np.repeat(ids, 50), bag_weights=np.ones(50 * count, np.float32)
    )
    expected, found = (learned(each, labels, layout, passes=3) for each in (once, often))
    assert np.isfinite(expected.rows).all()
    assert (found.rows == expected.rows).all()
    assert (found.counts == expected.counts).all()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("passes")
    write(make_table(2000), folder / "log.csv")
    (folder / "log.toml").write_text('[data]\ntrain = "log.csv"\nlabel = "click"\nsplit = "split"\n')
    return fw.prepare(fw.load_config(folder / "log.toml"))


def run(prepared, folder, interrupt=None, rate=1.0, listen=lambda event: None, minutes_between=10.0):
    checkpoints, seen = Checkpoints(folder, keep=1), []

    def note(event):
        seen.append(event)
        listen(event)

    train, valid = prepared.parts["train"], prepared.parts["valid"]
    turns = {"minutes_between": minutes_between, "interrupt": interrupt, "listen": note}
    run_passes(train, valid, [], 3, 5, 0, checkpoints, rate, **turns)
    return checkpoints, seen


def test_passes_that_were_stopped_end_as_if_they_had_not(prepared, tmp_path):
    whole, seen = run(prepared, tmp_path / "whole")
    interrupt = Interrupt()

    def stop(event):
        interrupt.requested = event.sweep == 3

    with pytest.raises(Interrupted):
        run(prepared, tmp_path / "stopped", interrupt, listen=stop)
    rest, more = run(prepared, tmp_path / "stopped")
    one, other = (each.newest() for each in (whole, rest))
    assert (one.table == other.table).all()
    assert [event.logloss for event in seen[3:]] == [event.logloss for event in more]
    assert seen[-1].logloss < seen[0].logloss
    assert not run(prepared, tmp_path / "stopped")[1]
    means = read_chain(rest)
    assert means.scale == 1.0
    assert means.num_sweeps == 5
    np.testing.assert_allclose(means.spread(prepared.encoder.layout.base.tolist()), 1 / one.table[:, 4:], rtol=1e-6)
    assert (means.numbers(2) == one.table[:, 2]).all()


def test_passes_that_were_killed_end_as_if_they_had_not(prepared, tmp_path):
    def die(event):
        if event.sweep == 3:
            raise SystemExit  # before the third pass is saved

    with pytest.raises(SystemExit):
        run(prepared, tmp_path / "killed", listen=die, minutes_between=0.0)
    assert Checkpoints(tmp_path / "killed", keep=1).newest().state["num_sweeps"] == 2
    rest, more = run(prepared, tmp_path / "killed")
    whole, seen = run(prepared, tmp_path / "whole")
    one, other = (each.newest() for each in (whole, rest))
    assert (one.table == other.table).all()
    assert one.state["bias"] == other.state["bias"]
    assert [event.logloss for event in seen[2:]] == [event.logloss for event in more]


def test_without_half_of_the_negatives_the_bias_is_higher_by_the_logarithm_of_two(prepared, tmp_path):
    all_rows, half = (read_chain(run(prepared, tmp_path / str(rate), rate=rate)[0]) for rate in (1.0, 0.5))
    assert half.bias - all_rows.bias == pytest.approx(math.log(2.0), abs=0.35)
