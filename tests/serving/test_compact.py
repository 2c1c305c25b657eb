"""A compact bundle answers almost as its model did, from fewer bytes, in every way that a bundle is asked."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.serving.bundles import rows_of, save
from tests.serving.test_answers import VARIANTS

import fieldwise as fw
from fieldwise.bundle import BundleWriter
from fieldwise.cli import main
from fieldwise.errors import ConfigError, DataError
from fieldwise.jobs.compact import compact
from fieldwise.jobs.export import export
from fieldwise.models.load import load_model
from fieldwise.serving.predictor import Predictor
from fieldwise.training.score import predict_batches

KINDS = ("float16", "int8")
NAMES = [name for name in VARIANTS if name not in ("bfloat16 rows", "temperature of three classes")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_it_answers_alike_with_torch_and_without(tmp_path, name, kind):
    settings = {**VARIANTS[name]}
    if settings.get("units") != 1 and settings.get("kind") not in ("lr", "dnn"):
        settings["units"] = 16
    original = Predictor(save(tmp_path / "bundle", **settings))
    found = compact(tmp_path / "bundle", tmp_path / "compact", kind)
    assert (found.compared, found.drawn, found.auc) == (10_000, True, None)
    predictor, rows = Predictor(tmp_path / "compact"), pa.table(rows_of(107))
    batch = predictor.bundle.encoder.transform(rows, labelled=False).batch
    [expected] = predict_batches(load_model(predictor.bundle), [batch])
    answers = predictor.predict(rows)
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(answers, original.predict(rows), rtol=0, atol=5e-3 if found.rows == "float16" else 0.1)
    share = found.table_bytes[1] / found.table_bytes[0]
    assert share <= (0.5 if found.rows == "float16" else 1 / 3)
    assert found.bytes[1] < found.bytes[0]
    if original.bundle.dtype == "float32":
        is_wide = predictor._network.by_field(batch).shape[2] >= 8
        assert found.rows == ("int8" if kind == "int8" and is_wide else "float16")


def test_it_is_verified_evaluated_explained_exported_and_saved(tmp_path):
    save(tmp_path / "bundle", units=16)
    compact(tmp_path / "bundle", tmp_path / "compact", "int8")
    folder, rows = tmp_path / "compact", rows_of(50)
    assert not fw.verify(folder).damages
    predictor = Predictor(folder)
    expected = predictor.predict(rows)
    before, after = (fw.evaluate(each, rows).metrics.auc for each in (tmp_path / "bundle", folder))
    assert after == pytest.approx(before, abs=0.02)
    explanation = predictor.explain(rows)
    np.testing.assert_allclose(1 / (1 + np.exp(-explanation.logits)), expected, atol=1e-5)
    fw.predict(folder, rows, tmp_path / "p.parquet")
    np.testing.assert_allclose(pq.read_table(tmp_path / "p.parquet")["probability"], expected, atol=1e-6)
    predictor.save(tmp_path / "copy")
    np.testing.assert_array_equal(Predictor(tmp_path / "copy").predict(rows), expected)
    found = export(folder, tmp_path / "exported")
    assert found.files["table.bin"] == len(predictor.bundle.table) * 16 * 4
    [table] = folder.glob("table-*")
    table.write_bytes(table.read_bytes()[:-1] + b"\x55")
    assert fw.verify(folder).damages


def sparse(folder):
    """Save logistic regression in which most users have no weight, as an L1 penalty leaves them."""
    opened = fw.open_bundle(save(folder, "lr"))
    table, layout = np.array(opened.table), opened.encoder.layout
    table[layout.base[0] + 4 : layout.base[1]] = 0
    table[layout.base[0] + 1] = 3.0  # unseen
    writer = BundleWriter(folder, opened.encoder, opened.model, "float32", {})
    writer.save(2, table, opened.dense, opened.network, opened.no_network, opened.ranking)
    return fw.open_bundle(folder)


def test_rows_of_zeros_become_one_and_never_that_of_the_unseen(tmp_path):
    original = sparse(tmp_path / "bundle")
    log = rows_of(400)
    found = compact(original.folder, tmp_path / "compact", "float16", data=log)
    num_users = int(np.diff(original.encoder.layout.base)[0])
    assert found.dropped == num_users - 5
    assert found.auc[0] == pytest.approx(found.auc[1], abs=1e-3)
    assert found.largest_change < 1e-3
    smaller = fw.open_bundle(tmp_path / "compact")
    assert len(smaller.table) == len(original.table) - found.dropped
    one = {name: values[0] for name, values in log.items()}
    known = original.encoder.fields["user"].texts(range(2, num_users))
    rows = [{**one, "user": user} for user in (*known, "nobody", None)]
    before, after = (Predictor(bundle.folder).predict(rows) for bundle in (original, smaller))
    np.testing.assert_allclose(after, before, atol=1e-3)
    assert abs(after[-2] - after[-3]) > 0.05  # unseen, beside a user without a weight
    assert smaller.encoder.feature_texts("user", [2, 3, 4]) == [*known[:2], None]
    assert int(smaller.encoder.fields["user"].counts.sum()) == int(original.encoder.fields["user"].counts.sum())
    assert smaller.encoder.arrays()["user.text_bytes"].nbytes < original.encoder.arrays()["user.text_bytes"].nbytes


def test_rows_to_compare_that_cannot_be_read_leave_nothing_behind(tmp_path):
    save(tmp_path / "bundle", units=16)
    with pytest.raises(DataError):
        compact(tmp_path / "bundle", tmp_path / "compact", "int8", data=tmp_path / "none.csv")
    assert not (tmp_path / "compact").exists()


def test_what_would_not_be_smaller_is_refused(tmp_path):
    save(tmp_path / "bundle", narrow=True)
    with pytest.raises(ConfigError, match="would not be smaller"):
        compact(tmp_path / "bundle", tmp_path / "compact", "float16")
    save(tmp_path / "plain")
    with pytest.raises(ConfigError, match="inside a saved model"):
        compact(tmp_path / "plain", tmp_path / "plain" / "compact", "float16")
    with pytest.raises(ConfigError, match="already exists"):
        compact(tmp_path / "plain", tmp_path, "float16")


def test_the_rows_that_were_compared_are_told_on_the_way(tmp_path):
    save(tmp_path / "bundle", units=16)
    told = []
    found = compact(tmp_path / "bundle", tmp_path / "a", "int8", data=rows_of(300), listen=told.append)
    assert [(event.name, event.rows) for event in told] == [("compare", found.compared)]


def test_the_verb_says_what_it_costs(tmp_path):
    save(tmp_path / "bundle", units=16)
    pq.write_table(pa.table(rows_of(300)), tmp_path / "log.parquet")

    def cli(out, *words):
        line = ["export", str(tmp_path / "bundle"), "--out", str(tmp_path / out), *map(str, words)]
        return CliRunner().invoke(main, line)

    done = cli("a", "--compact", "int8", "--data", tmp_path / "log.parquet")
    assert done.exit_code == 0, done.output
    assert "AUC 0." in done.output
    assert "int8 rows written" in done.output
    told = json.loads(cli("b", "--compact", "int8", "--json").stdout)
    assert told["table_bytes"][1] * 3 < told["table_bytes"][0]
    assert cli("c", "--data", "x").exit_code == 2
    assert cli("d", "--compact", "float16", "--data", tmp_path / "log.parquet", "--quiet").stderr == ""
    assert cli("e", "--quiet").stderr == ""
