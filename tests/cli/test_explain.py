"""``fieldwise explain`` and ``predict --contributions``."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from tests.serving.bundles import rows_of, save

import fieldwise as fw
from fieldwise.cli import main
from fieldwise.serving.predictor import Predictor

FIELDS = ["user", "item", "price", "age", "tags", "both"]


def cli(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    save(folder / "bundle")
    rows = rows_of(300)
    p = Predictor(folder / "bundle").predict(rows)
    rows["click"] = [f"c{int(draw < probability)}" for draw, probability in zip(np.random.default_rng(0).random(300), p, strict=True)]  # fmt: skip  # noqa: E501
    pq.write_table(pa.table(rows), folder / "log.parquet")
    return folder


def test_a_file_has_a_column_for_each_field_and_the_base_last(folder):
    done = cli("explain", folder / "bundle", "--data", folder / "log.parquet", "--out", folder / "c.parquet", "-q")
    assert done.exit_code == 0, done.output
    assert "300 rows explained" in done.output
    found = pq.read_table(folder / "c.parquet")
    assert found.column_names == ["row", *FIELDS, "base"]
    told = Predictor(folder / "bundle").explain(pq.read_table(folder / "log.parquet"))
    np.testing.assert_allclose(np.stack(found.columns[1:], axis=1), told.contributions, rtol=0, atol=1e-9)
    again = cli("explain", folder / "bundle", "--data", folder / "log.parquet", "--out", folder / "c.parquet", "--json")
    assert json.loads(again.stdout)["largest_residual"] <= 1e-3


def test_predictions_have_contributions_beside_them(folder):
    words = ("--data", folder / "log.parquet", "--out", folder / "p.parquet", "--contributions", "-q")
    assert cli("predict", folder / "bundle", *words).exit_code == 0
    found = pq.read_table(folder / "p.parquet")
    assert found.column_names == ["row", "probability", *(f"contribution_{name}" for name in (*FIELDS, "base"))]
    logits = np.stack(found.columns[2:], axis=1).sum(axis=1)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), found["probability"], rtol=0, atol=1e-3)


def test_the_number_of_a_row_counts_rows_that_cannot_be_used_and_those_of_earlier_files(folder, tmp_path):
    rows = pq.read_table(folder / "log.parquet", columns=["user", "item", "price", "age", "tags"]).slice(0, 4)
    plain = rows.set_column(4, "tags", pa.array(["t1"] * 4)).to_pylist()
    names = list(plain[0])
    for file, ages in (("a.csv", ["30", "old", "32"]), ("b.csv", ["33"])):
        lines = [",".join(map(str, {**row, "age": age}.values())) for row, age in zip(plain, ages, strict=False)]
        (tmp_path / file).write_text("\n".join([",".join(names), *lines]) + "\n")
    data = ("--data", tmp_path / "a.csv", "--data", tmp_path / "b.csv")
    for row, age in ((1, "30"), (3, "32"), (4, "33")):
        found = json.loads(cli("explain", folder / "bundle", *data, "--row", row, "--json").stdout)
        assert [field["raw"] for field in found["fields"] if field["field"] == "age"] == [[age]]
    refused = cli("explain", folder / "bundle", *data, "--row", 2)
    assert refused.exit_code == 2
    assert "the row cannot be used" in refused.stderr
    assert "a.csv, row 2, column age" in refused.stderr
    assert "expected: 1 to 4" in cli("explain", folder / "bundle", *data, "--row", 5).stderr


def test_a_row_is_explained_field_by_field(folder):
    done = cli("explain", folder / "bundle", "--data", folder / "log.parquet", "--row", 5, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    row = pq.read_table(folder / "log.parquet").slice(4, 1).to_pylist()[0]
    assert [field["field"] for field in found["fields"]] == FIELDS
    user = found["fields"][0]
    assert (user["raw"], user["features"]) == ([row["user"]], [row["user"]])
    assert len(user["units"]) == 4
    total = found["base"] + found["residual"] + sum(field["contribution"] for field in found["fields"])
    assert total == pytest.approx(found["logit"], abs=1e-6)
    probability = Predictor(folder / "bundle").predict(row)[0]
    assert found["probability"] == pytest.approx(probability, abs=1e-6)
    text = cli("explain", folder / "bundle", "--data", folder / "log.parquet", "--row", 5).output
    assert row["user"] in text
    assert "base (an average row)" in text
    assert cli("explain", folder / "bundle", "--data", folder / "log.parquet", "--row", 301).exit_code == 2
    assert (
        cli("explain", folder / "bundle", "--data", folder / "log.parquet", "--row", 1, "--importance").exit_code == 2
    )


def test_importance_is_the_auc_lost_by_exchanged_values(folder):
    done = cli("explain", folder / "bundle", "--data", folder / "log.parquet", "--importance", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert sorted(each["field"] for each in found) == sorted(FIELDS)
    assert [each["loss"] for each in found] == sorted((each["loss"] for each in found), reverse=True)
    assert found[0]["low"] > 0
    assert all(each["low"] <= each["loss"] <= each["high"] for each in found)
    assert "AUC lost" in cli("explain", folder / "bundle", "--data", folder / "log.parquet", "--importance").output


def test_a_library_that_is_not_there_is_said_in_one_line(folder, monkeypatch):
    def missing(*arguments, **settings):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(fw.jobs.predict.predict, "predict", missing)
    done = cli("predict", folder / "bundle", "--data", folder / "log.parquet", "--out", folder / "q.csv", "-q")
    assert (done.exit_code, done.output.strip()) == (2, "error: torch is not installed: pip install 'fieldwise[train]'")
