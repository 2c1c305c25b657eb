"""A predictor answers as torch does, for every model, alone and among others, and without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.serving.bundles import rows_of, save

import fieldwise as fw
from fieldwise.bundle import BundleWriter
from fieldwise.calibration import Calibration
from fieldwise.errors import DataError
from fieldwise.models.load import load_model
from fieldwise.serving.predictor import Predictor
from fieldwise.training.score import predict_batches

VARIANTS = {
    "lr": {"kind": "lr"},
    "lr of three classes": {"kind": "lr", "num_classes": 3},
    "dnn": {"kind": "dnn"},
    "lc-dnn": {},
    "lc-dnn with bags": {"with_bags": True},
    "lc-wide-deep of three classes": {"kind": "lc-wide-deep", "num_classes": 3},
    "lc-resnet": {"kind": "lc-resnet"},
    "cross": {"deep": "cross"},
    "one unit": {"units": 1},
    "stack": {"kind": "lc-dnn+bayesian-fm", "factors": 3, "with_bags": True},
    "float64": {"dtype": "float64", "activation": "gelu"},
    "bfloat16 rows": {"narrow": True},
    "temperature": {"calibration": {"slope": 0.7, "intercept": -0.3, "offset": -1.0}},
    "isotonic": {"calibration": {"knots": (-1.0, 0.0, 1.5), "levels": (0.1, 0.2, 0.9)}},
    "temperature of three classes": {"num_classes": 3, "calibration": {"slope": 0.5}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_probabilities_are_those_of_torch(tmp_path, name):
    predictor = Predictor(save(tmp_path / "bundle", **VARIANTS[name]))
    model = load_model(predictor.bundle)
    assert model.calibration == msgspec.convert(VARIANTS[name].get("calibration", {}), Calibration)
    columns = rows_of(107)
    table = pa.table(columns)
    [expected] = predict_batches(model, [predictor.bundle.encoder.transform(table, labelled=False).batch])
    whole = predictor.predict(table)
    assert (whole.shape, whole.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-6)
    for begin, end in ((0, 1), (0, 7), (7, 107), (106, 107)):
        rows = table.slice(begin, end - begin)
        for given in (rows, rows.to_pylist(), rows.to_pydict()):
            np.testing.assert_allclose(predictor.predict(given), expected[begin:end], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["lc-wide-deep", "lc-dnn+bayesian-fm"])
def test_a_row_whose_answer_is_no_number_is_refused_by_its_column(tmp_path, kind):
    predictor = Predictor(save(tmp_path / "bundle", kind, factors=3))
    columns = rows_of(50)
    columns["price"][30] = 1e308
    context = {"user": columns.pop("user")[0]}
    with pytest.raises(DataError, match=r"no probability for this row(?s:.*)row 31, column price"):
        predictor.rank(context, columns)
    columns["user"] = ["u1"] * 50
    with pytest.raises(DataError, match=r"no probability for this row(?s:.*)row 31, column price"):
        predictor.predict(columns)


def test_a_model_of_a_part_of_ones_own_that_is_no_network_says_so(tmp_path):
    folder = save(tmp_path / "bundle", "lr")
    opened = fw.open_bundle(folder)
    writer = BundleWriter(folder, opened.encoder, opened.model, "float32", {})
    writer.save(2, np.array(opened.table), opened.dense, None, "Mine: no operator")
    with pytest.raises(fw.ArtefactError, match="Mine: no operator"):
        Predictor(folder)


def test_a_network_that_does_not_fit_the_table_is_refused(tmp_path):
    one, other = save(tmp_path / "one", units=4), save(tmp_path / "other", units=3)
    opened = fw.open_bundle(one)
    writer = BundleWriter(one, opened.encoder, opened.model, "float32", {})
    writer.save(2, np.array(opened.table), opened.dense, fw.open_bundle(other).network)
    with pytest.raises(fw.ArtefactError, match="does not fit"):
        Predictor(one).predict(rows_of(3))
    writer.save(3, np.array(opened.table), opened.dense, b"no graph")
    with pytest.raises(fw.ArtefactError, match="ONNX Runtime cannot take"):
        Predictor(one)


WITHOUT_TORCH = """
import json, sys
for name in ("torch", "onnx"):
    sys.modules[name] = None  # to import it is an ImportError
import fieldwise
import fieldwise.jobs.threads
predictor = fieldwise.Predictor(sys.argv[1])
predictor.warm()
rows = json.load(sys.stdin)
fieldwise.predict(sys.argv[1], rows, sys.argv[2])
fieldwise.jobs.threads.use_threads(1)
evaluation = fieldwise.evaluate(sys.argv[1], rows, by=["user"])
try:
    fieldwise.train
except ImportError as error:
    assert "pip install 'fieldwise[train]'" in str(error)
one = predictor.predict({k: v[0] for k, v in rows.items()})
print(json.dumps([predictor.predict(rows).tolist(), one.tolist(), evaluation.as_dict()]))
"""


def test_an_answer_needs_neither_torch_nor_onnx(tmp_path):
    folder = save(tmp_path / "bundle", with_bags=True)
    rows = rows_of(20)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(folder), str(tmp_path / "p.parquet")],
        input=json.dumps(rows),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    many, one, evaluated = json.loads(done.stdout)
    expected = Predictor(folder).predict(rows)
    np.testing.assert_allclose(many, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(one, expected[:1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(pq.read_table(tmp_path / "p.parquet")["probability"], expected, rtol=0, atol=1e-6)
    with_torch = msgspec.json.decode(msgspec.json.encode(fw.evaluate(folder, rows, by=["user"]).as_dict()))
    assert evaluated == _approximately(with_torch)
    assert evaluated["auc"] is not None


def _approximately(value):
    """Return plain values that others equal when their figures differ by rounding alone."""
    if isinstance(value, dict):
        return {name: _approximately(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_approximately(each) for each in value]
    return pytest.approx(value, rel=1e-4, abs=1e-5) if isinstance(value, float) else value
