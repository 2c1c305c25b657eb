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
from fieldwise.kernels.newton import LogisticProblem, LogisticSolution
from fieldwise.metrics import evaluate_predictions
from fieldwise.training.checkpoint import Checkpoints
from fieldwise.training.config import LrTableOptimizerConfig, PretrainConfig
from fieldwise.training.interrupt import Interrupt, Interrupted
from fieldwise.training.optimum import read_optimum, solve_path
from fieldwise.training.penalty import Fitted, initial_penalty, next_penalty, own_penalties, put_aside
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


def penalties_of(result, layout) -> np.ndarray:
    return np.array(list(result.penalties.values()) or [result.l2] * layout.num_fields)


def scales(penalties, layout) -> sparse.dia_matrix:
    """Return what features are multiplied by so that one penalty of scikit-learn's, 1, is those of the fields."""
    return sparse.diags(np.repeat(np.array(penalties) ** -0.5, np.diff(layout.base)))


@pytest.mark.parametrize("l2", ["null", "8.0"])
def test_training_ends_at_scikit_learns_optimum(l2, config, prepared, tmp_path):
    config = fw.load_config(f"{config.base}/log.toml", ["model.kind=lr", *[f"pretrain.table.l2={l2}"] * (l2 != "null")])
    result = fw.train(config, tmp_path / "run", prepared=prepared)
    assert bool(result.penalties) == (l2 == "null")
    layout = prepared.encoder.layout
    scale = scales(penalties_of(result, layout), layout)
    features, labels = matrix(prepared.parts["train"])
    peer = LogisticRegression(C=1.0, solver="lbfgs", tol=1e-10, max_iter=10_000).fit(features @ scale, labels)
    for part, found in (("valid", result.valid), ("test", result.test)):
        features, labels = matrix(prepared.parts[part])
        wanted = evaluate_predictions(peer.predict_proba(features @ scale)[:, 1], labels)
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


def test_fields_get_the_penalties_of_the_variances_that_their_weights_were_drawn_with(tmp_path):
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 100, 20_000) for _ in range(3)]
    logits = sum(rng.normal(0, deviation, 100)[ids[f]] for f, deviation in enumerate((1.0, 0.2, 0.0)))
    clicks = (rng.random(20_000) < 1 / (1 + np.exp(-logits))).astype(int)
    rows = {f"f{f}": [f"v{value}" for value in of_field] for f, of_field in enumerate(ids)} | {"click": clicks}
    config = fw.parse_config('[data]\ntrain = "rows"\nlabel = "click"\nvalid = 0.2\n[model]\nkind = "lr"\n')
    result = fw.train(config, tmp_path / "run", data=rows)
    assert [round(math.log10(l2)) for l2 in list(result.penalties.values())[:2]] == [0, 1]
    assert result.penalties["f2"] > 100
    common = min(each.valid.logloss for each in result.history if not each.own)
    assert result.valid.logloss < common


def own_where_valid_wants(best: np.ndarray) -> tuple[list[float], list[list[float]]]:
    """Return what is kept, from 8 for both of two fields, and all that was tried; valid is the worse the farther from
    `best` penalties are. The second field's weights are small, and its curvature less than its penalty.
    """
    solution, tried = LogisticSolution(np.array([1.0, 1.0, 0.1, 0.1]), 0.0, 0.0, 1), []

    def solved(penalties, start):
        tried.append(penalties.tolist())
        return Fitted(penalties, solution, -float(np.abs(np.log(penalties / best)).sum()))

    start = solved(np.array([8.0, 8.0]), solution)
    kept = own_penalties(start, np.array([0, 2, 4]), lambda _: np.array([4.0, 4.0, 1.0, 1.0]), solved)
    return kept.penalties.tolist(), tried


def test_one_penalty_for_all_is_kept_where_the_first_of_fields_own_is_worse():
    kept, tried = own_where_valid_wants(np.array([8.0, 8.0]))
    assert kept == [8.0, 8.0]
    assert tried[1:] == [pytest.approx([4 / 12, 1 / 9 / 0.01])]


def test_penalties_of_fields_with_few_examples_for_a_feature_are_halved_as_often_as_valid_gains():
    kept, tried = own_where_valid_wants(np.array([0.92, 2.5]))
    assert kept[0] == pytest.approx(0.92, abs=0.01)
    assert [kept[0], 4 * kept[1]] in tried
    assert [kept[0], 0.5 * kept[1]] in tried


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
    assert lr.penalties, "fields have their own"
    layout = prepared.encoder.layout
    scale = scales([initial_penalty(l2) for l2 in penalties_of(lr, layout)], layout)
    features, labels = matrix(prepared.parts["train"])
    peer = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(features @ scale, labels)
    met = np.flatnonzero(np.asarray(features.sum(axis=0))[0])
    np.testing.assert_allclose(start.weights[met, 0], (scale @ peer.coef_[0])[met], atol=2e-2)
    assert not fw.verify(tmp_path / "lr").damages


def test_without_validation_rows_some_training_rows_choose_the_penalty_and_all_are_learned_from(prepared, tmp_path):
    train, counts = prepared.parts["train"], prepared.encoder.vocabulary_counts
    path = Checkpoints(tmp_path / "aside", keep=1)
    heard = []
    solve_path(train, None, counts, PretrainConfig(), path, listen=heard.append)
    found = read_optimum(path)
    chosen = np.array(found.history.penalties)
    assert len(chosen) == train.layout.num_fields
    features, labels = matrix(train)
    aside = put_aside(labels)
    rest = np.setdiff1d(np.arange(len(labels)), aside)

    def fitted(penalties, rows):
        scale = scales(penalties, train.layout)
        peer = LogisticRegression(C=1.0, tol=1e-9, max_iter=10_000).fit(features[rows] @ scale, labels[rows])
        return peer, scale @ peer.coef_[0], peer.predict_proba(features @ scale)[:, 1]

    def loss_aside(penalties):
        return evaluate_predictions(fitted(penalties, rest)[2][aside], labels[aside]).logloss

    common = [each.l2 for each in found.history.epochs if not each.own]
    assert loss_aside(chosen) < min(loss_aside(np.full(len(chosen), l2)) for l2 in common)
    peer, weights, _ = fitted(chosen, np.arange(len(labels)))
    met = np.flatnonzero(np.asarray(features.sum(axis=0))[0])
    np.testing.assert_allclose(found.weights[met], weights[met], atol=2e-2)
    assert found.bias == pytest.approx(peer.intercept_[0], abs=2e-2)
    assert f"{len(aside):,} training rows choose the penalty" in heard[0].text


@pytest.mark.parametrize("num_positive", [1, 2, 40])
def test_rows_are_put_aside_by_class_and_every_class_is_left_to_learn_from(num_positive):
    labels = np.arange(700) < num_positive
    aside = put_aside(labels.astype(np.int32))
    assert 0.5 * num_positive - 1 < labels[aside].sum() < num_positive
    assert len(np.unique(aside)) == len(aside) <= 350
