"""A model for others: a graph from local ids, and weights with their texts."""

from __future__ import annotations

import json
from itertools import chain, pairwise

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.serving.bundles import rows_of, save

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.errors import ConfigError
from fieldwise.jobs.export import export
from fieldwise.kernels.layout import BAG, VALUE
from fieldwise.serving.predictor import Predictor

VARIANTS = {
    "lr": {"kind": "lr"},
    "three classes": {"kind": "lr", "num_classes": 3, "calibration": {"slope": 0.5}},
    "lc-dnn": {"calibration": {"slope": 0.7, "intercept": -0.3, "offset": -1.0}},
    "with bags": {"with_bags": True},
    "stack": {"kind": "lc-wide-deep+bayesian-fm", "factors": 3, "with_bags": True},
    "bfloat16 rows": {"narrow": True},
    "isotonic": {"calibration": {"knots": (-1.0, 0.0, 1.5), "levels": (0.1, 0.2, 0.9)}},
    "float64": {"dtype": "float64"},
}


def padded(offsets, ids, weights):
    """Return bags as lines of the same length."""
    lengths = np.diff(offsets)
    out = np.zeros((len(lengths), max(lengths.max(), 1)), np.int64)
    of_out = np.zeros(out.shape)
    for line, (begin, end) in enumerate(pairwise(offsets)):
        out[line, : end - begin], of_out[line, : end - begin] = ids[begin:end], weights[begin:end]
    return out, of_out


def inputs_of(predictor, rows):
    """Return the inputs of the graph, from the encoder's features, by plain loops."""
    encoder = predictor.bundle.encoder
    batch, layout, found = encoder.transform(rows, labelled=False).batch, encoder.layout, {}
    for place, field in enumerate(encoder.schema.fields):
        if layout.form[place] == BAG:
            ids, weights = padded(batch.offsets[layout.bag[place]], batch.bag_ids, batch.bag_weights)
            found[field.name], found[f"{field.name}.weights"] = ids, weights
        elif layout.form[place] == VALUE:
            values = batch.values[layout.value[place]].astype(float)
            found[field.name] = np.where(batch.ids[layout.single[place]] == 0, np.nan, values)
        else:
            found[field.name] = batch.ids[layout.single[place]].astype(np.int64)
    for number, bag in enumerate(predictor._network.bags):
        keys, values = (batch.ids[layout.single[field]] for field in (bag.key, bag.value))
        lists = [
            [i for i in bag.ids[bag.offsets[key] : bag.offsets[key + 1]].tolist() if i != value]
            for key, value in zip(keys.tolist(), values.tolist(), strict=True)
        ]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in lists])])
        weights = np.concatenate([np.full(len(each), 1 / np.sqrt(max(len(each), 1))) for each in lists])
        name = f"cooccurrence.{number}"
        found[name], found[f"{name}.weights"] = padded(
            offsets, np.array([*chain.from_iterable(lists)], dtype=int), weights
        )
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_the_graph_answers_ids_as_the_model_answers_rows(tmp_path, name):
    predictor = Predictor(save(tmp_path / "bundle", **VARIANTS[name]))
    done = export(tmp_path / "bundle", tmp_path / "out")
    assert done.linked == (name != "bfloat16 rows")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    rows = pa.table(rows_of(37))
    given = inputs_of(predictor, rows)
    kinds = {"tensor(int64)": np.int64, "tensor(float)": np.float32, "tensor(double)": np.float64}
    assert sorted(each.name for each in session.get_inputs()) == sorted(given)
    [found] = session.run(None, {each.name: given[each.name].astype(kinds[each.type]) for each in session.get_inputs()})
    np.testing.assert_allclose(found, predictor.predict(rows), rtol=0, atol=1e-6)


def test_an_id_that_there_is_not_is_unseen(tmp_path):
    predictor = Predictor(save(tmp_path / "bundle", "lr"))
    export(tmp_path / "bundle", tmp_path / "out")
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    given = inputs_of(predictor, pa.table(rows_of(4)))
    given = {name: value.astype(np.float32 if value.dtype.kind == "f" else np.int64) for name, value in given.items()}
    answers = [session.run(None, {**given, "user": np.full(4, id_)})[0] for id_ in (1, -1, 10**6)]
    assert answers[0].tobytes() == answers[1].tobytes() == answers[2].tobytes()


def test_weights_have_their_texts(tmp_path):
    predictor = Predictor(save(tmp_path / "bundle"))
    export(tmp_path / "bundle", tmp_path / "weights.parquet")
    found = pq.read_table(tmp_path / "weights.parquet")
    table = predictor.bundle.table
    assert found.column_names == ["field", "id", "text", "count", *(f"weight_{number}" for number in range(4))]
    np.testing.assert_array_equal(np.stack(found.columns[4:], axis=1), table)
    users = [row for row in found.to_pylist() if row["field"] == "user"]
    assert [row["text"] for row in users[:2]] == ["missing", "unseen"]
    assert {row["text"] for row in users[2:]} == {f"u{number}" for number in range(20)}
    assert sum(row["count"] for row in users) == 500


def test_an_export_is_not_replaced_unless_asked(tmp_path):
    save(tmp_path / "bundle", "lr")
    for out in ("out", "weights.parquet"):
        words = ["export", str(tmp_path / "bundle"), "--out", str(tmp_path / out)]
        done = CliRunner().invoke(main, [*words, "--json"])
        assert (done.exit_code, json.loads(done.stdout)["features"]) == (
            0,
            len(fw.open_bundle(tmp_path / "bundle").table),
        )
        again = CliRunner().invoke(main, words)
        assert again.exit_code == 2
        assert "already exists" in again.output
        replaced = CliRunner().invoke(main, [*words, "--overwrite"])
        assert replaced.exit_code == 0
        assert "features written" in replaced.output


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_nothing_is_written_into_the_model_that_is_exported(tmp_path, inside):
    bundle = save(tmp_path / "bundle")
    before = Predictor(bundle).predict(rows_of(3))
    with pytest.raises(ConfigError, match=r"ending in \.parquet, for the weights"):
        export(tmp_path / "bundle", tmp_path / "weights.csv")
    with pytest.raises(ConfigError, match="inside a saved model"):
        export(bundle, bundle / inside, overwrite=True)
    assert (Predictor(bundle).predict(rows_of(3)) == before).all()


def test_a_folder_with_files_of_others_is_not_written_into(tmp_path):
    bundle = save(tmp_path / "bundle")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("precious")
    with pytest.raises(ConfigError, match="holds other files"):
        export(bundle, tmp_path / "home", overwrite=True)
    export(bundle, tmp_path / "new")
    export(bundle, tmp_path / "new", overwrite=True)
