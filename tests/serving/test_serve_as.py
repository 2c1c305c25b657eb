"""A column that is known in training alone has a fixed value when a model answers; candidates share a context."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from tests.serving.bundles import rows_of, save

import fieldwise as fw
from fieldwise.serving.predictor import Predictor


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served-as")
    rng = np.random.default_rng(0)
    position = rng.integers(1, 5, 400)
    log = {
        "click": (rng.random(400) < 0.6 / position).astype(int).tolist(),
        "position": position.tolist(),
        "price": rng.normal(size=400).tolist(),
        "user": [f"u{number}" for number in rng.integers(0, 9, 400)],
    }
    fields = {
        "position": fw.FieldConfig(type="category", serve_as="1"),
        "user": fw.FieldConfig(type="category"),
        "price": fw.FieldConfig(type="number", serve_as=0.5),
        "both": fw.FieldConfig(cross=("user", "position")),
    }
    config = fw.Config(
        data=fw.DataConfig(label="click"), fields=fields, model=fw.ModelConfig(kind="lr"),
        train=fw.TrainConfig(epochs=2, threads=1), base=str(folder),
    )  # fmt: skip
    fw.train(config, folder / "run", data=log)
    return folder / "run"


def test_answers_take_the_fixed_value_and_need_no_column(run, tmp_path):
    predictor = Predictor(run)
    assert [column.name for column in predictor.columns] == ["user"]
    users = [f"u{number}" for number in range(12)]
    whole = {"user": users, "position": [1] * 12, "price": [0.5] * 12}
    fw.predict(run, whole, tmp_path / "plain.csv")
    expected = pa.csv.read_csv(tmp_path / "plain.csv")["probability"].to_numpy()
    for rows in ({"user": users}, [{"user": user} for user in users], pa.table({"user": users}),
                 {"user": users, "position": [4] * 12, "price": [9.0] * 12}):  # fmt: skip
        np.testing.assert_allclose(predictor.predict(rows), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(predictor.predict({"user": "u3"}), expected[3:4], rtol=0, atol=1e-6)
    for context in ({}, {"position": 4, "price": 9.0}):
        places, ranked = predictor.rank(context, [{"user": user} for user in users])
        np.testing.assert_allclose(ranked, expected[places], rtol=0, atol=1e-6)
    fw.predict(run, {"user": users}, tmp_path / "served.csv", as_served=True)
    served = pa.csv.read_csv(tmp_path / "served.csv")["probability"].to_numpy()
    np.testing.assert_allclose(served, expected, rtol=0, atol=1e-6)
    fw.predict(run, {**whole, "position": [4] * 12}, tmp_path / "other.csv")
    other = pa.csv.read_csv(tmp_path / "other.csv")["probability"].to_numpy()
    assert np.abs(other - expected).min() > 1e-4
    with pytest.raises(fw.DataError, match="position"):
        fw.predict(run, {"user": users}, tmp_path / "no.csv")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"both": fw.Field(name="both", type="cross", parts=("a", "b"), serve_as="1")}, "a cross has no column"),
        ({"b": fw.Field(name="b", column="b", type="number", serve_as="first")}, "must be a number"),
        ({"c": fw.Field(name="c", column="a", serve_as="1")}, "served alike"),
    ],
)
def test_what_cannot_be_served_is_refused(fields, message):
    known = {"a": fw.Field(name="a", column="a"), "b": fw.Field(name="b", column="b"), **fields}
    with pytest.raises(fw.ConfigError, match=message):
        fw.Schema(fields=tuple(known.values()), label="click").check()


def test_candidates_of_one_context_are_ranked(tmp_path):
    predictor = Predictor(save(tmp_path / "bundle"))
    rows = pa.table(rows_of(30)).drop_columns("click").to_pylist()
    context = {name: rows[0][name] for name in ("user", "age")}
    candidates = [{name: value for name, value in row.items() if name not in context} for row in rows]
    expected = predictor.predict([{**context, **candidate} for candidate in candidates])
    best, probabilities = predictor.rank(context, candidates, top=5)
    assert best.tolist() == np.argsort(-expected, kind="stable")[:5].tolist()
    np.testing.assert_allclose(probabilities, expected[best], rtol=0, atol=1e-6)
    columns = {name: [candidate[name] for candidate in candidates] for name in candidates[0]}
    again, _ = predictor.rank(context, columns)
    assert again[:5].tolist() == best.tolist()
    assert len(again) == 30
