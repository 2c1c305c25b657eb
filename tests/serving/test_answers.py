"""A predictor answers as torch does, for every model, alone and among others, and without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import torch

import fieldwise as fw
from fieldwise.bundle import BundleWriter
from fieldwise.calibration import Calibration
from fieldwise.features.encoder import Encoder
from fieldwise.kernels.cooccurrence import Cooccurrence, collect
from fieldwise.models.click import build_model
from fieldwise.models.load import DTYPES, dense_arrays, load_model
from fieldwise.models.network import export_network
from fieldwise.schema import Field, Schema
from fieldwise.serving.predictor import Predictor
from fieldwise.tables.config import TableOptimizerConfig
from fieldwise.training.score import predict_batches

SCHEMA = Schema(
    label="click",
    fields=(
        Field(name="user", column="user"),
        Field(name="item", column="item"),
        Field(name="price", type="number", column="price"),
        Field(name="age", type="number", column="age", bins=3),
        Field(name="tags", type="bag", column="tags", norm="sqrt"),
        Field(name="both", type="cross", parts=("user", "item"), buckets=50),
    ),
)


def rows_of(num_rows, num_classes=2):
    rng = np.random.default_rng(num_rows)
    return {
        "click": [f"c{number}" for number in rng.permutation(np.arange(num_rows) % num_classes)],
        "user": [f"u{number}" for number in rng.integers(0, 20, num_rows)],
        "item": rng.integers(0, 30, num_rows).tolist(),
        "price": rng.normal(size=num_rows).tolist(),
        "age": rng.integers(10, 70, num_rows).tolist(),
        "tags": ["|".join(rng.choice(list("abcde"), size)) for size in rng.integers(0, 4, num_rows)],
    }


def _bfloat16(weights):
    return torch.from_numpy(np.array(weights)).bfloat16().view(torch.int16).numpy().view(np.uint16)


def save(folder, kind="lc-dnn", *, num_classes=2, dtype="float32", with_bags=False, calibration=None, narrow=False,
         **settings):  # fmt: skip
    """Save a model with random weights; return the bundle's folder."""
    schema = msgspec.structs.replace(SCHEMA, positive="c1" if num_classes == 2 else None)
    encoder = Encoder(schema).fit([pa.table(rows_of(500, num_classes))])
    config = fw.ModelConfig(kind=kind, **{"units": 4, "hidden": (16, 8), **settings}).for_schema(schema)
    bags = []
    if with_bags:
        batch = encoder.transform(pa.table(rows_of(200)), labelled=False).batch
        sizes = np.diff(encoder.layout.base)
        for key, value in ((0, 1), (1, 0)):
            met = collect([(batch.ids[key], batch.ids[value])], int(sizes[key]), 10)
            bags.append(Cooccurrence(key, value, *met))
    model = build_model(config, encoder.layout, num_classes, 0, DTYPES[dtype], bags)
    model.table.train_by(TableOptimizerConfig(name="adagrad", learning_rate=0.1))
    model.table.weights[:] = np.random.default_rng(1).normal(size=model.table.weights.shape) * 0.3
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point() and not name.endswith("mask"):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    weights = model.table.weights
    writer = BundleWriter(folder, encoder, msgspec.to_builtins(config), dtype, {}, calibration)
    writer.save(1, _bfloat16(weights) if narrow else weights, dense_arrays(model), export_network(model.eval()))
    return folder


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
predictor = fieldwise.Predictor(sys.argv[1])
predictor.warm()
rows = json.load(sys.stdin)
print(json.dumps([predictor.predict(rows).tolist(), predictor.predict({k: v[0] for k, v in rows.items()}).tolist()]))
"""


def test_an_answer_needs_neither_torch_nor_onnx(tmp_path):
    folder = save(tmp_path / "bundle", with_bags=True)
    rows = rows_of(20)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(folder)], input=json.dumps(rows), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    many, one = json.loads(done.stdout)
    expected = Predictor(folder).predict(rows)
    np.testing.assert_allclose(many, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(one, expected[:1], rtol=0, atol=1e-6)
