"""Logistic regression that is solved: the penalty is chosen on valid, the optimum that of scikit-learn."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from tests.logs import config_text, make_table, write

import fieldwise as fw
from fieldwise.jobs.train.train import pretrain
from fieldwise.kernels.newton import LogisticProblem
from fieldwise.kernels.storage import decode_weights
from fieldwise.metrics import evaluate_predictions
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import LrTableOptimizerConfig, PretrainConfig
from fieldwise.training.interrupt import Interrupt, Interrupted
from fieldwise.training.optimum import read_optimum, solve_path
from fieldwise.training.penalty import initial_penalty, next_penalty, put_aside
from fieldwise.training.solvable import MOST_BYTES, not_solved


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> fw.Config:
    folder = tmp_path_factory.mktemp("optimum")
    write(make_table(4000), folder / "log.parquet")
    (folder / "log.toml").write_text(config_text("log.parquet"))
    return fw.load_config(folder / "log.toml", ["model.kind=lr"])


@pytest.fixture(scope="module")
def prepared(config):
    return fw.prepare(config)


def matrix(cache) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return a cache's examples as scikit-learn takes them."""
    examples, layout, dense = cache.gather(np.arange(cache.num_examples)), cache.layout, None
    batch, everyone = examples.batch, np.arange(cache.num_examples)
    dense = np.zeros((cache.num_examples, layout.num_features))
    for field, base in enumerate(layout.base[:-1]):
        if layout.bag[field] >= 0:
            offsets = batch.offsets[layout.bag[field]]
            inside = slice(offsets[0], offsets[-1])
            owners = np.repeat(everyone, np.diff(offsets))
            np.add.at(dense, (owners, base + batch.bag_ids[inside]), batch.bag_weights[inside])
        else:
            values = batch.values[layout.value[field]] if layout.value[field] >= 0 else 1.0
            dense[everyone, base + batch.ids[layout.single[field]]] = values
    return sparse.csr_matrix(dense), examples.labels


def test_training_ends_at_scikit_learns_optimum(config, prepared, tmp_path):
    result = fw.train(config, tmp_path / "run", prepared=prepared)
    features, labels = matrix(prepared.parts["train"])
    peer = LogisticRegression(C=1 / result.l2, solver="lbfgs", tol=1e-10, max_iter=10_000).fit(features, labels)
    for part, found in (("valid", result.valid), ("test", result.test)):
        features, labels = matrix(prepared.parts[part])
        wanted = evaluate_predictions(peer.predict_proba(features)[:, 1], labels)
        assert found.auc == pytest.approx(wanted.auc, abs=1e-4)
        assert found.logloss == pytest.approx(wanted.logloss, abs=1e-4)


def test_no_other_penalty_is_better_on_valid(config, prepared, tmp_path):
    best = fw.train(config, tmp_path / "best", prepared=prepared)
    for times in (0.5, 2.0):
        table = msgspec.structs.replace(config.pretrain.table, l2=best.l2 * times)
        other = msgspec.structs.replace(config, pretrain=msgspec.structs.replace(config.pretrain, table=table))
        found = fw.train(other, tmp_path / str(times), prepared=prepared)
        assert (found.epochs, found.l2) == (1, best.l2 * times), "a penalty that is given is the only one"
        assert found.valid.logloss >= best.valid.logloss


def test_a_path_that_was_stopped_anywhere_goes_on_to_the_same_bits(prepared, tmp_path, monkeypatch):
    train, valid, counts = prepared.parts["train"], prepared.parts["valid"], prepared.encoder.vocabulary_counts
    whole = Checkpoints(tmp_path / "whole", keep=1)
    solve_path(train, valid, counts, PretrainConfig(), whole)
    stopped, step, stops = Checkpoints(tmp_path / "stopped", keep=1), LogisticProblem._sweep, []
    for number in (3, 9, 17):
        interrupt, passes = Interrupt(), []

        def counted(*arguments, limit=number, passes=passes, interrupt=interrupt):
            passes.append(1)
            interrupt.requested = len(passes) >= limit
            return step(*arguments)

        monkeypatch.setattr(LogisticProblem, "_sweep", counted)
        try:
            solve_path(train, valid, counts, PretrainConfig(), stopped, interrupt=interrupt)
        except Interrupted:
            stops.append(number)
    monkeypatch.undo()
    assert stops
    solve_path(train, valid, counts, PretrainConfig(), stopped)
    one, other = read_optimum(whole), read_optimum(stopped)
    assert one.bias == other.bias
    np.testing.assert_array_equal(one.weights, other.weights)
    assert [each.l2 for each in one.history.epochs] == [each.l2 for each in other.history.epochs]


@given(st.floats(-4.0, 12.0))
def test_the_path_ends_within_a_factor_of_two_of_the_best_penalty(best):
    tried: list[tuple[float, float]] = []
    while (l2 := next_penalty(tried)) is not None:
        assert l2 not in dict(tried)
        tried.append((l2, -abs(math.log2(l2) - best)))
    assert abs(math.log2(max(tried, key=lambda pair: pair[1])[0]) - best) <= 1.0


@given(st.lists(st.floats(0, 1), min_size=40, max_size=40))
def test_the_path_ends_whatever_valid_says(values):
    tried: list[tuple[float, float]] = []
    while (l2 := next_penalty(tried)) is not None:
        assert l2 not in dict(tried)
        tried.append((l2, values[len(tried)]))
    assert len(tried) <= 20


@pytest.mark.parametrize(
    ("settings", "classes", "rate", "reason"),
    [
        (PretrainConfig(), 2, 1.0, None),
        (PretrainConfig(table=LrTableOptimizerConfig(l2=3.0)), 2, 1.0, None),
        (PretrainConfig(), 3, 1.0, "more than two classes"),
        (PretrainConfig(), 2, 0.5, "negative_rate"),
        (PretrainConfig(epochs=3), 2, 1.0, "settings of FTRL"),
        (PretrainConfig(table=LrTableOptimizerConfig(learning_rate=0.1)), 2, 1.0, "settings of FTRL"),
        (PretrainConfig(solver="ftrl"), 2, 1.0, "says so"),
        (PretrainConfig(solver="newton", epochs=3), 2, 1.0, None),
    ],
)
def test_what_is_solved_and_what_is_not(settings, classes, rate, reason):
    found = not_solved(settings, 1000, classes, rate)
    assert found is None if reason is None else reason in found


def test_what_cannot_be_solved_is_refused_where_it_must_be():
    with pytest.raises(fw.ConfigError, match=r"(?s)more than two classes.*pretrain.solver"):
        not_solved(PretrainConfig(solver="newton"), 1000, 3, 1.0)
    lasso = PretrainConfig(solver="newton", table=LrTableOptimizerConfig(l1=1.0))
    with pytest.raises(fw.ConfigError, match="L1"):
        not_solved(lasso, 1000, 2, 1.0)


def test_a_larger_log_is_not_solved_unless_it_must_be():
    assert "MiB" in not_solved(PretrainConfig(), MOST_BYTES + 1, 2, 1.0)
    assert not_solved(PretrainConfig(solver="newton"), MOST_BYTES + 1, 2, 1.0) is None


def test_networks_start_from_the_optimum_of_a_stronger_penalty(config, prepared, tmp_path):
    lr = fw.train(config, tmp_path / "lr", prepared=prepared)
    start = pretrain(config, tmp_path / "lr", prepared).start
    kept = [path.stat().st_mtime_ns for path in sorted((tmp_path / "lr" / "initial").rglob("*.safetensors"))]
    again = pretrain(config, tmp_path / "lr", prepared).start
    np.testing.assert_array_equal(start.weights, again.weights)
    assert kept == [path.stat().st_mtime_ns for path in sorted((tmp_path / "lr" / "initial").rglob("*.safetensors"))]
    table = msgspec.structs.replace(config.pretrain.table, l2=initial_penalty(lr.l2))
    stronger = msgspec.structs.replace(config, pretrain=msgspec.structs.replace(config.pretrain, table=table))
    fw.train(stronger, tmp_path / "stronger", prepared=prepared)
    wanted = decode_weights(fw.open_bundle(tmp_path / "stronger").table)
    np.testing.assert_allclose(start.weights, wanted, atol=2e-2)
    assert not fw.verify(tmp_path / "lr").damages


def test_without_validation_rows_some_training_rows_choose_the_penalty_and_all_are_learned_from(prepared, tmp_path):
    train, counts = prepared.parts["train"], prepared.encoder.vocabulary_counts
    path = Checkpoints(tmp_path / "aside", keep=1)
    heard = []
    solve_path(train, None, counts, PretrainConfig(), path, listen=heard.append)
    found = read_optimum(path)
    chosen = found.history.epochs[found.history.best_epoch - 1].l2
    features, labels = matrix(train)
    aside = put_aside(labels)
    rest = np.setdiff1d(np.arange(len(labels)), aside)

    def loss_aside(l2):
        peer = LogisticRegression(C=1 / l2, tol=1e-9, max_iter=10_000).fit(features[rest], labels[rest])
        return evaluate_predictions(peer.predict_proba(features[aside])[:, 1], labels[aside]).logloss

    assert loss_aside(chosen) < min(loss_aside(chosen / 4), loss_aside(chosen * 4)) + 1e-6
    only = Checkpoints(tmp_path / "only", keep=1)
    table = LrTableOptimizerConfig(l2=chosen)
    solve_path(train, None, counts, PretrainConfig(table=table), only)
    np.testing.assert_allclose(found.weights, read_optimum(only).weights, atol=2e-3)
    assert found.bias == pytest.approx(read_optimum(only).bias, abs=2e-3)
    assert f"{len(aside):,} training rows choose the penalty" in heard[0].text


@pytest.mark.parametrize("num_positive", [1, 2, 40])
def test_rows_are_put_aside_by_class_and_every_class_is_left_to_learn_from(num_positive):
    labels = np.arange(700) < num_positive
    aside = put_aside(labels.astype(np.int32))
    assert 0.5 * num_positive - 1 < labels[aside].sum() < num_positive
    assert len(np.unique(aside)) == len(aside) <= 350
