"""What estimators take and give: rows of every kind, labels of every kind, and what scikit-learn builds on them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.logs import FIELDS, QUICK, make_table

import fieldwise as fw
from fieldwise.config import parse_config
from fieldwise.sklearn import BayesianFMClassifier, LCDNNClassifier, LRClassifier, StackClassifier

QUICK_NETWORK = {"units": 2, "hidden": (8,), "epochs": 3, "batch_size": 256, "n_jobs": 1}
INPUTS = ["user", "item", "price", "age", "tags"]


@pytest.fixture(scope="module")
def log():
    table = make_table(2000)
    frame = table.to_pandas()
    return frame[INPUTS], frame["click"].to_numpy()


@pytest.fixture(scope="module")
def fitted(log):
    X, y = log
    return LRClassifier().fit(X[:1500], y[:1500])


def test_rows_of_every_kind_have_the_same_probabilities(log, fitted, tmp_path):
    X = log[0][1500:]
    expected = fitted.predict_proba(X)
    table = pa.Table.from_pandas(X, preserve_index=False)
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    path = str(tmp_path / "rows.parquet")
    for rows in (pl.from_arrow(table), table, table.to_pydict(), table.to_pylist(), path, [path]):
        np.testing.assert_array_equal(fitted.predict_proba(rows), expected)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)


def test_an_estimator_makes_the_model_of_the_command_line(tmp_path):
    table = make_table(1500).select([*INPUTS, "click"])
    parts = {"train": table[:1000], "valid": table[1000:1250], "test": table[1250:]}
    config = parse_config(
        f'data = {{ train = "-", label = "click" }}\n{FIELDS}{QUICK}', base=tmp_path, overrides=["model.kind=lc-dnn"]
    )
    expected = fw.train(config, tmp_path / "run", data=parts).test.auc
    X = {name: rows.drop_columns(["click"]) for name, rows in parts.items()}
    y = {name: rows["click"].to_numpy() for name, rows in parts.items()}
    model = LCDNNClassifier(fields=config.fields, **QUICK_NETWORK)
    model.fit(X["train"], y["train"], eval_set=[(X["valid"], y["valid"])])
    assert roc_auc_score(y["test"], model.predict_proba(X["test"])[:, 1]) == pytest.approx(expected, abs=1e-6)
    assert model.result_.valid.auc > 0.6


@pytest.mark.parametrize(
    "labels", [["skip", "click"], [False, True], [-1, 1], ["0", "false"], ["A", "a"], ["NA", ""], [2.0, 5.0, 9.0]]
)
def test_labels_of_any_two_or_more_values_come_back_as_they_are(labels):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 1))
    y = np.array(labels)[np.digitize(X[:, 0], [0.0, 0.7][: len(labels) - 1])]
    model = LRClassifier().fit(X, y)
    assert model.classes_.tolist() == sorted(labels)
    assert model.classes_.dtype == y.dtype
    assert np.mean(model.predict(X) == y) > 0.8
    assert model.decision_function(X).shape == ((300,) if len(labels) == 2 else (300, 3))


def test_labels_stay_with_the_saved_model(tmp_path, log):
    X, y = log
    LRClassifier().fit(X[:500], np.where(y[:500], "click", "skip")).save(tmp_path / "model")
    assert fw.Predictor(tmp_path / "model").classes == ("click", "skip")


def test_files_are_learned_from_by_the_name_of_the_label(tmp_path, log):
    X, y = log
    X.assign(click=y)[:1500].to_csv(tmp_path / "train.csv", index=False)
    X.assign(click=y)[1500:].to_csv(tmp_path / "rows.csv", index=False)
    model = LRClassifier().fit(tmp_path / "train.csv", "click", eval_set=(tmp_path / "rows.csv", "click"))
    assert model.classes_.tolist() == [0, 1]
    found = model.predict_proba(tmp_path / "rows.csv")[:, 1]
    np.testing.assert_array_equal(model.predict_proba(X[1500:])[:, 1], found)
    assert roc_auc_score(y[1500:], found) == pytest.approx(model.result_.valid.auc, abs=1e-6)


def test_sparse_rows_are_fields_by_groups_of_columns(log):
    X, y = log
    encoder = OneHotEncoder(handle_unknown="ignore")
    rows = encoder.fit_transform(X[["user", "item"]])
    model = LCDNNClassifier(sparse_groups=[len(each) for each in encoder.categories_], **QUICK_NETWORK)
    model.fit(rows[:1500], y[:1500])
    assert [field.name for field in model.predictor_.fields] == ["g0", "g1"]
    found = model.predict_proba(rows[1500:])[:, 1]
    assert roc_auc_score(y[1500:], found) > 0.6
    np.testing.assert_array_equal(model.predict_proba(rows[1500:].toarray())[:, 1], found)
    with pytest.raises(ValueError, match="sparse_groups have 3 columns"):
        model.set_params(sparse_groups=[1, 2]).fit(rows, y)


def test_later_passes_learn_from_new_rows_and_survive_a_pickle(log):
    X, y = log
    model = LRClassifier()
    first = roc_auc_score(y[1500:], model.partial_fit(X[:200], y[:200]).predict_proba(X[1500:])[:, 1])
    for start in range(200, 1500, 100):
        model.partial_fit(X[start : start + 100], y[start : start + 100])
    assert roc_auc_score(y[1500:], model.predict_proba(X[1500:])[:, 1]) > first + 0.01


@pytest.mark.parametrize("classes", [["no", "yes"], ["maybe", "no", "yes"]], ids=len)
@pytest.mark.parametrize("estimator", [LRClassifier(), LCDNNClassifier(units=2, hidden=(4,), batch_size=20)])
def test_the_first_pass_may_bring_one_class_alone(estimator, classes):
    model = clone(estimator)
    rows = pl.DataFrame({"user": ["u1", "u2"] * 200})
    model.partial_fit(rows, ["no"] * 400, classes=classes)
    assert model.classes_.tolist() == classes
    assert model.predict_proba(rows[:2])[:, classes.index("no")].min() > 0.9
    for _ in range(20):
        model.partial_fit(rows, ["no", "yes"] * 200)
    first, second = model.predict_proba(rows[:2])[:, classes.index("yes")]
    assert second > 2 * first


def test_one_class_alone_is_refused_where_no_other_can_come():
    rows = pl.DataFrame({"user": ["u1", "u2"] * 20})
    with pytest.raises(ValueError, match="y has one class only"):
        LRClassifier().partial_fit(rows, ["no"] * 40)


def test_a_pass_does_not_lose_what_fit_has_learned(log, fitted):
    X, y = log
    model = LCDNNClassifier(**QUICK_NETWORK).fit(X[:1500], y[:1500])
    before = roc_auc_score(y[1500:], model.predict_proba(X[1500:])[:, 1])
    model.partial_fit(X[1450:1500], y[1450:1500])
    assert roc_auc_score(y[1500:], model.predict_proba(X[1500:])[:, 1]) == pytest.approx(before, abs=0.02)


def test_callbacks_hear_every_epoch(log):
    X, y = log
    heard = []
    LCDNNClassifier(**QUICK_NETWORK).fit(X[:500], y[:500], callbacks=[heard.append])
    assert sum(isinstance(event, fw.events.EpochEnd) and event.l2 is None for event in heard) == 3


def test_what_scikit_learn_builds_on_estimators_works(log):
    X, y = log[0][:600], log[1][:600]
    scaled = make_column_transformer((StandardScaler(), ["price", "age"]), remainder="passthrough")
    pipeline = make_pipeline(scaled.set_output(transform="pandas"), LRClassifier())
    search = GridSearchCV(pipeline, {"lrclassifier__l2": np.array([1.0, 100.0])}, cv=2, scoring="roc_auc").fit(X, y)
    assert search.best_params_ == {"lrclassifier__l2": 1.0}
    assert list(search.best_estimator_[-1].feature_names_in_[:1]) == ["standardscaler__price"]
    calibrated = CalibratedClassifierCV(LRClassifier(), cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (600, 2)


def test_a_row_that_cannot_be_used_is_told_of(log, fitted):
    X, y = log[0][:300].assign(price="1.5"), log[1][:300]
    X.loc[7, "price"] = "dear"
    with pytest.raises(ValueError, match=r"(?s)row 8, .*column price.*dear"):
        LRClassifier(fields={"price": {"type": "number"}}).fit(X, y)
    with pytest.raises(ValueError, match=r"(?s)price.*dear"):
        fitted.predict(X)
    with pytest.raises(ValueError, match="infinity"):
        LRClassifier().fit([[1.0], [np.inf]], [0, 1])
    with pytest.raises(ValueError, match=r"(?s)unknown key: epoch\b.*did you mean epochs"):
        LRClassifier(settings={"train.epoch": 3}).fit(log[0], log[1])


def test_the_rows_that_validate_are_chosen_by_a_share(log):
    X, y = log
    model = LRClassifier(validation_fraction=0.25, random_state=np.random.RandomState(3)).fit(X, y)
    assert 400 < model.result_.valid.num_examples < 600


def test_members_of_a_stack_are_weighed_on_validation_rows(log):
    X, y = log
    sampler = {"train.sampler.sweeps": 60, "train.sampler.burn_in": 10}
    network = {"model.units": 2, "model.hidden": [8], "model.initial_model": "random"}
    model = StackClassifier(epochs=2, settings={**network, **sampler})
    model.fit(X[:1200], y[:1200], eval_set=(X[1200:1500], y[1200:1500]))
    network, sampled = model.result_.members
    assert (network.model, sampled.model) == ("lc-dnn", "bayesian-fm")
    assert roc_auc_score(y[1500:], model.predict_proba(X[1500:])[:, 1]) > 0.7
    assert not hasattr(model, "partial_fit")


def test_a_factorisation_machine_is_of_two_classes_and_pairs_of_fields():
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        BayesianFMClassifier().fit(X, np.arange(60) % 3)
    with pytest.raises(ValueError, match="a model of pairs of fields: X has 1 feature"):
        BayesianFMClassifier().fit(X[:, :1], np.arange(60) % 2)


@pytest.mark.parametrize(
    "model",
    [
        BayesianFMClassifier(factors=2),
        StackClassifier(epochs=2, settings={"model.hidden": [4], "model.factors": 2}),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_posterior_takes_weights(model):
    """Half of the rows have the wrong label, and weigh next to nothing."""
    X = np.random.default_rng(0).integers(0, 5, (800, 2)).astype(str)
    truth = (X[:, 0] > X[:, 1]).astype(int)
    wrong = np.arange(800) % 2 == 1
    y, weight = np.where(wrong, 1 - truth, truth), np.where(wrong, 0.01, 1.0)
    assert roc_auc_score(truth, model.fit(X, y, sample_weight=weight).predict_proba(X)[:, 1]) > 0.9
    with pytest.raises(ValueError, match=r"train\.sampler\.method"):
        clone(model).set_params(settings={"train.sampler.method": "gibbs"}).fit(X, y, sample_weight=weight)


def test_arrays_of_truth_values_and_of_long_doubles_are_numbers():
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = (X[:, 0] > 0).astype(int)
    of_numbers = LRClassifier().fit((X > 0).astype(float), y).predict_proba(X > 0)
    assert np.array_equal(LRClassifier().fit(X > 0, y).predict_proba(X > 0), of_numbers)
    assert np.array_equal(
        LRClassifier().fit(X.astype(np.longdouble), y).predict(X), LRClassifier().fit(X, y).predict(X)
    )


def test_what_is_no_table_or_has_no_rows_is_a_value_error(log):
    rows, y = log
    model = LRClassifier().fit(rows, y)
    for column in (rows["user"], pl.Series([1, 2]), np.array([1.0, 2.0])):
        with pytest.raises(ValueError, match=r"2D array|2-dimensional"):
            LRClassifier().fit(column, y[: len(column)])
    with pytest.raises(ValueError, match="X has no rows"):
        model.partial_fit(rows[:0], y[:0])


@pytest.mark.parametrize(
    ("estimator", "rows", "y", "said"),
    [
        (LRClassifier(), {"a": ["x"] * 4}, [0, 1, 0, 1], "where: X$"),
        (LRClassifier(), {"a": ["x", "y"] * 2}, "a", "y is the labels of the rows"),
        (LRClassifier(), pl.LazyFrame({"a": ["x", "y"] * 2}), [0, 1, 0, 1], r"collect\(\)"),
        (
            LRClassifier(settings={"data.train": "log.csv"}),
            {"a": ["x", "y"] * 2},
            [0, 1, 0, 1],
            "data.train is for files",
        ),
    ],
)
def test_a_mistake_of_those_who_have_rows_in_memory_is_told_in_their_words(estimator, rows, y, said):
    with pytest.raises((TypeError, ValueError), match=f"(?m){said}") as raised:
        estimator.fit(rows, y)
    assert "/" not in str(raised.value)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"fields": ["user"]}, "settings of columns by name"),
        ({"fields": {"user": "category"}}, "fields.user"),
        ({"validation_fraction": "half"}, "validation_fraction is a share"),
    ],
)
def test_a_parameter_of_the_wrong_type_is_named(log, parameters, says):
    with pytest.raises(ValueError, match=says):
        LRClassifier(**parameters).fit(*log)


def test_settings_reach_columns_with_dots_in_their_names(log):
    rows, y = log
    rows = rows[["user"]].rename(columns={"user": "user.id"})
    model = LRClassifier(settings={"fields.user.id.min_count": 7}).fit(rows, y)
    assert model.predictor_.fields[0].name == "user.id"


def test_a_column_that_is_no_input_is_warned_of_unless_it_is_excluded_by_the_user(log):
    X, y = log
    X = X[:200].assign(waited=np.arange(200).astype("timedelta64[s]"))
    with pytest.warns(UserWarning, match="column 'waited' is no input of the model: unsupported type duration"):
        LRClassifier().fit(X, y[:200], sample_weight=np.ones(200))
    LRClassifier(fields={"waited": {"exclude": True}}).fit(X, y[:200])  # a warning would be an error
