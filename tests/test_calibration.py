"""Calibration: against scikit-learn, against closed forms, and through training, saving and serving."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from tests.logs import FIELDS, QUICK, make_table
from tests.reference import isotonic as reference

import fieldwise as fw
from fieldwise.bundle import open_bundle
from fieldwise.calibration import Calibration
from fieldwise.data.batches import Batches
from fieldwise.datasets import SynthOptions, make_synth
from fieldwise.kernels.isotonic import isotonic
from fieldwise.metrics import evaluate_predictions
from fieldwise.metrics.slices import SliceSums
from fieldwise.models.load import load_model
from fieldwise.training.score import answer

DATA = """[data]
train = "log.parquet"
valid = 0.3
test = 0.3
label = "click"
exclude = ["impression", "session", "weight", "split"]
"""


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def over_confident(num_examples, seed=0):
    """Logits that are 2.5 times what they should be, and 0.7 too high."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(-1, 1, num_examples)
    return 2.5 * truth + 0.7, (rng.random(num_examples) < sigmoid(truth)).astype(np.int32)


# --- the maps ---


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=12))
def test_pooling_adjacent_violators_is_the_min_max_formula(pairs):
    values, weights = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    assert isotonic(values, weights) == pytest.approx(reference.isotonic(values, weights))


@pytest.mark.parametrize("weighted", [False, True])
def test_an_isotonic_map_is_scikit_learns(weighted):
    logits, labels = over_confident(3000)
    logits = np.round(logits, 2)  # with ties
    weights = np.random.default_rng(1).uniform(0.5, 2, 3000) if weighted else None
    found = Calibration().fitted("isotonic", logits, labels, weights)
    expected = IsotonicRegression(out_of_bounds="clip").fit(logits, labels, sample_weight=weights)
    margin = 0.5 / ((3000 if weights is None else weights.sum()) + 1)
    where = np.r_[logits, logits.min() - 1, logits.max() + 1]
    assert found.probabilities(where) == pytest.approx(expected.predict(where).clip(margin, 1 - margin), abs=1e-12)
    between = np.linspace(logits.min(), logits.max(), 5000)
    levels = expected.y_thresholds_.clip(margin, 1 - margin)
    assert found.probabilities(between) == pytest.approx(np.interp(between, expected.X_thresholds_, levels), abs=1e-12)


def test_a_temperature_is_the_logistic_regression_of_the_labels_on_the_logits():
    logits, labels = over_confident(4000)
    weights = np.random.default_rng(1).uniform(0.5, 2, 4000)
    found = Calibration().fitted("temperature", logits, labels, weights)
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, None], labels, sample_weight=weights)
    assert found.slope == pytest.approx(expected.coef_[0, 0], rel=1e-5)
    assert found.intercept == pytest.approx(expected.intercept_[0], rel=1e-4)
    assert found.slope == pytest.approx(1 / 2.5, rel=0.1)


def test_a_temperature_of_several_classes_has_the_least_logloss():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, (2000, 3))
    labels = np.argmax(truth + rng.gumbel(size=truth.shape), axis=1)
    found = Calibration().fitted("temperature", 3 * truth, labels)

    def loss(slope):
        return log_loss(labels, Calibration(slope=slope).probabilities(3 * truth))

    assert loss(found.slope) <= min(loss(found.slope * factor) for factor in (0.5, 0.99, 1.01, 2))
    assert found.slope == pytest.approx(1 / 3, rel=0.15)


def test_calibrated_probabilities_of_fresh_examples_are_right_and_their_order_stays():
    logits, labels = over_confident(20_000)
    fresh_logits, fresh_labels = over_confident(20_000, seed=1)
    before = evaluate_predictions(sigmoid(fresh_logits), fresh_labels)
    assert before.calibration_error > 0.1
    temperature = Calibration().fitted("temperature", logits, labels).probabilities(fresh_logits)
    steps = Calibration().fitted("isotonic", logits, labels).probabilities(fresh_logits)
    for calibrated in (temperature, steps):
        after = evaluate_predictions(calibrated, fresh_labels)
        assert after.calibration_error < 0.02
        assert after.logloss < before.logloss
    assert roc_auc_score(fresh_labels, temperature) == pytest.approx(before.auc, abs=1e-12)
    order = np.argsort(fresh_logits)
    assert (np.diff(steps[order]) >= 0).all()
    assert roc_auc_score(fresh_labels, steps) == pytest.approx(before.auc, abs=2e-3)  # ties


@pytest.mark.parametrize("rate", [1.0, 0.5, 0.01])
def test_the_correction_for_left_out_negatives_is_the_closed_form(rate):
    """With a share r of the negatives, p' = p / (p + (1 - p) r) of them are clicks: solved for p (He et al., 6.3)."""
    p = np.linspace(0.001, 0.999, 500)
    seen = p / (p + (1 - p) * rate)
    logits = np.log(seen) - np.log1p(-seen)
    assert Calibration.of_negative_rate(rate).probabilities(logits) == pytest.approx(p, rel=1e-9)
    assert Calibration.of_negative_rate(rate).probabilities(logits) == pytest.approx(
        seen / (seen + (1 - seen) / rate), rel=1e-9
    )


def test_a_map_is_learned_after_the_correction():
    logits, labels = over_confident(5000)
    shifted = Calibration(offset=-1.0)
    for method in ("temperature", "isotonic"):
        whole = Calibration().fitted(method, logits, labels).probabilities(logits)
        after = shifted.fitted(method, logits + 1.0, labels).probabilities(logits + 1.0)
        assert after == pytest.approx(whole, abs=1e-6)


def test_where_one_label_occurs_or_the_order_is_wrong_nothing_is_turned_around():
    logits = np.linspace(-1, 1, 50)
    assert Calibration(offset=-1.0).fitted("isotonic", logits, np.zeros(50, np.int32)) == Calibration(offset=-1.0)
    reversed_labels = (logits < 0).astype(np.int32)
    found = Calibration().fitted("temperature", logits, reversed_labels)
    assert found.slope == 1.0
    assert found.probabilities(logits).mean() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"slope": 0.0},
        {"slope": float("nan")},
        {"knots": (0.0, 0.0), "levels": (0.1, 0.2)},
        {"knots": (0.0, 1.0), "levels": (0.2, 0.1)},
        {"knots": (0.0,), "levels": ()},
        {"knots": (0.0,), "levels": (1.1,)},
    ],
)
def test_what_is_no_rising_map_is_refused(wrong):
    with pytest.raises(ValueError, match="non-decreasing"):
        Calibration(**wrong)


# --- through training, saving and serving ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    pa.parquet.write_table(make_table(4000), folder / "log.parquet")
    return folder


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
@pytest.mark.parametrize("kind", ["lr", "lc-dnn"])
def test_train_evaluate_and_predict_say_the_same_calibrated_probabilities(folder, tmp_path, method, kind):
    config = fw.parse_config(
        DATA + FIELDS + QUICK, base=folder, overrides=[f"train.calibration={method}", f"model.kind={kind}"]
    )
    result = fw.train(config, tmp_path / "run")
    bundle = open_bundle(tmp_path / "run")
    calibration = msgspec.convert(bundle.calibration, Calibration)
    assert not calibration.is_none
    test = fw.prepare(config).parts["test"]
    model = load_model(bundle)
    examples = list(Batches(test, 500, shuffle=False).epoch(0))
    logits = np.concatenate([answer(model, each.batch)[:, 0].numpy() for each in examples])
    labels = np.concatenate([each.labels for each in examples])
    expected = evaluate_predictions(calibration.probabilities(logits).astype(np.float32), labels)
    assert result.test.logloss == pytest.approx(expected.logloss, rel=1e-6)
    assert result.test.auc == pytest.approx(expected.auc, abs=1e-9)
    plain = fw.train(
        fw.parse_config(DATA + FIELDS + QUICK, base=folder, overrides=[f"model.kind={kind}"]), tmp_path / "plain"
    )
    assert result.test.auc == pytest.approx(plain.test.auc, abs=0 if method == "temperature" else 0.02)
    assert result.valid.calibration_error < plain.valid.calibration_error + 1e-9
    table = pa.parquet.read_table(folder / "log.parquet").slice(0, 50)
    single = [fw.Predictor(tmp_path / "run").predict(table.slice(row, 1))[0] for row in (0, 7)]
    many = fw.Predictor(tmp_path / "run").predict(table).tolist()
    assert [many[0], many[7]] == pytest.approx(single, rel=1e-6)


def test_training_on_some_of_the_negatives_gives_probabilities_of_all_rows(tmp_path):
    """On a synthetic log whose true click rate is known; without the correction the ratio would be about 3."""
    options = SynthOptions(rows=40_000, fields=5, features=60, truth="linear", click_rate=0.15, seed=1)
    path = make_synth(tmp_path, options)
    overrides = ["model.kind=lc-dnn", "model.hidden=[16]", "train.epochs=4", "train.batch_size=512"]
    for kind in ("lr", "lc-dnn"):
        config = fw.load_config(path, [*overrides, f"model.kind={kind}", "train.negative_rate=0.2"])
        whole = fw.train(fw.load_config(path, [*overrides, f"model.kind={kind}"]), tmp_path / f"{kind}-whole")
        some = fw.train(config, tmp_path / f"{kind}-some")
        assert some.test.calibration_ratio == pytest.approx(1.0, abs=0.1)
        assert some.test.auc > whole.test.auc - 0.015
        assert some.test.logloss < whole.test.logloss + 0.01
        raw = load_model(open_bundle(tmp_path / f"{kind}-some"))
        raw.calibration = Calibration()
        test = fw.prepare(config).parts["test"]
        logits = np.concatenate(
            [answer(raw, each.batch)[:, 0].numpy() for each in Batches(test, 4096, shuffle=False).epoch(0)]
        )
        assert sigmoid(logits).mean() / test.labels().mean() > 2


def test_the_same_negatives_stay_in_every_epoch_and_all_clicks(folder):
    cache = fw.prepare(fw.parse_config(DATA + FIELDS, base=folder)).parts["train"]
    labels = cache.labels()
    assert labels.tolist() == cache.gather(np.arange(cache.num_examples)).labels.tolist()
    batches = Batches(cache, 64, seed=3, negative_rate=0.3)
    epochs = [np.concatenate(list(batches.rows(number))) for number in (0, 1)]
    assert sorted(epochs[0].tolist()) == sorted(epochs[1].tolist())
    assert epochs[0].tolist() != epochs[1].tolist()
    assert batches.num_examples == len(epochs[0])
    assert (labels[epochs[0]] == 1).sum() == (labels == 1).sum()
    assert (labels[epochs[0]] == 0).sum() / (labels == 0).sum() == pytest.approx(0.3, abs=0.06)
    assert len(list(batches.rows(0))) == batches.num_batches
    for start in (1, 5, batches.num_batches - 1):
        rest = np.concatenate(list(batches.rows(0, start)))
        assert rest.tolist() == epochs[0][start * 64 :].tolist()
    in_order = np.concatenate(list(Batches(cache, 64, seed=3, shuffle=False, negative_rate=0.3).rows(0)))
    assert in_order.tolist() == sorted(epochs[0].tolist())


@pytest.mark.parametrize(
    ("classes", "overrides", "says"),
    [
        (("a", "b", "c"), ["train.negative_rate=0.5"], "two classes"),
        (("a", "b", "c"), ["train.calibration=isotonic"], "two classes"),
        ((0, 1), ["train.calibration=isotonic", "data.valid=0.0001"], "no|none"),
    ],
)
def test_what_these_rows_cannot_give_is_refused_before_training(tmp_path, classes, overrides, says):
    pa.parquet.write_table(make_table(300, classes=classes), tmp_path / "log.parquet")
    config = fw.parse_config(DATA + FIELDS + QUICK, base=tmp_path, overrides=overrides)
    if "data.valid=0.0001" in overrides:
        config = msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, valid=None))
    with pytest.raises(fw.ConfigError, match=says):
        fw.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_three_classes_are_calibrated_by_a_temperature(tmp_path):
    pa.parquet.write_table(make_table(1500, classes=("a", "b", "c")), tmp_path / "log.parquet")
    config = fw.parse_config(DATA + FIELDS + QUICK, base=tmp_path, overrides=["train.calibration=temperature"])
    result = fw.train(config, tmp_path / "run")
    slope = msgspec.convert(open_bundle(tmp_path / "run").calibration, Calibration).slope
    assert slope > 0
    assert slope != 1
    assert fw.evaluate(tmp_path / "run", tmp_path / "log.parquet").by_field == []
    assert result.test.logloss > 0


# --- slices ---


def test_slices_of_a_log_add_up_to_what_plain_loops_say(folder, tmp_path):
    config = fw.parse_config(DATA + FIELDS + QUICK, base=folder, overrides=["model.kind=lr"])
    fw.train(config, tmp_path / "run")
    evaluation = fw.evaluate(tmp_path / "run", folder / "log.parquet", by=["user_x_item"])
    table = pa.parquet.read_table(folder / "log.parquet")
    p = fw.Predictor(tmp_path / "run").predict(table)
    y = table["click"].to_numpy()
    of_field = {found.field: found for found in evaluation.by_field}
    assert {"user", "item", "price", "tags", "user_x_item"} == set(of_field)  # age is a plain number
    item = np.array([str(value) for value in table["item"].to_pylist()])
    for found in of_field["item"].slices:
        rows = item == found.name
        assert (found.examples, found.predicted) == (rows.sum(), pytest.approx(p[rows].mean(), rel=1e-5))
        assert found.observed == pytest.approx(y[rows].mean())
        noise = np.sqrt((p[rows] * (1 - p[rows])).sum())
        assert found.z == pytest.approx((p[rows] - y[rows]).sum() / noise, abs=1e-3)
    errors = [abs((p - y)[item == value].sum()) for value in np.unique(item)]
    assert of_field["item"].error == pytest.approx(sum(errors) / len(y), rel=1e-4)
    tags = [cell.split("|") if cell else [] for cell in table["tags"].to_pylist()]
    [t2] = [found for found in of_field["tags"].slices if found.name == "t2"]
    assert t2.examples == sum("t2" in cell for cell in tags)
    deciles = evaluation.by_probability
    assert sum(each.examples for each in deciles) == len(y)
    assert len(deciles) == 10
    assert [each.predicted for each in deciles] == sorted(each.predicted for each in deciles)
    plain = evaluation.as_dict()
    assert plain["by_probability"][0]["examples"] == deciles[0].examples
    with pytest.raises(fw.ConfigError, match="user"):
        fw.evaluate(tmp_path / "run", folder / "log.parquet", by=["usr"])
    with pytest.raises(fw.ConfigError, match="age"):
        fw.evaluate(tmp_path / "run", folder / "log.parquet", by=["age"])


def test_weights_count_in_slices():
    sums = SliceSums(2)
    sums.update(np.array([0, 0]), np.array([0.2, 0.6]), np.array([0, 1]), np.array([3.0, 1.0]))
    [found] = sums.compute("field", ["a", "b"]).slices
    assert (found.name, found.examples, found.weight) == ("a", 2, 4.0)
    assert (found.predicted, found.observed) == (pytest.approx(0.3), pytest.approx(0.25))
    assert found.ratio == pytest.approx(1.2)
    assert found.z == pytest.approx(0.2 / np.sqrt(9 * 0.16 + 0.24))
