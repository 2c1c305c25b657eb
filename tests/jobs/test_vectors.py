"""A log with a vector, from `init` to what is asked: trained, explained, served and checked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fieldwise as fw
from fieldwise.bundle import open_bundle
from fieldwise.config import parse_config
from fieldwise.errors import DataError
from fieldwise.jobs.check.check import check
from fieldwise.jobs.init.fields import infer_schema
from fieldwise.serving.limits import Limits
from fieldwise.serving.protocol import inputs_of, parse_infer
from fieldwise.serving.refusals import Refusal
from fieldwise.serving.rows import Reads

NUM_ROWS, LENGTH = 3_000, 6


def log():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(NUM_ROWS, LENGTH)).astype(np.float32)
    logit = vectors @ np.array([1.5, -1.0, 0.5, 0.0, 0.0, 1.0]) - 0.5
    scaled = (vectors * [1, 10, 100, 0.1, 1, 1] + 5).astype(np.float32)
    lists = [None if number % 50 == 7 else vector for number, vector in enumerate(scaled.tolist())]
    table = pa.table(
        {
            "embedding": pa.array(lists, pa.list_(pa.float32())),
            "page": rng.choice(["a", "b", "c"], NUM_ROWS),
            "click": (rng.random(NUM_ROWS) < 1 / (1 + np.exp(-logit))).astype(np.int8),
        }
    )
    return table, logit


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    table, logit = log()
    pq.write_table(table, folder / "log.parquet")
    text = 'data = { train = "log.parquet", label = "click", valid = 0.2, test = 0.2 }\nmodel = { kind = "lr" }'
    result = fw.train(parse_config(text, base=folder), folder / "run")
    return folder, table, logit, result


def auc(labels, scores):
    positive, negative = scores[labels == 1], scores[labels == 0]
    return float((positive[:, None] > negative[None, :]).mean())


def test_logistic_regression_learns_from_a_vector_what_the_truth_says(trained):
    folder, table, logit, result = trained
    labels = table["click"].to_numpy()
    found = fw.Predictor(folder / "run").predict(table)
    there = np.arange(NUM_ROWS) % 50 != 7
    assert result.test.auc > 0.8
    assert auc(labels[there], found[there]) > auc(labels[there], logit[there]) - 0.01
    assert np.corrcoef(np.log(found / (1 - found))[there], logit[there])[0, 1] > 0.99


def test_a_vector_has_one_contribution_and_contributions_add_up(trained):
    folder, table, _, _ = trained
    model = fw.Predictor(folder / "run")
    told = model.explain(table.slice(0, 40))
    assert told.fields == ("embedding", "page")
    np.testing.assert_allclose(told.contributions.sum(axis=1), told.logits, atol=1e-5)
    assert np.abs(told.contributions[:40, 0]).mean() > np.abs(told.contributions[:40, 1]).mean()


def test_init_and_check_name_vectors(trained):
    folder, table, _, _ = trained
    config = parse_config('data = { train = "log.parquet", label = "click" }', base=folder)
    [field, _] = infer_schema(config, table).schema.fields
    assert (field.type, field.length) == ("vector", LENGTH)
    [column] = [column for column in check(config).columns if column.name == "embedding"]
    assert (column.type, column.missing, column.not_numbers) == ("vector", NUM_ROWS // 50, 0)


def test_a_length_is_found_where_only_the_type_is_said(trained):
    folder, _, _, _ = trained
    config = parse_config(
        'data = { train = "log.parquet", label = "click" }\nfields.v = { type = "vector" }', base=folder
    )
    table = pa.table({"v": [[1, 2, 3], [4, 5, 6], None, [7]], "click": [0, 1, 0, 1]})
    assert infer_schema(config, table).schema.fields[0].length == 3


def test_a_vector_is_a_tensor_of_its_length_in_the_protocol(trained):
    folder, _table, _, _ = trained
    reads = Reads(open_bundle(folder / "run").encoder.schema)
    assert inputs_of(reads)[0] == {"name": "embedding", "datatype": "FP32", "shape": [-1, LENGTH]}
    page = '{"name": "page", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}'

    def asked(width):
        numbers = [[0.5] * width, [None] * width]
        body = f'{{"name": "embedding", "shape": [2, {width}], "datatype": "FP32", "data": {numbers}}}'
        whole = f'{{"inputs": [{body}, {page}]}}'.replace("None", "null")
        return parse_infer(whole.encode(), None, reads, Limits()).rows

    assert list(asked(LENGTH).columns[0]) == [[0.5] * LENGTH, [None] * LENGTH]
    with pytest.raises(Refusal, match=r"expected shape \[n, 6\], got \[2, 5\]"):
        asked(5)


def test_a_row_with_another_length_is_an_error_that_says_so(trained):
    folder, _, _, _ = trained
    with pytest.raises(DataError, match="expected 6 numbers, got 2"):
        fw.Predictor(folder / "run").predict([{"embedding": [1.0, 2.0], "page": "a"}])
